// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// From the header of an aggregation packet and the entry of its job to the request that esa_decide
// takes, or K_BAD with the verdict that says what is wrong, in two cycles: facts, then the first that fails.
// The order of the checks is that of sw_ref/esa/switch.hpp: type, job, epoch, fan_in, slot, bitmap, count,
// format, length, port. One packet a cycle, no reset: the caller knows when a request means something.

`default_nettype none

module esa_check
  import ks_wire_pkg::*;
  import esa_pkg::*;
#(
  parameter int unsigned ValueBeats = 4      // beats of value lanes of a slot
) (
  input  wire logic         clk_i,
  input  wire logic         en_i,            // cycle t: the rest of the inputs is looked at
  /* verilator lint_off UNUSED */   // magic, version; the job's ports and table are for other places
  input  wire wire_header_t header_i,
  /* verilator lint_on UNUSED */
  input  wire logic [15:0]  payload_i,       // bytes behind the header
  input  wire logic [2:0]   port_i,          // ingress port
  input  wire logic         hit_i,           // the job is in the table, at jidx_i
  input  wire jidx_t        jidx_i,
  /* verilator lint_off UNUSED */
  input  wire job_t         job_i,
  /* verilator lint_on UNUSED */
  input  wire policy_e      policy_i,
  input  wire logic [16:0]  slots_i,         // slots in use
  output request_t          req_o,           // cycle t+1, held until the next one
  output logic [16:0]       index_o          // slot in the memory; in any request but K_BAD below slots_i
);

  localparam logic [15:0] Sums = 16'(64 * ValueBeats);   // bytes of a slot's values

  // What cycle t finds out. The number of contributors takes most of it, so what depends on that waits.
  typedef struct packed {
    logic known;
    logic hit;
    logic epoch_ok;
    logic fan_in_ok;
    logic slot_ok;
    logic some;          // the bitmap names somebody,
    logic in_fan_in;     // nobody outside the fan-in,
    logic members_only;  // only members,
    logic everybody;     // the whole fan-in
    logic multi;         // the job allows several in a DATA packet
    logic format_plain;  // the job's format, or none where there are no values
    logic format_index;  // THC indices of one worker
    logic length_ok;
    logic port_ok;
    logic [7:0] count;
  } facts_t;

  logic    values, values_q, from_ps;
  kind_e   kind;
  bitmap_t bitmap, all;
  count_t  ones;
  facts_t  facts, facts_q;
  request_t req, req_q;
  logic [16:0] index;
  logic    bits_ok, one;

  assign bitmap = bitmap_t'(header_i.bitmap);

  always_comb begin
    unique case (header_i.packet_type)
      PKT_DATA:        kind = K_DATA;
      PKT_RESULT:      kind = K_RESULT;
      PKT_PARTIAL:     kind = K_PARTIAL;
      PKT_REMINDER:    kind = K_REMINDER;
      PKT_RESEND:      kind = K_RESEND;
      PKT_ACK:         kind = K_ACK;
      PKT_NORM:        kind = K_NORM;
      PKT_NORM_RESULT: kind = K_NORM_RESULT;
      default:         kind = K_BAD;
    endcase
  end
  assign values  = kind inside {K_DATA, K_RESEND, K_RESULT, K_PARTIAL};
  assign from_ps = kind inside {K_REMINDER, K_RESULT, K_NORM_RESULT};

  // --- Cycle t -------------------------------------------------------------------------------------
  always_comb begin
    ones = '0;
    for (int unsigned i = 0; i < Workers; i++) begin
      ones   = ones + count_t'(bitmap[i]);
      all[i] = i < 32'(job_i.fan_in);
    end
  end

  always_comb begin
    facts.known        = kind != K_BAD;
    facts.hit          = hit_i;
    facts.epoch_ok     = header_i.epoch == job_i.epoch;
    facts.fan_in_ok    = header_i.fan_in == 8'(job_i.fan_in);
    facts.slot_ok      = 17'(header_i.slot) < (policy_i == POLICY_SWITCHML ? 17'(job_i.pool_size) : slots_i);
    facts.some         = bitmap != '0;
    facts.in_fan_in    = (bitmap & ~all) == '0;
    facts.members_only = (bitmap & ~bitmap_t'(job_i.members)) == '0;
    facts.everybody    = bitmap == all;
    facts.multi        = job_i.multi;
    facts.count        = header_i.count;
    facts.port_ok      = !from_ps || port_i == job_i.ps_port;

    // Values are in the job's format, or one worker's THC indices (4 bits each, for 8- or 16-bit sums).
    facts.format_index = 1'b0;
    facts.length_ok    = 1'b1;
    if (kind == K_NORM || kind == K_NORM_RESULT) begin
      facts.format_plain = 1'b1;
    end else if (!values) begin
      facts.format_plain = header_i.format == FMT_NONE;
    end else begin
      facts.format_plain = header_i.format == job_i.format;
      facts.format_index = header_i.format == FMT_THC_INDEX4 && job_i.format != FMT_INT32 &&
                           (kind == K_DATA || kind == K_RESEND) && header_i.count == 8'd1;
      if (header_i.format != FMT_THC_INDEX4) facts.length_ok = payload_i == Sums;
      else facts.length_ok = payload_i == (job_i.format == FMT_THC_SUM16 ? Sums >> 2 : Sums >> 1);
    end

    req = '{kind: kind, bad: V_BAD_TYPE, job: jidx_i, seq: seq_t'(header_i.seq), bitmap: bitmap,
            count: ones, prio: prio_t'(header_i.prio), tag: tag_t'(header_i.config_tag),
            collision: (header_i.flags & 8'(FLAG_COLLISION)) != '0,
            ecn: (header_i.flags & 8'(FLAG_ECN)) != '0,
            negative: (header_i.flags & 8'(FLAG_NEGATIVE)) != '0,
            members: bitmap_t'(job_i.members), uplink: job_i.uplink};

    index = 17'(header_i.slot);
    if (policy_i == POLICY_SWITCHML)
      index = index + 17'(job_i.pool_base) +
              ((header_i.flags & 8'(FLAG_SET)) != '0 ? 17'(job_i.pool_size) : 17'd0);
  end

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      facts_q  <= facts;
      values_q <= values;
      req_q    <= req;
      index_o  <= index;
    end
  end

  // --- Cycle t+1 -----------------------------------------------------------------------------------
  assign one = req_q.count == count_t'(1);
  always_comb begin
    unique case (req_q.kind)
      K_DATA:    bits_ok = facts_q.in_fan_in && facts_q.some && facts_q.members_only && (facts_q.multi || one);
      K_RESEND:  bits_ok = facts_q.in_fan_in && (one || facts_q.everybody);
      K_RESULT:  bits_ok = facts_q.everybody;
      K_PARTIAL: bits_ok = facts_q.in_fan_in && facts_q.some;
      default:   bits_ok = facts_q.in_fan_in;
    endcase
  end

  always_comb begin
    req_o = req_q;
    req_o.kind = K_BAD;
    if (!facts_q.known) req_o.bad = V_BAD_TYPE;
    else if (!facts_q.hit) req_o.bad = V_BAD_JOB;
    else if (!facts_q.epoch_ok) req_o.bad = V_BAD_EPOCH;
    else if (!facts_q.fan_in_ok) req_o.bad = V_BAD_FAN_IN;
    else if (!facts_q.slot_ok) req_o.bad = V_BAD_SLOT;
    else if (!bits_ok) req_o.bad = V_BAD_BITMAP;
    else if (facts_q.count != (values_q ? 8'(req_q.count) : 8'd0)) req_o.bad = V_BAD_COUNT;
    else if (!(facts_q.format_plain || facts_q.format_index)) req_o.bad = V_BAD_FORMAT;
    else if (!facts_q.length_ok) req_o.bad = V_BAD_LENGTH;
    else if (!facts_q.port_ok) req_o.bad = V_BAD_PORT;
    else req_o.kind = req_q.kind;
  end

endmodule

`default_nettype wire
