// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Output unit: STORE copies a tensor from the activation memory to external memory, CONF computes
// argmax, softmax and the confidence values of a vector of logits.
//
// Descriptors are worked in order. Activations are read a row of all banks at a time (row_* port, one access
// per up to Nb pixels), words go through a 32-entry FIFO to the AXI write channel. A burst is
// announced when all its data is in the FIFO, ends at a multiple of 128 bytes, and its beats follow the address
// without gaps of our own. A descriptor is complete when the response of its last burst has come.
// CONF makes three passes over the logits: largest two, sum of exponentials, softmax output; the exponentials
// come from the table written through hv_regs. Cycle counts do not depend on data.

`default_nettype none

module hv_out
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        start_i,          // new program
  input  wire logic        stop_i,           // error: finish the burst under way, begin nothing

  input  wire logic        q_we_i,
  input  wire logic [3:0]  q_widx_i,
  input  wire logic [63:0] q_wdata_i,
  output logic             q_room_o,

  input  wire logic [31:0] pkg_base_i,
  input  wire logic [31:0] in_base_i,
  input  wire logic [31:0] out_base_i,
  input  wire logic [31:0] scratch_base_i,
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
  localparam int unsigned BeatShift = $clog2(HV_BUS_BYTES);

  // --- Descriptor queue (words 0 to 3 carry everything) -----------------------------------------
  logic [63:0] q_mem [QDepth*4];
  logic [1:0]  q_w_q, q_r_q;
  logic [2:0]  q_n_q;
  logic        q_push, q_pop;
  assign q_push   = q_we_i && q_widx_i == 4'd15;
  assign q_room_o = q_n_q + 3'(q_push) < 3'(QDepth);

  // --- State ----------------------------------------------------------------------------------------
  // The row asked for arrives RowLatency cycles later.
  logic [hv_core_pkg::RowLatency-1:0] row_on_way_q;
  logic row_there;
  assign row_there = row_on_way_q[hv_core_pkg::RowLatency-1];
  always_ff @(posedge clk_i) begin
    if (!rst_ni) row_on_way_q <= '0;
    else row_on_way_q <= (hv_core_pkg::RowLatency)'({row_on_way_q, row_valid_o && row_ready_i});
  end

  typedef enum logic [3:0] {
    Idle, Read, Wait, StRow, StData, StEmit, CfRow, CfData, CfScan, CfSum, CfRecip, CfP1, CfP2, CfOut, Flush
  } state_e;
  state_e state_q;

  logic [1:0]   rd_q;                         // descriptor word being copied
  logic [3:0][63:0] dw_q;
  /* verilator lint_off UNUSEDSIGNAL */       // reserved bits were checked by the front end
  store_desc_t  st;
  conf_desc_t   cf;
  /* verilator lint_on UNUSEDSIGNAL */
  logic         is_conf;
  assign st = store_desc_t'({768'd0, dw_q});
  assign cf = conf_desc_t'({768'd0, dw_q});
  assign is_conf = cf.op == OP_CONF;

  logic [1:0]   base_sel;
  logic [31:0]  base;
  assign base_sel = is_conf ? cf.base : st.base;
  always_comb begin
    unique case (base_sel)
      BASE_PKG: base = pkg_base_i;
      BASE_IN:  base = in_base_i;
      BASE_OUT: base = out_base_i;
      default:  base = scratch_base_i;
    endcase
  end

  logic [11:0]  g_q;                          // channel group
  logic [15:0]  grow_q;                       // first row of the group
  logic [19:0]  p_q, left_q;                  // pixel, pixels left in the group
  word_t [Nb-1:0] row_q;
  word_t        word_q;
  logic [2:0]   idx_q;                        // byte of the word (Wb <= 8 used per beat)
  logic [10:0]  i_q;                          // class index
  logic [1:0]   pass_q;
  logic [15:0]  row_full;
  bank_t        bank;

  assign row_full = grow_q + 16'(p_q[19:Lb]);
  assign row_o    = row_full[RowW-1:0];
  assign bank     = p_q[Lb-1:0] + group_skew(g_q[Lb-1:0]);
  assign row_valid_o = (state_q == StRow || state_q == CfRow) && !stop_i;

  // --- Exponential table ------------------------------------------------------------------------------
  // The register file refuses table writes while a program runs.
  (* no_rw_check *) logic [30:0] exp_mem [256];
  logic [30:0] exp_q;
  logic [7:0]  exp_addr;
  always_ff @(posedge clk_i) begin
    if (exp_we_i) exp_mem[exp_waddr_i] <= exp_wdata_i[30:0];
    exp_q <= exp_mem[exp_addr];
  end

  logic signed [7:0] x, m1_q, m2_q;
  logic [9:0]  i1_q, i2_q;
  logic        have1_q, have2_q;
  assign x = $signed(word_q[idx_q]);
  always_comb begin
    unique case (state_q)
      CfP1, CfRecip: exp_addr = 8'd0;
      CfP2:          exp_addr = 8'(m1_q - m2_q);
      default:       exp_addr = 8'(m1_q - x);
    endcase
  end

  // --- Reciprocal and products ------------------------------------------------------------------------
  logic        recip, prob, math_busy;
  logic [30:0] sum_q;
  logic [7:0]  prob8;
  logic [15:0] prob16, p1_q, p2_q;
  logic [1:0]  sub_q;                         // steps inside a state
  hv_conf_math u_math (
    .clk_i, .rst_ni(rst_ni && !start_i), .recip_i(recip), .sum_i(sum_q), .prob_i(prob), .exp_i(exp_q),
    .busy_o(math_busy), .prob8_o(prob8), .prob16_o(prob16)
  );

  logic last_class, word_end;
  assign last_class = i_q == cf.classes - 11'd1;
  assign word_end   = idx_q == 3'(Wb - 1) || last_class;

  // --- Write FIFO ---------------------------------------------------------------------------------------
  logic [HV_BUS_BYTES-1:0][7:0] f_data [FifoDepth];
  logic [HV_BUS_BYTES-1:0]      f_strb [FifoDepth];
  logic [4:0]  f_w_q, f_r_q;
  logic [5:0]  f_n_q;
  logic        f_push, f_pop, f_full;
  word_t       f_wdata, asm_q, asm_next;
  logic [Wb-1:0] f_wstrb, strb_q, strb_next;
  assign f_full = f_n_q == 6'(FifoDepth);

  always_comb begin
    asm_next  = asm_q;
    strb_next = strb_q;
    asm_next[idx_q]  = prob8 ^ 8'h80;         // Q0.8 minus 128
    strb_next[idx_q] = 1'b1;
  end
  logic sm_emit;                              // a softmax byte is ready
  assign sm_emit = state_q == CfOut && sub_q == 2'd3 && !math_busy && !f_full;
  assign f_push  = (state_q == StEmit && !f_full) || (sm_emit && word_end);
  assign f_wdata = state_q == StEmit ? row_q[bank] : asm_next;
  assign f_wstrb = state_q == StEmit ? '1 : strb_next;

  // --- Main sequence --------------------------------------------------------------------------------
  assign recip = state_q == CfRecip && sub_q == 2'd0;
  assign prob  = (state_q == CfP1 && sub_q == 2'd1) || (state_q == CfP2 && sub_q == 2'd1) ||
                 (state_q == CfOut && sub_q == 2'd1);
  assign q_pop = state_q == Read && rd_q == 2'd3;

  logic writer_idle;
  logic [31:0] total_beats;
  assign total_beats = is_conf ? (cf.softmax ? (32'(cf.classes) + 32'(HV_BUS_BYTES - 1)) >> BeatShift : 32'd0)
                               : 32'(st.groups) * 32'(st.n);
  logic begin_work;
  assign begin_work = state_q == Wait && !stop_i &&
                      n_compute_i >= (is_conf ? cf.wait_compute : st.wait_compute) &&
                      n_load_i >= (is_conf ? cf.wait_load : st.wait_load);
  assign done_o = state_q == Flush && writer_idle;
  assign idle_o = state_q == Idle && q_n_q == 0;

  // Writer registers are set by begin_work and counted down below.
  logic [31:0] w_addr_q;
  logic [31:0] w_left_q;                      // beats not yet announced
  logic [4:0]  burst, to_edge, w_beats_q;     // beats of the burst on the data channel
  logic        aw_q;                          // address channel occupied
  logic [5:0]  b_pend_q;                      // bursts announced without response
  logic [31:7] b_block_q;                     // block of the burst whose response comes next
  logic        aw_start, w_fire;
  logic [31:0] w_begin;                       // first address of a descriptor
  assign w_begin = base + (is_conf ? cf.addr : st.addr);

  always_ff @(posedge clk_i) begin
    if (q_we_i && q_widx_i < 4'd4) q_mem[{q_w_q, q_widx_i[1:0]}] <= q_wdata_i;
    if (state_q == Read) dw_q[rd_q] <= q_mem[{q_r_q, rd_q}];
    if (!rst_ni || start_i) begin
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
      range_err_o <= row_valid_o && row_full >= 16'(HV_ACT_ROWS);

      unique case (state_q)
        Idle: begin
          rd_q <= '0;
          if (q_n_q != 0) state_q <= Read;
        end
        Read: begin
          rd_q <= rd_q + 2'd1;
          if (rd_q == 2'd3) state_q <= Wait;
        end
        Wait: if (begin_work) begin
          state_q <= is_conf ? CfRow : StRow;
          g_q     <= '0;
          grow_q  <= is_conf ? cf.src_base : st.src_base;
          p_q     <= is_conf ? cf.p0 : st.p0;
          left_q  <= st.n;
          i_q     <= '0;
          idx_q   <= '0;
          pass_q  <= '0;
          have1_q <= 1'b0;
          have2_q <= 1'b0;
          m2_q    <= -8'sd128;
          i2_q    <= '0;
          sum_q   <= '0;
          sub_q   <= '0;
          strb_q  <= '0;
          asm_q   <= '0;
          p2_q    <= '0;
        end

        // STORE
        StRow: if (row_ready_i && !stop_i) state_q <= StData;
        StData: if (row_there) begin
          row_q   <= row_data_i;
          state_q <= StEmit;
        end
        StEmit: if (!f_full) begin
          p_q    <= p_q + 20'd1;
          left_q <= left_q - 20'd1;
          if (left_q == 20'd1) begin
            g_q    <= g_q + 12'd1;
            grow_q <= grow_q + st.src_s;
            p_q    <= st.p0;
            left_q <= st.n;
            state_q <= g_q == st.groups - 12'd1 ? Flush : StRow;
          end else if (p_q[Lb-1:0] == Lb'(Nb - 1)) begin
            state_q <= StRow;
          end
        end

        // CONF: pass 0 finds the largest two, pass 1 sums, pass 2 writes the softmax
        CfRow: if (row_ready_i && !stop_i) state_q <= CfData;
        CfData: if (row_there) begin
          word_q  <= row_data_i[bank];
          idx_q   <= '0;
          sub_q   <= '0;
          state_q <= pass_q == 2'd0 ? CfScan : pass_q == 2'd1 ? CfSum : CfOut;
        end
        CfScan: begin
          have1_q <= 1'b1;
          if (!have1_q || x > m1_q) begin
            m1_q    <= x;
            i1_q    <= i_q[9:0];
            m2_q    <= m1_q;
            i2_q    <= have1_q ? i1_q : 10'd0;
            have2_q <= have1_q;
          end else if (!have2_q || x > m2_q) begin
            m2_q    <= x;
            i2_q    <= i_q[9:0];
            have2_q <= 1'b1;
          end
          i_q   <= i_q + 11'd1;
          idx_q <= idx_q + 3'd1;
          if (word_end) begin
            g_q     <= g_q + 12'd1;
            grow_q  <= grow_q + cf.src_s;
            state_q <= CfRow;
            if (last_class) begin
              pass_q <= 2'd1;
              i_q    <= '0;
              g_q    <= '0;
              grow_q <= cf.src_base;
            end
          end
        end
        CfSum: begin                          // table read, then add: two cycles a class
          sub_q <= sub_q[0] ? 2'd0 : 2'd1;
          if (sub_q[0]) begin
            sum_q <= sum_q + 31'((32'(exp_q) + 32'd2048) >> 12);
            i_q   <= i_q + 11'd1;
            idx_q <= idx_q + 3'd1;
            if (word_end) begin
              g_q     <= g_q + 12'd1;
              grow_q  <= grow_q + cf.src_s;
              state_q <= CfRow;
              if (last_class) begin
                pass_q <= 2'd2;
                i_q    <= '0;
                g_q    <= '0;
                grow_q <= cf.src_base;
                state_q <= CfRecip;
              end
            end
          end
        end
        CfRecip: begin
          sub_q <= 2'd1;
          if (sub_q != 0 && !math_busy) begin
            sub_q   <= 2'd0;
            state_q <= CfP1;
          end
        end
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
            state_q <= cf.softmax ? CfRow : Flush;
          end
        end
        CfOut: begin
          if (sub_q != 2'd3) sub_q <= sub_q + 2'd1;
          else if (sm_emit) begin
            sub_q <= 2'd0;
            i_q   <= i_q + 11'd1;
            idx_q <= idx_q + 3'd1;
            asm_q  <= word_end ? '0 : asm_next;
            strb_q <= word_end ? '0 : strb_next;
            if (word_end) begin
              g_q     <= g_q + 12'd1;
              grow_q  <= grow_q + cf.src_s;
              state_q <= last_class ? Flush : CfRow;
            end
          end
        end
        Flush: if (writer_idle) begin
          state_q <= Idle;
          if (is_conf) conf_valid_o <= 1'b1;
        end
        default: state_q <= Idle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Flush && is_conf) begin
      top1_o      <= i1_q;
      top2_o      <= i2_q;
      p1_o        <= p1_q;
      margin_o    <= p1_q - p2_q;
      confident_o <= {1'b0, use_margin_i ? p1_q - p2_q : p1_q} >= threshold_i;
    end
  end

  // --- AXI write channel --------------------------------------------------------------------------
  assign to_edge  = 5'd16 - 5'(w_addr_q[BeatShift +: 4]);
  assign burst    = w_left_q < 32'(to_edge) ? w_left_q[4:0] : to_edge;
  assign aw_start = !aw_q && w_beats_q == 0 && w_left_q != 0 && f_n_q >= 6'(burst) && !stop_i &&
                     b_pend_q != '1;
  assign w_fire   = m_axi_wvalid && m_axi_wready;
  assign f_pop    = w_fire;
  assign writer_idle = w_left_q == 0 && wr_idle_o;
  assign wr_idle_o   = !aw_q && w_beats_q == 0 && b_pend_q == 0;

  assign m_axi_awvalid = aw_q;
  assign m_axi_wvalid  = w_beats_q != 0 && !aw_q;
  assign m_axi_wdata   = f_data[f_r_q];
  assign m_axi_wstrb   = f_strb[f_r_q];
  assign m_axi_wlast   = w_beats_q == 5'd1;
  assign m_axi_bready  = 1'b1;
  assign wr_beat_o     = w_fire;
  assign wr_err_o      = m_axi_bvalid && m_axi_bresp != 2'b00;
  assign wr_err_addr_o = {b_block_q, 7'd0};

  always_ff @(posedge clk_i) begin
    if (f_push) begin
      f_data[f_w_q] <= f_wdata;
      f_strb[f_w_q] <= f_wstrb;
    end
    if (!rst_ni || start_i) begin
      f_w_q     <= '0;
      f_r_q     <= '0;
      f_n_q     <= '0;
      aw_q      <= 1'b0;
      w_beats_q <= '0;
      b_pend_q  <= '0;
      w_left_q  <= '0;
    end else begin
      if (f_push) f_w_q <= f_w_q + 5'd1;
      if (f_pop) f_r_q <= f_r_q + 5'd1;
      f_n_q    <= f_n_q + 6'(f_push) - 6'(f_pop);
      b_pend_q <= b_pend_q + 6'(aw_start) - 6'(m_axi_bvalid);
      if (begin_work) w_left_q <= total_beats;
      if (aw_start) begin
        aw_q      <= 1'b1;
        w_beats_q <= burst;
        w_left_q  <= w_left_q - 32'(burst);
      end else begin
        if (m_axi_awready) aw_q <= 1'b0;
        if (w_fire) w_beats_q <= w_beats_q - 5'd1;
      end
    end
    // Addresses are multiples of 128, every burst but the last of a descriptor ends at such a multiple,
    // and a descriptor begins after all responses of the one before.
    if (begin_work) begin
      w_addr_q  <= w_begin;
      b_block_q <= w_begin[31:7];
    end else if (m_axi_bvalid) begin
      b_block_q <= b_block_q + 25'd1;
    end
    if (aw_start) begin
      m_axi_awaddr <= w_addr_q;
      m_axi_awlen  <= 8'(burst) - 8'd1;
      w_addr_q     <= w_addr_q + (32'(burst) << BeatShift);
    end
  end

endmodule

`default_nettype wire
