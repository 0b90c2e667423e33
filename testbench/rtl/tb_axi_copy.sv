// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A small AXI4 copy master with AXI4-Lite registers: the design that the testbench library is
// tested with. Not part of any product.
//
// Registers (32-bit, byte addresses): 0x00 CTRL (write bit 0: start), 0x04 STATUS (bit 0 busy,
// bit 1 done, bit 2 error; writing clears done and error), 0x08 SRC, 0x0C DST, 0x10 BYTES,
// 0x14 CYCLES (busy cycles of the last copy). SRC, DST and BYTES are multiples of the bus width.
// Other addresses answer SLVERR.
// Reads bursts of up to BurstBeats, split at 4 KiB of the source, into a FIFO of FifoBeats;
// several reads may be outstanding as far as the FIFO has room. Writes bursts split at 4 KiB of
// the destination as soon as the FIFO holds them; data follows its address; several responses may
// be outstanding. irq_o is high while done or error is set. On a bus error the copy still runs to
// its end. Reset: control state only.
`default_nettype none

module tb_axi_copy #(
    parameter int unsigned DataWidth  = 64,
    parameter int unsigned BurstBeats = 16,
    parameter int unsigned FifoBeats  = 64
) (
    input  wire logic                   clk_i,
    input  wire logic                   rst_ni,
    output      logic                   irq_o,

    input  wire logic [15:0]            s_axil_awaddr,
    input  wire logic                   s_axil_awvalid,
    output      logic                   s_axil_awready,
    input  wire logic [31:0]            s_axil_wdata,
    input  wire logic [3:0]             s_axil_wstrb,
    input  wire logic                   s_axil_wvalid,
    output      logic                   s_axil_wready,
    output      logic [1:0]             s_axil_bresp,
    output      logic                   s_axil_bvalid,
    input  wire logic                   s_axil_bready,
    input  wire logic [15:0]            s_axil_araddr,
    input  wire logic                   s_axil_arvalid,
    output      logic                   s_axil_arready,
    output      logic [31:0]            s_axil_rdata,
    output      logic [1:0]             s_axil_rresp,
    output      logic                   s_axil_rvalid,
    input  wire logic                   s_axil_rready,

    output      logic [31:0]            m_axi_araddr,
    output      logic [7:0]             m_axi_arlen,
    output      logic [2:0]             m_axi_arsize,
    output      logic [1:0]             m_axi_arburst,
    output      logic                   m_axi_arvalid,
    input  wire logic                   m_axi_arready,
    input  wire logic [DataWidth-1:0]   m_axi_rdata,
    input  wire logic [1:0]             m_axi_rresp,
    input  wire logic                   m_axi_rlast,
    input  wire logic                   m_axi_rvalid,
    output      logic                   m_axi_rready,
    output      logic [31:0]            m_axi_awaddr,
    output      logic [7:0]             m_axi_awlen,
    output      logic [2:0]             m_axi_awsize,
    output      logic [1:0]             m_axi_awburst,
    output      logic                   m_axi_awvalid,
    input  wire logic                   m_axi_awready,
    output      logic [DataWidth-1:0]   m_axi_wdata,
    output      logic [DataWidth/8-1:0] m_axi_wstrb,
    output      logic                   m_axi_wlast,
    output      logic                   m_axi_wvalid,
    input  wire logic                   m_axi_wready,
    input  wire logic [1:0]             m_axi_bresp,
    input  wire logic                   m_axi_bvalid,
    output      logic                   m_axi_bready
);

  localparam int unsigned BeatBytes = DataWidth / 8;
  localparam int unsigned BeatShift = $clog2(BeatBytes);
  localparam int unsigned FifoBits = $clog2(FifoBeats);
  localparam int unsigned PageBeats = 4096 / BeatBytes;
  localparam int unsigned PageBits = $clog2(PageBeats);
  localparam logic [1:0] RespOkay = 2'b00;
  localparam logic [1:0] RespSlverr = 2'b10;

  typedef logic [FifoBits:0] count_t;
  typedef logic [31:0] word_t;

  // Beats of the next burst: the rest, the burst limit, or up to the 4 KiB boundary.
  function automatic word_t burst_beats(input logic [PageBits-1:0] page_beat, input word_t rest);
    word_t beats;
    word_t to_boundary;
    beats = (rest < BurstBeats) ? rest : BurstBeats;
    to_boundary = PageBeats - 32'(page_beat);
    return (beats < to_boundary) ? beats : to_boundary;
  endfunction

  // --- registers --------------------------------------------------------------------------------
  word_t src_q, dst_q, bytes_q, cycles_q;
  logic busy_q, done_q, error_q;
  logic start;

  logic aw_full_q, w_full_q;
  logic [15:0] aw_addr_q;
  word_t w_data_q;
  logic [3:0] w_strb_q;
  logic write_now;
  word_t w_mask;

  assign s_axil_awready = !aw_full_q;
  assign s_axil_wready  = !w_full_q;
  assign write_now      = aw_full_q && w_full_q && !s_axil_bvalid;
  assign w_mask = {{8{w_strb_q[3]}}, {8{w_strb_q[2]}}, {8{w_strb_q[1]}}, {8{w_strb_q[0]}}};
  assign start = write_now && aw_addr_q == 16'h0000 && w_strb_q[0] && w_data_q[0] && !busy_q;
  assign s_axil_arready = !s_axil_rvalid;
  assign irq_o          = done_q || error_q;

  logic finished;
  logic bus_error;

  always_ff @(posedge clk_i) begin
    if (s_axil_awvalid && s_axil_awready) begin
      aw_full_q <= 1'b1;
      aw_addr_q <= s_axil_awaddr;
    end
    if (s_axil_wvalid && s_axil_wready) begin
      w_full_q <= 1'b1;
      w_data_q <= s_axil_wdata;
      w_strb_q <= s_axil_wstrb;
    end
    if (s_axil_bvalid && s_axil_bready) s_axil_bvalid <= 1'b0;
    if (write_now) begin
      aw_full_q     <= 1'b0;
      w_full_q      <= 1'b0;
      s_axil_bvalid <= 1'b1;
      s_axil_bresp  <= RespOkay;
      case (aw_addr_q)
        16'h0000: ;
        16'h0004: begin
          done_q  <= 1'b0;
          error_q <= 1'b0;
        end
        16'h0008: src_q <= (src_q & ~w_mask) | (w_data_q & w_mask);
        16'h000C: dst_q <= (dst_q & ~w_mask) | (w_data_q & w_mask);
        16'h0010: bytes_q <= (bytes_q & ~w_mask) | (w_data_q & w_mask);
        default: s_axil_bresp <= RespSlverr;
      endcase
    end
    if (s_axil_rvalid && s_axil_rready) s_axil_rvalid <= 1'b0;
    if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1'b1;
      s_axil_rresp  <= RespOkay;
      case (s_axil_araddr)
        16'h0000: s_axil_rdata <= '0;
        16'h0004: s_axil_rdata <= {29'b0, error_q, done_q, busy_q};
        16'h0008: s_axil_rdata <= src_q;
        16'h000C: s_axil_rdata <= dst_q;
        16'h0010: s_axil_rdata <= bytes_q;
        16'h0014: s_axil_rdata <= cycles_q;
        default: begin
          s_axil_rdata <= '0;
          s_axil_rresp <= RespSlverr;
        end
      endcase
    end
    if (busy_q) cycles_q <= cycles_q + 32'd1;
    if (start) begin
      busy_q   <= 1'b1;
      cycles_q <= '0;
    end else if (finished) begin
      busy_q <= 1'b0;
      done_q <= 1'b1;
    end
    if (bus_error) error_q <= 1'b1;
    if (!rst_ni) begin
      aw_full_q     <= 1'b0;
      w_full_q      <= 1'b0;
      s_axil_bvalid <= 1'b0;
      s_axil_rvalid <= 1'b0;
      busy_q        <= 1'b0;
      done_q        <= 1'b0;
      error_q       <= 1'b0;
      src_q         <= '0;
      dst_q         <= '0;
      bytes_q       <= '0;
      cycles_q      <= '0;
    end
  end

  // --- FIFO between reads and writes ------------------------------------------------------------
  logic [DataWidth-1:0] fifo_q[FifoBeats];
  logic [FifoBits-1:0] fifo_write_q, fifo_read_q;
  count_t fifo_filled_q;    // beats in the FIFO that no write burst has claimed
  count_t fifo_reserved_q;  // beats claimed by reads that were issued, until they leave
  logic r_beat, w_beat;

  assign r_beat = m_axi_rvalid && m_axi_rready;
  assign w_beat = m_axi_wvalid && m_axi_wready;

  // --- reads ------------------------------------------------------------------------------------
  word_t read_addr_q, read_rest_q;  // in beats
  word_t read_beats;
  logic  read_issue;

  assign m_axi_arsize  = 3'(BeatShift);
  assign m_axi_arburst = 2'b01;
  assign m_axi_rready  = 1'b1;  // room was reserved when the read was issued
  assign read_beats    = burst_beats(read_addr_q[PageBits-1:0], read_rest_q);
  assign read_issue    = busy_q && read_rest_q != '0 && !m_axi_arvalid &&
                         read_beats + 32'(fifo_reserved_q) <= FifoBeats;

  // --- writes -----------------------------------------------------------------------------------
  word_t write_addr_q, write_rest_q;  // in beats
  word_t write_beats;
  logic  write_issue;
  logic [7:0] w_left_q;  // beats of the burst after the current one
  logic  w_active_q;
  word_t open_responses_q;

  assign m_axi_awsize  = 3'(BeatShift);
  assign m_axi_awburst = 2'b01;
  assign m_axi_wstrb   = '1;
  assign m_axi_wvalid  = w_active_q;
  assign m_axi_wlast   = w_left_q == '0;
  assign m_axi_wdata   = fifo_q[fifo_read_q];
  assign m_axi_bready  = 1'b1;
  assign write_beats   = burst_beats(write_addr_q[PageBits-1:0], write_rest_q);
  assign write_issue   = busy_q && write_rest_q != '0 && !m_axi_awvalid &&
                         (!w_active_q || (w_beat && m_axi_wlast)) &&
                         32'(fifo_filled_q) >= write_beats;

  assign finished = busy_q && read_rest_q == '0 && write_rest_q == '0 && !w_active_q &&
                    !m_axi_awvalid && open_responses_q == '0;
  assign bus_error = (r_beat && m_axi_rresp != RespOkay) ||
                     (m_axi_bvalid && m_axi_bready && m_axi_bresp != RespOkay);

  always_ff @(posedge clk_i) begin
    if (start) begin
      read_addr_q  <= src_q >> BeatShift;
      read_rest_q  <= bytes_q >> BeatShift;
      write_addr_q <= dst_q >> BeatShift;
      write_rest_q <= bytes_q >> BeatShift;
    end
    if (m_axi_arvalid && m_axi_arready) m_axi_arvalid <= 1'b0;
    if (read_issue) begin
      m_axi_arvalid <= 1'b1;
      m_axi_araddr  <= read_addr_q << BeatShift;
      m_axi_arlen   <= 8'(read_beats - 32'd1);
      read_addr_q   <= read_addr_q + read_beats;
      read_rest_q   <= read_rest_q - read_beats;
    end
    if (r_beat) begin
      fifo_q[fifo_write_q] <= m_axi_rdata;
      fifo_write_q         <= fifo_write_q + 1'b1;
    end
    fifo_filled_q <= fifo_filled_q + count_t'(r_beat) - (write_issue ? count_t'(write_beats) : '0);
    fifo_reserved_q <= fifo_reserved_q + (read_issue ? count_t'(read_beats) : '0) -
                       count_t'(w_beat);

    if (m_axi_awvalid && m_axi_awready) m_axi_awvalid <= 1'b0;
    if (w_beat) begin
      fifo_read_q <= fifo_read_q + 1'b1;
      w_left_q    <= w_left_q - 8'd1;
      if (m_axi_wlast) w_active_q <= 1'b0;
    end
    if (write_issue) begin
      m_axi_awvalid <= 1'b1;
      m_axi_awaddr  <= write_addr_q << BeatShift;
      m_axi_awlen   <= 8'(write_beats - 32'd1);
      w_active_q    <= 1'b1;
      w_left_q      <= 8'(write_beats - 32'd1);
      write_addr_q  <= write_addr_q + write_beats;
      write_rest_q  <= write_rest_q - write_beats;
    end
    open_responses_q <= open_responses_q + word_t'(write_issue) -
                        word_t'(m_axi_bvalid && m_axi_bready);
    if (!rst_ni) begin
      m_axi_arvalid    <= 1'b0;
      m_axi_awvalid    <= 1'b0;
      w_active_q       <= 1'b0;
      read_rest_q      <= '0;
      write_rest_q     <= '0;
      fifo_write_q     <= '0;
      fifo_read_q      <= '0;
      fifo_filled_q    <= '0;
      fifo_reserved_q  <= '0;
      open_responses_q <= '0;
    end
  end

  // RLAST is implied by ARLEN.
  logic unused;
  assign unused = m_axi_rlast;

endmodule

`default_nettype wire
