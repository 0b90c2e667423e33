// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Types of the aggregation switch. The executable specification of what they mean is
// sw_ref/esa/switch.hpp; verdicts, policies and rules have the numbers of its enumerations.
// KESTREL_ESA_SMALL narrows the identifiers for proofs.
`default_nettype none

/* verilator lint_off UNUSED */
package esa_pkg;

`ifdef KESTREL_ESA_SMALL
  localparam int unsigned JobsLog2 = 1;
  localparam int unsigned SeqW = 2;
  localparam int unsigned Workers = 3;
  localparam int unsigned PrioW = 2;
  localparam int unsigned TagW = 1;
`else
  localparam int unsigned JobsLog2 = 5;      // log2 of the jobs that are active at a time
  localparam int unsigned SeqW = 32;
  localparam int unsigned Workers = 32;      // bits of a bitmap = largest fan-in
  localparam int unsigned PrioW = 8;
  localparam int unsigned TagW = 16;
`endif
  localparam int unsigned Jobs = 2 ** JobsLog2;
  localparam int unsigned CountW = $clog2(Workers + 1);
  localparam int unsigned MaxPorts = 8;

  typedef logic [JobsLog2-1:0] jidx_t;       // place in the job table: stands for the job number
  typedef logic [SeqW-1:0]     seq_t;
  typedef logic [Workers-1:0]  bitmap_t;
  typedef logic [CountW-1:0]   count_t;
  typedef logic [PrioW-1:0]    prio_t;
  typedef logic [TagW-1:0]     tag_t;
  typedef logic [MaxPorts-1:0] ports_t;

  // A beat between the ports and the pipeline.
  typedef struct packed {
    logic         first;
    logic         last;
    logic         foreign;   // of a frame that is no aggregation packet
    logic [63:0]  keep;
    logic [511:0] data;
  } beat_t;

  // Frames that do not come to a verdict. 1..5 are FrameFault of sw_ref/esa/frame.hpp.
  typedef enum logic [2:0] {
    FAULT_NONE     = 3'd0,
    FAULT_SHORT    = 3'd1,  // shorter than its IPv4 length says, or than the header
    FAULT_LONG     = 3'd2,  // longer than its IPv4 length says
    FAULT_HEADER   = 3'd3,  // a fragment, UDP and IPv4 lengths disagree, magic or version wrong
    FAULT_CHECKSUM = 3'd4,  // of the IPv4 header; or of UDP, unless that is 0
    FAULT_LANES    = 3'd5,  // values are no whole number of lanes of their format
    FAULT_SIZE     = 3'd6,  // more beats than the switch keeps
    FAULT_ROUTE    = 3'd7   // foreign, and no entry in the forwarding table
  } fault_e;

  typedef enum logic [1:0] { POLICY_ESA = 2'd0, POLICY_ATP = 2'd1, POLICY_SWITCHML = 2'd2 } policy_e;
  typedef enum logic [1:0] { DONE_FREE = 2'd0, DONE_HOLD = 2'd1, DONE_VIA_PS = 2'd2 } completed_e;
  typedef enum logic [1:0] {
    PREEMPT_HIGHER = 2'd0, PREEMPT_NEVER = 2'd1, PREEMPT_ALWAYS = 2'd2, PREEMPT_RANDOM = 2'd3
  } preempt_e;

  typedef enum logic [4:0] {
    V_BAD_TYPE, V_BAD_JOB, V_BAD_FAN_IN, V_BAD_SLOT, V_BAD_BITMAP, V_BAD_COUNT, V_BAD_FORMAT,
    V_BAD_LENGTH, V_BAD_PORT, V_BAD_TAG, V_DUPLICATE, V_STALE, V_IGNORED, V_STORED, V_ADDED,
    V_COMPLETED, V_ANSWERED, V_PREEMPTED, V_COLLIDED, V_FLUSHED, V_NEGATIVE, V_RESENT,
    V_RESENT_FLUSH, V_FREED, V_FORWARDED, V_BAD_EPOCH
  } verdict_e;
  localparam int unsigned Verdicts = 26;

  // Settings of the decision.
  typedef struct packed {
    policy_e    policy;
    completed_e completed;
    preempt_e   preempt;
    logic [2:0] downgrade;   // right shift of a slot's priority at a collision; 0: none
  } settings_t;

  // A slot. Free: bitmap and count are 0, the rest has no meaning.
  typedef struct packed {
    logic    valid;
    jidx_t   job;
    seq_t    seq;
    bitmap_t bitmap;
    count_t  count;
    prio_t   prio;
    logic    ecn;
    tag_t    tag;
  } slot_t;

  // What the decision sees of a packet.
  typedef enum logic [3:0] {
    K_BAD,        // malformed: the verdict is in `bad`
    K_DATA, K_RESULT, K_PARTIAL, K_REMINDER, K_RESEND, K_ACK, K_NORM, K_NORM_RESULT,
    K_PURGE,      // from the control side: free the slot if it is `job`'s
    K_CLEAR       // from the control side: free the slot
  } kind_e;
  typedef struct packed {
    kind_e    kind;
    verdict_e bad;
    jidx_t    job;
    seq_t     seq;
    bitmap_t  bitmap;
    count_t   count;       // = popcount(bitmap) unless K_BAD
    prio_t    prio;
    tag_t     tag;
    logic     collision;   // flags of the packet
    logic     ecn;
    logic     negative;
    bitmap_t  members;     // of its job
    logic     uplink;      // of its job
  } request_t;

  // How a request stands to what its slot holds (esa_relate): all that the decision needs to know of the two
  // identities, bitmaps and priorities. Of a free slot nothing but `alone` is true.
  typedef struct packed {
    logic alone;         // the packet has all members
    logic in_use;        // the slot is not free; whatever follows is of one that is not
    logic same_job;
    logic same_id;       // job and sequence number
    logic same_tag;
    logic overlap;       // somebody is in both
    logic packet_more;   // somebody is in the packet only
    logic slot_more;     // somebody is in the slot only
    logic slot_done;     // the slot has all members of the packet's job
    logic done_after;    // both together have
    logic higher;        // the packet has the higher priority
    logic newer;         // its sequence number is ahead, modulo 2^SeqW
  } relation_t;

  // What a decision leaves in the slot: one of these contents.
  typedef struct packed {
    slot_t kept;
    slot_t fresh;        // the packet alone
    slot_t added;        // both
    slot_t aged;         // a lower priority
    slot_t freed;
  } contents_t;
  typedef enum logic [2:0] {
    KEPT = 3'd0, FRESH = 3'd1, ADDED = 3'd2, AGED = 3'd3, FREED = 3'd4, CLEARED = 3'd5
  } change_e;
  function automatic slot_t after_change(input change_e change, input contents_t contents);
    unique case (change)
      KEPT:    after_change = contents.kept;
      FRESH:   after_change = contents.fresh;
      ADDED:   after_change = contents.added;
      AGED:    after_change = contents.aged;
      FREED:   after_change = contents.freed;
      default: after_change = '0;
    endcase
  endfunction

  // What happens to the values of the slot (esa_value.sv).
  typedef enum logic [1:0] {
    OP_OVERWRITE = 2'd0,
    OP_ADD       = 2'd1,
    OP_READ      = 2'd2,
    OP_SWAP      = 2'd3
  } value_op_e;

  typedef enum logic [1:0] {
    OUT_NONE   = 2'd0,
    OUT_PACKET = 2'd1,     // the packet itself, as it came
    OUT_SLOT   = 2'd2      // contents of a slot: `view`
  } out_e;
  typedef enum logic [1:0] {
    TO_PS      = 2'd0,     // of the job that the emission belongs to
    TO_MEMBERS = 2'd1,
    TO_SENDER  = 2'd2      // the port that the packet came from
  } to_e;

  typedef enum logic [1:0] { AS_PARTIAL = 2'd0, AS_RESULT = 2'd1, AS_DATA = 2'd2 } as_e;

  typedef struct packed {
    verdict_e   verdict;
    value_op_e  op;
    logic       value_write;
    out_e       out;
    to_e        to;
    as_e        as;              // OUT_SLOT: packet type
    logic       set_collision;   // OUT_PACKET: flags that are added
    logic       set_negative;
    logic       keep_set;        // OUT_SLOT: FLAG_SET is that of the packet
    slot_t      view;            // OUT_SLOT: what leaves
  } decision_t;

  // An entry of the job table.
  typedef struct packed {
    logic [15:0]      number;
    logic [7:0]       epoch;         // of the present start of its workers
    logic [5:0]       fan_in;
    logic [31:0]      members;
    logic [7:0]       member_ports;
    logic [2:0]       ps_port;
    logic             uplink;
    logic             multi;
    logic [3:0]       format;
    logic [15:0]      pool_base;
    logic [15:0]      pool_size;
    logic [15:0][7:0] lut;       // THC: value of each index
  } job_t;

endpackage
/* verilator lint_on UNUSED */

`default_nettype wire
