// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Control side of the switch: AXI4-Lite registers of contract/esa.json (behind ks_axil_regs), job commands, sweeps over the
// slots (after reset, and when a job ends), counters.
//
// Sweeps: after reset every slot is cleared, one a cycle; when a job is removed its number is forgotten
// at once, then no new packet is let in (hold_o) until the pipeline is empty, every slot that the job
// holds is freed, and packets go on. STATUS.busy is high meanwhile.
// Writes take whole words and are answered with SLVERR, and change nothing, when there is no such
// register, it is read only, it may not be changed now, or a job command is impossible (see JOB_COMMAND
// in `job_ok`; that pools of SwitchML jobs do not overlap is up to the host).
// Reads of counters in memories wait for a cycle in which no packet is counted. Counters of a slot and
// of verdicts are cleared after reset, those of a job when it is added.

`include "ks_assert.svh"
`default_nettype none

module esa_control
  import ks_wire_pkg::*;
  import esa_pkg::*;
  import esa_regs_pkg::*;
#(
  parameter int unsigned Slots      = 16,
  parameter int unsigned ValueBeats = 4,
  localparam int unsigned Aw = $clog2(Slots)
) (
  input  wire logic          clk_i,
  input  wire logic          rst_ni,

  input  wire logic [ESA_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
  input  wire logic          s_axil_awvalid,
  output logic               s_axil_awready,
  input  wire logic [31:0]   s_axil_wdata,
  input  wire logic [3:0]    s_axil_wstrb,
  input  wire logic          s_axil_wvalid,
  output logic               s_axil_wready,
  output logic [1:0]         s_axil_bresp,
  output logic               s_axil_bvalid,
  input  wire logic          s_axil_bready,
  input  wire logic [ESA_AXIL_ADDR_BITS-1:0] s_axil_araddr,
  input  wire logic          s_axil_arvalid,
  output logic               s_axil_arready,
  output logic [31:0]        s_axil_rdata,
  output logic [1:0]         s_axil_rresp,
  output logic               s_axil_rvalid,
  input  wire logic          s_axil_rready,

  // To the pipeline.
  output settings_t          settings_o,
  output logic [16:0]        slots_o,
  output logic [15:0]        ecn_threshold_o,
  output logic [ESA_PORTS-1:0][7:0] route_o,
  output logic               job_write_o,
  output logic               job_remove_o,
  output jidx_t              job_jidx_o,
  output job_t               job_entry_o,
  input  wire logic [Jobs-1:0] job_active_i,
  output logic [15:0]        job_probe_o,
  input  wire logic          job_probe_hit_i,
  output logic               hold_o,
  input  wire logic          idle_i,          // no packet on its way to a decision
  output logic               ctl_valid_o,
  output kind_e              ctl_kind_o,
  output jidx_t              ctl_jidx_o,
  output logic [Aw-1:0]      ctl_index_o,

  // Events.
  input  wire logic          ev_valid_i,
  input  wire verdict_e      ev_verdict_i,
  input  wire logic          ev_hit_i,
  input  wire jidx_t         ev_jidx_i,
  input  wire jidx_t         ev_evicted_i,
  input  wire logic [Aw-1:0] ev_index_i,
  input  wire logic          ev_in_slot_i,
  input  wire logic          ev_no_route_i,
  input  wire logic          ev_occupied_i,
  input  wire logic          ev_freed_i,
  input  wire logic [ESA_PORTS-1:0] fault_valid_i,
  input  wire fault_e [ESA_PORTS-1:0] fault_i,
  input  wire logic [ESA_PORTS-1:0] foreign_in_i,   // a foreign frame was taken into the pipeline
  input  wire logic [ESA_PORTS-1:0] frame_in_i,
  input  wire logic [ESA_PORTS-1:0] frame_out_i,
  input  wire logic [ESA_PORTS-1:0] marked_i
);

  localparam int unsigned Ab = ESA_AXIL_ADDR_BITS;

  if (JobsLog2 != ESA_JOBS_LOG2 || MaxPorts != ESA_PORTS) begin : gen_bad_contract
    $error("esa_control: esa_pkg and the contract differ");
  end

  // --- Registers -----------------------------------------------------------------------------------
  settings_t   settings_q;
  logic [16:0] slots_q;
  logic [15:0] ecn_q, select_q, number_q;
  logic [ESA_PORTS-1:0][7:0] route_q;
  logic [31:0] shape_q, members_q, pool_q;
  logic [7:0]  epoch_q, ports_q;
  logic [3:0][31:0] lut_q;
  logic [16:0] occupied_q;
  logic        any_job;

  assign settings_o      = settings_q;
  assign slots_o         = slots_q;
  assign ecn_threshold_o = ecn_q;
  assign route_o         = route_q;
  assign any_job         = job_active_i != '0;

  // The job that JOB_* describe.
  assign job_entry_o = '{number: number_q, epoch: epoch_q, fan_in: shape_q[5:0],
                         members: members_q, member_ports: ports_q, ps_port: shape_q[10:8], uplink: shape_q[12],
                         multi: shape_q[13], format: shape_q[19:16], pool_base: pool_q[15:0],
                         pool_size: pool_q[31:16], lut: lut_q};
  assign job_probe_o = number_q;

  logic [31:0] all;
  logic        job_ok;
  always_comb begin
    for (int unsigned i = 0; i < 32; i++) all[i] = i < 32'(shape_q[5:0]);
    job_ok = number_q != '0 && shape_q[5:0] != '0 && shape_q[5:0] <= 6'd32 &&
             members_q != '0 && (members_q & ~all) == '0 && (shape_q[12] || members_q == all) &&
             ports_q != '0 &&
             shape_q[19:16] inside {4'(FMT_INT32), 4'(FMT_THC_SUM8), 4'(FMT_THC_SUM16)} &&
             !job_probe_hit_i &&
             (settings_q.policy != POLICY_SWITCHML ||
              (pool_q[31:16] != '0 && 18'(pool_q[15:0]) + {1'b0, pool_q[31:16], 1'b0} <= 18'(slots_q)));
  end

  // --- Sweeps --------------------------------------------------------------------------------------
  typedef enum logic [1:0] { S_CLEAR, S_RUN, S_WAIT, S_PURGE } state_e;
  state_e        state_q;
  logic [Aw-1:0] sweep_q;
  jidx_t         purge_q;
  logic          start_purge, busy;

  assign busy        = state_q != S_RUN;
  assign hold_o      = busy;
  assign ctl_valid_o = state_q == S_PURGE || (state_q == S_CLEAR && idle_i);
  assign ctl_kind_o  = state_q == S_CLEAR ? K_CLEAR : K_PURGE;
  assign ctl_jidx_o  = purge_q;
  assign ctl_index_o = sweep_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= S_CLEAR;
      sweep_q <= '0;
    end else begin
      unique case (state_q)
        S_RUN: if (start_purge) state_q <= S_WAIT;
        S_WAIT: if (idle_i) begin
          state_q <= S_PURGE;
          sweep_q <= '0;
        end
        default: if (ctl_valid_o) begin
          sweep_q <= sweep_q + Aw'(1);
          if (sweep_q == '1) state_q <= S_RUN;
        end
      endcase
    end
    if (start_purge) purge_q <= job_jidx_o;
  end

  // --- Writes --------------------------------------------------------------------------------------
  logic          perform, ok;
  logic [Ab-1:0] waddr, raddr;
  logic [31:0]   wdata, read_value;
  logic [3:0]    wstrb;
  logic          rd_open, rd_answer, rd_ok;
  logic          add_ok, remove_ok, place_ok;
  logic          clear_job_q;        // the counters of the job added last are being cleared
  jidx_t         place;

  /* verilator lint_off PINCONNECTEMPTY */   // reads begin with the address held
  ks_axil_regs #(.AddrBits(Ab)) u_axil (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready,
    .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
    .s_axil_araddr, .s_axil_arvalid, .s_axil_arready,
    .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .wr_en_o(perform), .wr_addr_o(waddr), .wr_data_o(wdata), .wr_strb_o(wstrb), .wr_ok_i(ok),
    .rd_en_o(), .rd_addr_o(), .rd_pending_o(rd_open), .rd_addr_q_o(raddr),
    .rd_valid_i(rd_answer), .rd_ok_i(rd_ok), .rd_data_i(read_value)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  assign place     = jidx_t'(wdata[7:0]);
  assign place_ok  = wdata[7:0] < 8'(Jobs) && !busy;
  assign add_ok    = place_ok && wdata[8] && !wdata[9] && !job_active_i[place] && job_ok &&
                     !clear_job_q;
  assign remove_ok = place_ok && wdata[9] && !wdata[8] && job_active_i[place];

  always_comb begin
    unique case (waddr)
      REG_SETTINGS: ok = !any_job && wdata[1:0] != 2'd3 && wdata[3:2] != 2'd3;
      REG_SLOTS:    ok = !any_job && wdata != '0 && wdata <= 32'(Slots);
      REG_JOB_COMMAND: ok = add_ok || remove_ok;
      REG_ECN_THRESHOLD, REG_SLOT_SELECT, REG_ROUTE0, REG_ROUTE1, REG_ROUTE2, REG_ROUTE3, REG_ROUTE4,
      REG_ROUTE5, REG_ROUTE6, REG_ROUTE7, REG_JOB_NUMBER, REG_JOB_SHAPE, REG_JOB_MEMBERS,
      REG_JOB_PORTS, REG_JOB_POOL, REG_JOB_LUT0, REG_JOB_LUT1, REG_JOB_LUT2, REG_JOB_LUT3: ok = 1'b1;
      default: ok = 1'b0;
    endcase
    if (wstrb != '1) ok = 1'b0;
  end

  assign job_jidx_o   = place;
  assign job_write_o  = perform && ok && waddr == REG_JOB_COMMAND && add_ok;
  assign job_remove_o = perform && ok && waddr == REG_JOB_COMMAND && remove_ok;
  assign start_purge  = job_remove_o;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      settings_q <= settings_t'{policy: POLICY_ESA, completed: DONE_FREE, preempt: PREEMPT_HIGHER,
                                downgrade: 3'd1};
      slots_q   <= 17'(Slots);
      ecn_q     <= '0;
      route_q   <= '0;
    end else begin
      if (perform && ok) begin
        case (waddr)
          REG_SETTINGS: begin
            settings_q.policy    <= policy_e'(wdata[1:0]);
            settings_q.completed <= completed_e'(wdata[3:2]);
            settings_q.preempt   <= preempt_e'(wdata[5:4]);
            settings_q.downgrade <= wdata[10:8];
          end
          REG_SLOTS:         slots_q <= wdata[16:0];
          REG_ECN_THRESHOLD: ecn_q <= wdata[15:0];
          REG_ROUTE0, REG_ROUTE1, REG_ROUTE2, REG_ROUTE3, REG_ROUTE4, REG_ROUTE5, REG_ROUTE6,
          REG_ROUTE7:        route_q[waddr[4:2]] <= wdata[7:0];
          default: ;
        endcase
      end
    end
    if (perform && ok) begin
      case (waddr)
        REG_SLOT_SELECT: select_q <= wdata[15:0];
        REG_JOB_NUMBER:  {epoch_q, number_q} <= wdata[23:0];
        REG_JOB_SHAPE:   shape_q <= wdata;
        REG_JOB_MEMBERS: members_q <= wdata;
        REG_JOB_PORTS:   ports_q <= wdata[7:0];
        REG_JOB_POOL:    pool_q <= wdata;
        REG_JOB_LUT0, REG_JOB_LUT1, REG_JOB_LUT2, REG_JOB_LUT3:
          lut_q[2'(waddr[4:2] - REG_JOB_LUT0[4:2])] <= wdata;
        default: ;
      endcase
    end
  end

  // --- Counters ------------------------------------------------------------------------------------
  logic [7:0][31:0] cnt_fault_q;
  logic [ESA_PORTS-1:0][31:0] cnt_in_q, cnt_out_q, cnt_marked_q;
  logic [7:0][3:0]  faults_now;

  always_comb begin
    faults_now = '0;
    for (int unsigned p = 0; p < ESA_PORTS; p++) begin
      faults_now[0] = faults_now[0] + 4'(foreign_in_i[p]);
      if (fault_valid_i[p]) faults_now[fault_i[p]] = faults_now[fault_i[p]] + 4'd1;
    end
    faults_now[FAULT_ROUTE] = faults_now[FAULT_ROUTE] + 4'(ev_no_route_i);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      cnt_fault_q  <= '0;
      cnt_in_q     <= '0;
      cnt_out_q    <= '0;
      cnt_marked_q <= '0;
      occupied_q   <= '0;
    end else begin
      for (int unsigned i = 0; i < 8; i++) cnt_fault_q[i] <= cnt_fault_q[i] + 32'(faults_now[i]);
      for (int unsigned p = 0; p < ESA_PORTS; p++) begin
        cnt_in_q[p]     <= cnt_in_q[p] + 32'(frame_in_i[p]);
        cnt_out_q[p]    <= cnt_out_q[p] + 32'(frame_out_i[p]);
        cnt_marked_q[p] <= cnt_marked_q[p] + 32'(marked_i[p]);
      end
      if (state_q == S_CLEAR) occupied_q <= '0;
      else occupied_q <= occupied_q + 17'(ev_occupied_i) - 17'(ev_freed_i);
    end
  end

  // Memories: packets first, then the job that lost a slot (a cycle later: preempting packets have value
  // beats behind them), then a read, then clearing.
  logic          evict_q, jc_event, jc_read, jc_clear, sc_event, sc_read;
  jidx_t         evict_jidx_q, clear_place_q;
  logic [4:0]    clear_word_q;
  logic [5:0]    sc_add;
  logic          rd_req;             // the read channel wants a word of a memory
  logic [0:0][31:0] vc_rdata, jc_rdata;
  logic [5:0][31:0] sc_rdata;

  assign jc_event = ev_valid_i && ev_hit_i;
  assign jc_read  = rd_req && !jc_event && !evict_q;
  assign jc_clear = clear_job_q && !jc_event && !evict_q && !rd_req;

  always_comb begin
    sc_add = '0;
    unique case (ev_verdict_i)
      V_STORED:    sc_add = 6'b000001;
      V_ADDED:     sc_add = 6'b000010;
      V_COMPLETED: sc_add = ev_in_slot_i ? 6'b000110 : 6'b000000;
      V_PREEMPTED: sc_add = 6'b001001;
      V_COLLIDED:  sc_add = 6'b010000;
      V_FLUSHED, V_RESENT_FLUSH: sc_add = 6'b100000;
      default: ;
    endcase
  end
  assign sc_event = ev_valid_i && sc_add != '0;
  assign sc_read  = rd_req && !sc_event && state_q != S_CLEAR;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      evict_q     <= 1'b0;
      clear_job_q <= 1'b0;
    end else begin
      evict_q <= ev_valid_i && ev_verdict_i == V_PREEMPTED;
      if (job_write_o) clear_job_q <= 1'b1;
      else if (jc_clear && clear_word_q == '1) clear_job_q <= 1'b0;
    end
    evict_jidx_q <= ev_evicted_i;
    if (job_write_o) begin
      clear_place_q <= place;
      clear_word_q  <= '0;
    end else if (jc_clear) clear_word_q <= clear_word_q + 5'd1;
  end

  logic [4:0]  vc_row;
  logic [Aw-1:0] sc_row;
  assign vc_row = ev_valid_i ? ev_verdict_i : state_q == S_CLEAR ? 5'(sweep_q) : raddr[6:2];
  assign sc_row = sc_event ? ev_index_i : state_q == S_CLEAR ? sweep_q : select_q[Aw-1:0];

  esa_counters #(.Depth(32), .Fields(1)) u_verdicts (
    .clk_i, .rst_ni, .valid_i(ev_valid_i || state_q == S_CLEAR || rd_req), .row_i(vc_row),
    .add_i(ev_valid_i), .clear_i(!ev_valid_i && state_q == S_CLEAR), .rdata_o(vc_rdata)
  );
  esa_counters #(.Depth(32 * Jobs), .Fields(1)) u_jobs (
    .clk_i, .rst_ni, .valid_i(jc_event || evict_q || jc_read || jc_clear),
    .row_i(jc_event ? {ev_jidx_i, ev_verdict_i} : evict_q ? {evict_jidx_q, 5'd31} :
           jc_read ? raddr[11:2] : {clear_place_q, clear_word_q}),
    .add_i(jc_event || evict_q), .clear_i(jc_clear), .rdata_o(jc_rdata)
  );
  esa_counters #(.Depth(Slots), .Fields(6)) u_slots (
    .clk_i, .rst_ni, .valid_i(sc_event || state_q == S_CLEAR || sc_read), .row_i(sc_row),
    .add_i(sc_event ? sc_add : '0), .clear_i(!sc_event && state_q == S_CLEAR), .rdata_o(sc_rdata)
  );

  // --- Reads ---------------------------------------------------------------------------------------
  logic [31:0] reg_value, mem_value;
  logic        reg_ok, in_memory, in_verdict, in_job, in_slot, granted;
  logic        mem1_q, mem2_q;       // a cycle and two after a memory was given the address

  assign in_verdict = raddr >= WIN_VERDICT && raddr < WIN_VERDICT + Ab'(4 * WIN_VERDICT_WORDS);
  assign in_slot    = raddr >= WIN_SLOT && raddr < WIN_SLOT + Ab'(4 * WIN_SLOT_WORDS);
  assign in_job     = raddr >= WIN_JOB;
  assign in_memory  = in_verdict || in_slot || in_job;
  assign rd_req     = rd_open && in_memory && !mem1_q && !mem2_q;
  assign granted    = in_verdict ? !ev_valid_i && state_q != S_CLEAR : in_job ? jc_read : sc_read;

  always_comb begin
    reg_ok    = 1'b1;
    reg_value = '0;
    unique case (raddr)
      REG_ID:      reg_value = RESET_ID;
      REG_VERSION: reg_value = ESA_CONTRACT_VERSION;
      REG_CONFIG:  reg_value = {14'd0, 4'(JobsLog2), 5'(Aw), 5'(ValueBeats), 4'(ESA_PORTS)};
      REG_STATUS: begin
        reg_value[0]     = busy || clear_job_q;
        reg_value[31:16] = occupied_q[15:0];
        for (int unsigned i = 0; i < Jobs; i++)
          reg_value[15:8] = reg_value[15:8] + 8'(job_active_i[i]);
      end
      REG_SETTINGS: reg_value = {21'd0, settings_q.downgrade, 2'd0, settings_q.preempt,
                                 settings_q.completed, settings_q.policy};
      REG_SLOTS:         reg_value = 32'(slots_q);
      REG_ECN_THRESHOLD: reg_value = 32'(ecn_q);
      REG_SLOT_SELECT:   reg_value = 32'(select_q);
      REG_ROUTE0, REG_ROUTE1, REG_ROUTE2, REG_ROUTE3, REG_ROUTE4, REG_ROUTE5, REG_ROUTE6,
      REG_ROUTE7:        reg_value = 32'(route_q[raddr[4:2]]);
      REG_JOB_NUMBER:    reg_value = 32'({epoch_q, number_q});
      REG_JOB_SHAPE:     reg_value = shape_q;
      REG_JOB_MEMBERS:   reg_value = members_q;
      REG_JOB_PORTS:     reg_value = 32'(ports_q);
      REG_JOB_POOL:      reg_value = pool_q;
      REG_JOB_LUT0, REG_JOB_LUT1, REG_JOB_LUT2, REG_JOB_LUT3:
        reg_value = lut_q[2'(raddr[4:2] - REG_JOB_LUT0[4:2])];
      REG_JOB_COMMAND:   reg_value = '0;
      default: begin
        reg_ok = 1'b0;
        if (raddr >= WIN_FAULT && raddr < WIN_FAULT + Ab'(4 * WIN_FAULT_WORDS)) begin
          reg_ok    = 1'b1;
          reg_value = cnt_fault_q[raddr[4:2]];
        end
        if (raddr >= WIN_PORT_IN && raddr < WIN_PORT_IN + Ab'(4 * WIN_PORT_IN_WORDS)) begin
          reg_ok    = 1'b1;
          reg_value = cnt_in_q[raddr[4:2]];
        end
        if (raddr >= WIN_PORT_OUT && raddr < WIN_PORT_OUT + Ab'(4 * WIN_PORT_OUT_WORDS)) begin
          reg_ok    = 1'b1;
          reg_value = cnt_out_q[raddr[4:2]];
        end
        if (raddr >= WIN_PORT_MARKED && raddr < WIN_PORT_MARKED + Ab'(4 * WIN_PORT_MARKED_WORDS)) begin
          reg_ok    = 1'b1;
          reg_value = cnt_marked_q[raddr[4:2]];
        end
      end
    endcase
  end

  always_comb begin
    mem_value = '0;
    if (in_verdict) mem_value = vc_rdata[0];
    else if (in_job) mem_value = jc_rdata[0];
    else if (raddr[4:2] < 3'd6) mem_value = sc_rdata[raddr[4:2]];
  end

  assign rd_answer  = rd_open && (!in_memory || mem2_q);
  assign rd_ok      = in_memory || reg_ok;
  assign read_value = in_memory ? mem_value : reg_value;

  always_ff @(posedge clk_i) begin
    mem1_q <= rst_ni && rd_req && granted;
    mem2_q <= rst_ni && mem1_q;
  end

  `KS_ASSERT(EvictAlone, !(evict_q && jc_event))

endmodule

`default_nettype wire
