// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// From the header of an aggregation packet and the entry of its job to the request that esa_decide
// takes, or K_BAD with the verdict that says what is wrong. Purely combinational. The order of the
// checks is that of sw_ref/esa/switch.hpp: type, job, fan_in, slot, bitmap, count, format, length, port.

`default_nettype none

module esa_check
  import ks_wire_pkg::*;
  import esa_pkg::*;
#(
  parameter int unsigned ValueBeats = 4      // beats of value lanes of a slot
) (
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
  output request_t          req_o,
  output logic [16:0]       index_o          // slot in the memory
);

  localparam logic [15:0] Sums = 16'(64 * ValueBeats);   // bytes of a slot's values

  logic    values, from_ps, indices_ok, length_ok, bits_ok, format_ok;
  kind_e   kind;
  bitmap_t bitmap, all;
  count_t  ones;
  logic    known;

  assign bitmap = bitmap_t'(header_i.bitmap);

  always_comb begin
    known = 1'b1;
    unique case (header_i.packet_type)
      PKT_DATA:        kind = K_DATA;
      PKT_RESULT:      kind = K_RESULT;
      PKT_PARTIAL:     kind = K_PARTIAL;
      PKT_REMINDER:    kind = K_REMINDER;
      PKT_RESEND:      kind = K_RESEND;
      PKT_ACK:         kind = K_ACK;
      PKT_NORM:        kind = K_NORM;
      PKT_NORM_RESULT: kind = K_NORM_RESULT;
      default: begin
        kind  = K_BAD;
        known = 1'b0;
      end
    endcase
  end
  assign values  = kind inside {K_DATA, K_RESEND, K_RESULT, K_PARTIAL};
  assign from_ps = kind inside {K_REMINDER, K_RESULT, K_NORM_RESULT};

  always_comb begin
    ones = '0;
    for (int unsigned i = 0; i < Workers; i++) begin
      ones   = ones + count_t'(bitmap[i]);
      all[i] = i < 32'(job_i.fan_in);
    end
  end

  always_comb begin
    bits_ok = (bitmap & ~all) == '0;
    unique case (kind)
      K_DATA:    bits_ok = bits_ok && bitmap != '0 && (bitmap & ~bitmap_t'(job_i.members)) == '0 &&
                           (job_i.multi || ones == count_t'(1));
      K_RESEND:  bits_ok = bits_ok && (ones == count_t'(1) || bitmap == all);
      K_RESULT:  bits_ok = bitmap == all;
      K_PARTIAL: bits_ok = bits_ok && bitmap != '0;
      default: ;
    endcase
  end

  // Values are in the job's format, or one worker's THC indices (4 bits each, for 8- or 16-bit sums).
  assign indices_ok = header_i.format == FMT_THC_INDEX4 && job_i.format != FMT_INT32 &&
                      header_i.count == 8'd1 && (kind == K_DATA || kind == K_RESEND);
  always_comb begin
    format_ok = 1'b1;
    length_ok = 1'b1;
    if (kind == K_NORM || kind == K_NORM_RESULT) begin
      format_ok = 1'b1;
    end else if (!values) begin
      format_ok = header_i.format == FMT_NONE;
    end else begin
      format_ok = header_i.format == job_i.format || indices_ok;
      if (header_i.format != FMT_THC_INDEX4) length_ok = payload_i == Sums;
      else length_ok = payload_i == (job_i.format == FMT_THC_SUM16 ? Sums >> 2 : Sums >> 1);
    end
  end

  assign index_o = policy_i != POLICY_SWITCHML ? 17'(header_i.slot) :
                   17'(job_i.pool_base) + 17'(header_i.slot) +
                   ((header_i.flags & 8'(FLAG_SET)) != '0 ? 17'(job_i.pool_size) : 17'd0);

  always_comb begin
    req_o = '{kind: kind, bad: V_BAD_TYPE, job: jidx_i, seq: seq_t'(header_i.seq), bitmap: bitmap,
              count: ones, prio: prio_t'(header_i.prio), tag: tag_t'(header_i.config_tag),
              collision: (header_i.flags & 8'(FLAG_COLLISION)) != '0,
              ecn: (header_i.flags & 8'(FLAG_ECN)) != '0,
              negative: (header_i.flags & 8'(FLAG_NEGATIVE)) != '0,
              members: bitmap_t'(job_i.members), uplink: job_i.uplink};
    if (!known) begin
      req_o.kind = K_BAD;
    end else if (!hit_i) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_JOB;
    end else if (header_i.fan_in != 8'(job_i.fan_in)) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_FAN_IN;
    end else if (17'(header_i.slot) >= (policy_i == POLICY_SWITCHML ? 17'(job_i.pool_size) : slots_i)) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_SLOT;
    end else if (!bits_ok) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_BITMAP;
    end else if (header_i.count != (values ? 8'(ones) : 8'd0)) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_COUNT;
    end else if (!format_ok) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_FORMAT;
    end else if (!length_ok) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_LENGTH;
    end else if (from_ps && port_i != job_i.ps_port) begin
      req_o.kind = K_BAD;
      req_o.bad  = V_BAD_PORT;
    end
  end

endmodule

`default_nettype wire
