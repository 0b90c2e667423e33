// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Output unit: STORE copies a tensor from the activation memory to external memory, CONF computes
// argmax, softmax and the confidence values of a vector of logits.
//
// Descriptors are worked in order. Activations are read a row of all banks at a time (row_* port, one access
// per up to Nb pixels): row_data_i is taken in cycle RowLatency after that in which the request was accepted, and in no
// other. Words go through a 32-entry FIFO and an output register to the AXI write channel. A burst is
// announced when all its data is in the FIFO, ends at a multiple of 128 bytes, and its beats follow the address
// without gaps of our own. A descriptor is complete when the response of its last burst has come.
// CONF makes three passes over the logits: largest two (a class a cycle), sum of exponentials (the same), softmax
// output (11 cycles a class); the exponentials come from the table written through hv_regs. Cycle counts do not depend
// on data. rst_ni acts a cycle later, but takes away the bus's valid signals at once.

`default_nettype none

module hv_out
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        stop_i,           // error: finish the burst under way, begin nothing

  input  wire logic        q_we_i,
  input  wire logic [3:0]  q_widx_i,
  input  wire logic [63:0] q_wdata_i,
  output logic             q_room_o,

  /* verilator lint_off UNUSEDSIGNAL */       // multiples of 128
  input  wire logic [31:0] pkg_base_i,
  input  wire logic [31:0] in_base_i,
  input  wire logic [31:0] out_base_i,
  input  wire logic [31:0] scratch_base_i,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [15:0] n_compute_i,
  input  wire logic [15:0] n_load_i,
  output logic             done_o,           // one descriptor complete
  output logic             idle_o,
  output logic             range_err_o,

  output logic             row_valid_o,
  output row_t             row_o,
  input  wire logic        row_ready_i,
  input  wire word_t [Nb-1:0] row_data_i,

  input  wire logic        exp_we_i,
  input  wire logic [7:0]  exp_waddr_i,
  /* verilator lint_off UNUSEDSIGNAL */  // entries are not negative
  input  wire logic [31:0] exp_wdata_i,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [16:0] threshold_i,
  input  wire logic        use_margin_i,
  output logic [9:0]       top1_o,
  output logic [9:0]       top2_o,
  output logic [15:0]      p1_o,
  output logic [15:0]      margin_o,
  output logic             confident_o,
  output logic             conf_valid_o,     // a CONF finished in this program

  output logic [31:0]      m_axi_awaddr,
  output logic [7:0]       m_axi_awlen,
  output logic             m_axi_awvalid,
  input  wire logic        m_axi_awready,
  output logic [HV_BUS_BYTES*8-1:0] m_axi_wdata,
  output logic [HV_BUS_BYTES-1:0]   m_axi_wstrb,
  output logic             m_axi_wlast,
  output logic             m_axi_wvalid,
  input  wire logic        m_axi_wready,
  input  wire logic [1:0]  m_axi_bresp,
  input  wire logic        m_axi_bvalid,
  output logic             m_axi_bready,
  output logic             wr_idle_o,        // no burst under way, no response missing
  output logic             wr_beat_o,
  output logic             wr_err_o,
  output logic [31:0]      wr_err_addr_o
);

  localparam int unsigned FifoDepth = 32;
  localparam int unsigned QDepth = 4;
  localparam int unsigned BurstBeats = 16;
  localparam int unsigned RowParts = 4;       // of the row register, each with an enable of its own

  if (HV_BUS_BYTES * BurstBeats != 128) begin : gen_bad_burst
    $error("hv_out: a burst must have 128 bytes, the alignment of addresses");
  end
  if (Nb % RowParts != 0) begin : gen_bad_parts
    $error("hv_out: the number of banks must be a multiple of 4");
  end

  logic clear_q;
  always_ff @(posedge clk_i) clear_q <= !rst_ni;

  // --- Descriptor queue (words 0 to 3 carry everything) -----------------------------------------
  logic [63:0] q_mem [QDepth*4];
  logic [1:0]  q_w_q, q_r_q;
  logic [2:0]  q_n_q;
  logic        q_push, q_pop;
  assign q_push   = q_we_i && q_widx_i == 4'd15;
  assign q_room_o = q_n_q + 3'(q_push) < 3'(QDepth);

  // --- State ----------------------------------------------------------------------------------------
  typedef enum logic [4:0] {
    Idle, Read, Wait, Addr, Row, Get, StEmit, CfWord, CfScan, CfSum, CfRecip, CfMath, CfP1, CfP2, CfMargin, CfOut,
    CfPush, Settle, Flush
  } state_e;
  state_e state_q;

  logic [1:0]   rd_q;                         // descriptor word being copied
  logic [3:0][63:0] dw_q;
  /* verilator lint_off UNUSEDSIGNAL */       // reserved bits were checked by the front end
  store_desc_t  st;
  conf_desc_t   cf;
  /* verilator lint_on UNUSEDSIGNAL */
  logic         is_conf_q;
  assign st = store_desc_t'({768'd0, dw_q});
  assign cf = conf_desc_t'({768'd0, dw_q});

  logic [1:0]   base_sel;
  logic [31:7]  base;                         // a multiple of 128
  assign base_sel = is_conf_q ? cf.base : st.base;
  always_comb begin
    unique case (base_sel)
      BASE_PKG: base = pkg_base_i[31:7];
      BASE_IN:  base = in_base_i[31:7];
      BASE_OUT: base = out_base_i[31:7];
      default:  base = scratch_base_i[31:7];
    endcase
  end

  logic         begin_q;                      // the counts that are waited for have been reached
  logic [11:0]  g_left_q;                     // channel groups left (STORE)
  logic [Lb-1:0] g_q;                         // low bits of the group's index
  logic [15:0]  grow_q;                       // first row of the group
  logic [15:0]  row_addr_q;                   // row to be read
  bank_t        bank_q, pix_q;                // of the next word; pixel's low bits
  logic [19:0]  left_q;                       // pixels left in the group
  logic         g_last_q, left_last_q, n_one_q;  // g_left_q == 1, left_q == 1, st.n == 1
  word_t [Nb-1:0] row_q;
  word_t        word_q;                       // the class at hand in byte 0
  logic [2:0]   idx_q;                        // its byte of the word (Wb <= 8 used per beat)
  logic [9:0]   i_q;                          // class index
  logic [10:0]  c_left_q;                     // classes left in the pass
  logic         c_last_q, c_one_q;            // c_left_q == 1, cf.classes == 1
  logic [1:0]   pass_q;
  logic [15:0]  src_base, src_s;
  logic [19:0]  p0;
  assign src_base = is_conf_q ? cf.src_base : st.src_base;
  assign src_s    = is_conf_q ? cf.src_s : st.src_s;
  assign p0       = is_conf_q ? cf.p0 : st.p0;

  // --- Rows: request, and data RowLatency cycles later ------------------------------------------------
  logic                  row_fire;
  logic [RowLatency-1:0] row_wait_q;          // [k]: accepted k + 1 cycles ago
  logic [RowLatency:0]   row_wait;
  logic [RowParts-1:0]   row_take_q;          // row_data_i is that of the request
  assign row_o       = row_addr_q[RowW-1:0];
  assign row_valid_o = state_q == Row;
  assign row_fire    = row_valid_o && row_ready_i;
  assign row_wait    = {row_wait_q, row_fire};
  ks_copies #(
    .Copies(RowParts)
  ) u_take (
    .clk_i, .d_i(row_wait[RowLatency-1] && !clear_q), .q_o(row_take_q)
  );

  always_ff @(posedge clk_i) begin
    row_wait_q <= clear_q ? '0 : row_wait[RowLatency-1:0];
    for (int unsigned b = 0; b < Nb; b++) begin
      if (row_take_q[b*RowParts/Nb]) row_q[b] <= row_data_i[b];
    end
  end

  // --- Exponential table ------------------------------------------------------------------------------
  // The register file refuses table writes while a program runs. exp_q is the entry of two cycles before.
  (* no_rw_check *) logic [30:0] exp_mem [256];
  logic [30:0] exp_q;
  logic [7:0]  exp_addr_q;
  logic signed [7:0] x, m1_q, m2_q, exp_of;
  logic [9:0]  i1_q, i2_q;
  logic        have1_q, have2_q;
  assign x = $signed(word_q[0]);
  assign exp_of = state_q == CfP1 ? m1_q : state_q == CfP2 ? m2_q : x;
  always_ff @(posedge clk_i) begin
    if (exp_we_i) exp_mem[exp_waddr_i] <= exp_wdata_i[30:0];
    exp_q      <= exp_mem[exp_addr_q];
    exp_addr_q <= 8'(m1_q - exp_of);
  end

  // --- Sum of the exponentials, rounded to Q12.19 -----------------------------------------------------
  logic [2:0]  term_q;                        // a class in exp_addr_q, exp_q, round_q
  logic [18:0] round_lo;
  logic [19:0] round_q;
  logic [30:0] sum_q;
  assign round_lo = exp_q[30:12];
  always_ff @(posedge clk_i) begin
    term_q  <= clear_q ? '0 : {term_q[1:0], state_q == CfSum};
    round_q <= 20'(round_lo) + 20'(exp_q[11]);
    if (state_q == Wait) sum_q <= '0;
    else if (term_q[2]) sum_q <= sum_q + 31'(round_q);
  end

  // --- Reciprocal and products ------------------------------------------------------------------------
  logic        recip, prob, math_busy;
  logic [7:0]  prob8;
  logic [15:0] prob16, p1_q, p2_q;
  logic [1:0]  sub_q;                         // steps inside a state
  assign recip = state_q == CfRecip && sub_q == 2'd3;
  assign prob  = (state_q == CfP1 || state_q == CfP2 || state_q == CfOut) && sub_q == 2'd2;
  hv_conf_math u_math (
    .clk_i, .rst_ni(!clear_q), .recip_i(recip), .sum_i(sum_q), .prob_i(prob), .exp_i(exp_q),
    .busy_o(math_busy), .prob8_o(prob8), .prob16_o(prob16)
  );

  // A step a cycle behind p1_q and p2_q.
  logic [15:0] margin_q, value_q;
  logic        confident_q;
  always_ff @(posedge clk_i) begin
    margin_q    <= p1_q - p2_q;
    value_q     <= use_margin_i ? margin_q : p1_q;
    confident_q <= {1'b0, value_q} >= threshold_i;
  end

  logic word_end;
  assign word_end = idx_q == 3'(Wb - 1) || c_last_q;

  // --- Write FIFO ---------------------------------------------------------------------------------------
  logic [HV_BUS_BYTES-1:0][7:0] f_data [FifoDepth];
  logic [HV_BUS_BYTES-1:0]      f_strb [FifoDepth];
  logic [4:0]  f_w_q, f_r_q;
  logic [5:0]  f_n_q;
  logic        f_push, f_pop, f_full;
  word_t       f_wdata, asm_q;
  logic [Wb-1:0] f_wstrb, strb_q;
  assign f_full  = f_n_q[5];
  assign f_push  = (state_q == StEmit || state_q == CfPush) && !f_full;
  assign f_wdata = state_q == StEmit ? row_q[bank_q] : asm_q;
  assign f_wstrb = state_q == StEmit ? '1 : strb_q;

  // --- Main sequence --------------------------------------------------------------------------------
  assign q_pop = state_q == Read && rd_q == 2'd3;

  logic quiet_q;                              // nothing in the FIFO or on the bus, no response missing
  assign done_o = state_q == Flush && quiet_q;
  assign idle_o = state_q == Idle && q_n_q == 0;

  always_ff @(posedge clk_i) begin
    if (q_we_i && q_widx_i < 4'd4) q_mem[{q_w_q, q_widx_i[1:0]}] <= q_wdata_i;
    if (state_q == Read) dw_q[rd_q] <= q_mem[{q_r_q, rd_q}];
    is_conf_q <= cf.op == OP_CONF;            // word 0 is there two cycles before Wait
    begin_q   <= state_q == Wait && !stop_i &&
                 n_compute_i >= (is_conf_q ? cf.wait_compute : st.wait_compute) &&
                 n_load_i >= (is_conf_q ? cf.wait_load : st.wait_load);
    n_one_q   <= st.n == 20'd1;
    c_one_q   <= cf.classes == 11'd1;
    if (clear_q) begin
      q_w_q <= '0;
      q_r_q <= '0;
      q_n_q <= '0;
      state_q <= Idle;
      conf_valid_o <= 1'b0;
      range_err_o  <= 1'b0;
    end else begin
      if (q_push) q_w_q <= q_w_q + 2'd1;
      if (q_pop) q_r_q <= q_r_q + 2'd1;
      q_n_q <= q_n_q + 3'(q_push) - 3'(q_pop);
      range_err_o <= row_valid_o && row_addr_q >= 16'(HV_ACT_ROWS);

      unique case (state_q)
        Idle: begin
          rd_q <= '0;
          if (q_n_q != 0) state_q <= Read;
        end
        Read: begin
          rd_q <= rd_q + 2'd1;
          if (rd_q == 2'd3) state_q <= Wait;
        end
        Wait: begin
          g_q      <= '0;
          g_left_q <= st.groups;
          g_last_q <= st.groups == 12'd1;
          grow_q   <= src_base;
          left_q   <= st.n;
          left_last_q <= n_one_q;
          i_q      <= '0;
          c_left_q <= cf.classes;
          c_last_q <= c_one_q;
          pass_q   <= '0;
          have1_q  <= 1'b0;
          have2_q  <= 1'b0;
          m2_q     <= -8'sd128;
          i2_q     <= '0;
          sub_q    <= '0;
          strb_q   <= '0;
          asm_q    <= '0;
          p2_q     <= '0;
          if (begin_q) state_q <= Addr;
        end

        // A row, of the group's first pixel or the one behind the row before
        Addr: begin
          row_addr_q <= grow_q + 16'(p0[19:Lb]);
          pix_q      <= p0[Lb-1:0];
          bank_q     <= p0[Lb-1:0] + group_skew(g_q);
          state_q    <= Row;
        end
        Row: if (row_ready_i) begin
          row_addr_q <= row_addr_q + 16'd1;
          state_q    <= Get;
        end
        Get: if (row_take_q[0]) state_q <= is_conf_q ? CfWord : StEmit;

        // STORE
        StEmit: if (!f_full) begin
          bank_q      <= bank_q + bank_t'(1);
          pix_q       <= pix_q + bank_t'(1);
          left_q      <= left_q - 20'd1;
          left_last_q <= left_q == 20'd2;
          if (left_last_q) begin
            g_q         <= g_q + Lb'(1);
            g_left_q    <= g_left_q - 12'd1;
            g_last_q    <= g_left_q == 12'd2;
            grow_q      <= grow_q + src_s;
            left_q      <= st.n;
            left_last_q <= n_one_q;
            state_q     <= g_last_q ? Settle : Addr;
          end else if (pix_q == '1) begin
            state_q <= Row;
          end
        end

        // CONF: pass 0 finds the largest two, pass 1 sums, pass 2 writes the softmax
        CfWord: begin
          word_q  <= row_q[bank_q];
          idx_q   <= '0;
          sub_q   <= '0;
          state_q <= pass_q == 2'd0 ? CfScan : pass_q == 2'd1 ? CfSum : CfOut;
        end
        CfScan, CfSum: begin
          if (state_q == CfScan) begin
            have1_q <= 1'b1;
            if (!have1_q || x > m1_q) begin
              m1_q    <= x;
              i1_q    <= i_q;
              m2_q    <= m1_q;
              i2_q    <= have1_q ? i1_q : 10'd0;
              have2_q <= have1_q;
            end else if (!have2_q || x > m2_q) begin
              m2_q    <= x;
              i2_q    <= i_q;
              have2_q <= 1'b1;
            end
            i_q <= i_q + 10'd1;
          end
          word_q   <= word_q >> 8;
          idx_q    <= idx_q + 3'd1;
          c_left_q <= c_left_q - 11'd1;
          c_last_q <= c_left_q == 11'd2;
          if (word_end) begin
            g_q     <= g_q + Lb'(1);
            grow_q  <= grow_q + src_s;
            state_q <= Addr;
            if (c_last_q) begin
              pass_q   <= pass_q + 2'd1;
              c_left_q <= cf.classes;
              c_last_q <= c_one_q;
              g_q      <= '0;
              grow_q   <= src_base;
              if (state_q == CfSum) state_q <= CfRecip;
            end
          end
        end
        CfRecip: begin                        // the last terms reach the sum
          sub_q <= sub_q + 2'd1;
          if (sub_q == 2'd3) state_q <= CfMath;
        end
        CfMath: if (!math_busy) state_q <= CfP1;
        // The table takes two cycles, then the product.
        CfP1: begin
          if (sub_q != 2'd3) sub_q <= sub_q + 2'd1;
          else if (!math_busy) begin
            p1_q    <= prob16;
            sub_q   <= 2'd0;
            state_q <= CfP2;
          end
        end
        CfP2: begin
          if (sub_q != 2'd3) sub_q <= sub_q + 2'd1;
          else if (!math_busy) begin
            if (have2_q) p2_q <= prob16;
            sub_q   <= 2'd0;
            state_q <= CfMargin;
          end
        end
        CfMargin: begin
          sub_q <= sub_q + 2'd1;
          if (sub_q == 2'd2) state_q <= cf.softmax ? Addr : Settle;
        end
        // While a class is multiplied the next one's table entry comes.
        CfOut: begin
          if (sub_q != 2'd3) begin
            sub_q <= sub_q + 2'd1;
            if (sub_q == 2'd2) word_q <= word_q >> 8;
          end else if (!math_busy) begin
            asm_q[idx_q]  <= prob8 ^ 8'h80;   // Q0.8 minus 128
            strb_q[idx_q] <= 1'b1;
            idx_q    <= idx_q + 3'd1;
            c_left_q <= c_left_q - 11'd1;
            c_last_q <= c_left_q == 11'd2;
            sub_q    <= 2'd2;
            if (word_end) begin
              g_q     <= g_q + Lb'(1);
              grow_q  <= grow_q + src_s;
              pass_q  <= c_last_q ? 2'd3 : 2'd2;
              state_q <= CfPush;
            end
          end
        end
        CfPush: if (!f_full) begin
          asm_q   <= '0;
          strb_q  <= '0;
          state_q <= pass_q == 2'd3 ? Settle : Addr;
        end

        Settle: state_q <= Flush;             // quiet_q lags by a cycle
        Flush: if (quiet_q) begin
          state_q <= Idle;
          if (is_conf_q) conf_valid_o <= 1'b1;
        end
        default: state_q <= Idle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Flush && is_conf_q) begin
      top1_o      <= i1_q;
      top2_o      <= i2_q;
      p1_o        <= p1_q;
      margin_o    <= margin_q;
      confident_o <= confident_q;
    end
  end

  // --- AXI write channel --------------------------------------------------------------------------
  // Addresses are multiples of 128: every burst has 16 beats but the last of a descriptor, and a descriptor begins
  // after all responses of the one before.
  logic [31:7] w_block_q;                     // block of the next burst
  logic [31:7] b_block_q;                     // block of the burst whose response comes next
  logic [4:0]  burst, w_beats_q;              // beats of the burst that are still in the FIFO
  logic        w_busy_q;                      // a burst is on the channels
  logic        aw_q, w_q, w_last_q;           // address channel, data channel occupied
  logic        b_q, b_bad_q;                  // a response came
  logic [5:0]  b_pend_q;                      // bursts announced without response
  logic        aw_start, w_fire, tail, bus_idle, bus_idle_q;
  logic [31:7] w_begin;                       // first block of a descriptor
  assign w_begin  = base + (is_conf_q ? cf.addr[31:7] : st.addr[31:7]);
  assign tail     = state_q == Settle || state_q == Flush;
  assign burst    = f_n_q[5:4] != 0 ? 5'(BurstBeats) : {1'b0, f_n_q[3:0]};
  assign aw_start = !w_busy_q && (f_n_q[5:4] != 0 || (tail && f_n_q[3:0] != 0)) && !stop_i && b_pend_q != '1;
  assign w_fire   = m_axi_wvalid && m_axi_wready;
  assign f_pop    = w_beats_q != 0 && (!w_q || w_fire);
  assign bus_idle = !w_busy_q && b_pend_q == 0;

  assign m_axi_awvalid = aw_q;
  assign m_axi_wvalid  = w_q && !aw_q;
  assign m_axi_wlast   = w_last_q;
  assign m_axi_bready  = 1'b1;
  assign wr_idle_o     = bus_idle_q && !w_busy_q;
  assign wr_err_o      = b_q && b_bad_q;
  assign wr_err_addr_o = {b_block_q, 7'd0};

  always_ff @(posedge clk_i) begin
    if (f_push) begin
      f_data[f_w_q] <= f_wdata;
      f_strb[f_w_q] <= f_wstrb;
    end
    if (clear_q || !rst_ni) begin
      f_w_q     <= '0;
      f_r_q     <= '0;
      f_n_q     <= '0;
      aw_q      <= 1'b0;
      w_q       <= 1'b0;
      w_busy_q  <= 1'b0;
      w_beats_q <= '0;
      b_q       <= 1'b0;
      b_pend_q  <= '0;
      quiet_q    <= 1'b0;
      bus_idle_q <= 1'b1;
      wr_beat_o  <= 1'b0;
    end else begin
      if (f_push) f_w_q <= f_w_q + 5'd1;
      if (f_pop) f_r_q <= f_r_q + 5'd1;
      f_n_q      <= f_n_q + 6'(f_push) - 6'(f_pop);
      b_q        <= m_axi_bvalid;
      b_pend_q   <= b_pend_q + 6'(aw_start) - 6'(b_q);
      bus_idle_q <= bus_idle;
      quiet_q    <= bus_idle && f_n_q == 0;
      wr_beat_o  <= w_fire;
      if (aw_start) begin
        aw_q      <= 1'b1;
        w_busy_q  <= 1'b1;
        w_beats_q <= burst;
      end else begin
        if (m_axi_awready) aw_q <= 1'b0;
        if (w_fire && w_last_q) w_busy_q <= 1'b0;
        if (f_pop) w_beats_q <= w_beats_q - 5'd1;
      end
      w_q <= f_pop || (w_q && !w_fire);
    end
    b_bad_q <= m_axi_bresp != 2'b00;
    if (f_pop) begin
      m_axi_wdata <= f_data[f_r_q];
      m_axi_wstrb <= f_strb[f_r_q];
      w_last_q    <= w_beats_q == 5'd1;
    end
    if (state_q == Wait) b_block_q <= w_begin;
    else if (b_q) b_block_q <= b_block_q + 25'd1;
    if (state_q == Wait) w_block_q <= w_begin;
    else if (aw_start) w_block_q <= w_block_q + 25'd1;
    if (aw_start) begin
      m_axi_awaddr <= {w_block_q, 7'd0};
      m_axi_awlen  <= 8'(burst) - 8'd1;
    end
  end

endmodule

`default_nettype wire
