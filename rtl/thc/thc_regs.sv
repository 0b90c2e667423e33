// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Register file of the THC accelerator: AXI4-Lite slave, 32-bit data, behind ks_axil_regs, which has the rules
// of the bus. Registers: docs/thc_contract.md.
//
// Writes: in the cycle x in which ks_axil_regs gives it the write takes effect: registers have the new value
// and BVALID is high from x+1; start_o, soft_reset_o and a window's write are there in x+1 for one cycle.
// WSTRB selects bytes. Reads: AR taken in cycle t, RVALID from t+2 with the value of cycle t+1 (windows: of
// cycle t).
// SLVERR: an offset that is no register or window; a write to a read-only register; a start while a command
// runs, or together with soft_reset; while a command runs, a write to its registers or any access to a
// window; a write to a window without all four bytes. A refused write changes nothing, a refused read gives
// 0. The register file is reset by rst_ni alone. irq_o is high while a status bit and its enable are set.

`include "ks_assert.svh"
`default_nettype none

module thc_regs
  import thc_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic [ACC_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
  input  wire logic        s_axil_awvalid,
  output logic             s_axil_awready,
  input  wire logic [31:0] s_axil_wdata,
  input  wire logic [3:0]  s_axil_wstrb,
  input  wire logic        s_axil_wvalid,
  output logic             s_axil_wready,
  output logic [1:0]       s_axil_bresp,
  output logic             s_axil_bvalid,
  input  wire logic        s_axil_bready,
  input  wire logic [ACC_AXIL_ADDR_BITS-1:0] s_axil_araddr,
  input  wire logic        s_axil_arvalid,
  output logic             s_axil_arready,
  output logic [31:0]      s_axil_rdata,
  output logic [1:0]       s_axil_rresp,
  output logic             s_axil_rvalid,
  input  wire logic        s_axil_rready,

  // Commands and settings.
  output logic             start_o,
  output logic             soft_reset_o,
  output logic [31:0]      watchdog_o,
  output logic [15:0][31:0] program_o,        // OP .. FIRST_HI in order of offset; absent bits are 0

  // Windows.
  output logic             win_we_o,
  output logic [1:0]       win_wsel_o,        // 0 TABLE, 1 COUNT, 2 NORM, 3 SCALE
  output logic [10:0]      win_waddr_o,
  output logic [31:0]      win_wdata_o,
  output logic [1:0]       win_rsel_o,
  output logic [10:0]      win_raddr_o,
  input  wire logic [31:0] win_rdata_i,       // a cycle after the address

  // State shown to the host.
  input  wire logic        busy_i,
  input  wire logic [5:0]  status_i,          // bits of STATUS; busy_i is bit 0
  input  wire logic [31:0] error_i,           // whole register ERROR
  input  wire logic [2:0][31:0] result_i,     // NONFINITE, CONTRIBUTORS, BAD_INDEX
  input  wire logic [6:0][31:0] cnt_i,        // CNT_CYCLES .. CNT_WR_BEATS in order of offset
  input  wire logic        irq_done_i,        // pulses that set the status bits
  input  wire logic        irq_error_i,
  output logic             irq_o
);

  typedef logic [ACC_AXIL_ADDR_BITS-1:0] addr_t;

  localparam int unsigned ProgWords = 16;
  if (32'(REG_FIRST_HI) - 32'(REG_OP) != 4 * (ProgWords - 1)) begin : gen_bad_program
    $error("thc_regs: the registers of a command are not consecutive");
  end
  if (32'(REG_CNT_WR_BEATS) - 32'(REG_CNT_CYCLES) != 4 * 6 ||
      32'(REG_BAD_INDEX) - 32'(REG_NONFINITE) != 4 * 2) begin : gen_bad_results
    $error("thc_regs: the results or the counters are not consecutive registers");
  end

  localparam int unsigned LogIndex = (32'(REG_BLOCK_LOG2) - 32'(REG_OP)) / 4;

  // Bits that a register of a command has.
  function automatic logic [31:0] bits_of(input addr_t offset);
    case (offset)
      REG_OP:          return 32'h0000_01F7;
      REG_BLOCK_LOG2:  return 32'h0000_000F;
      REG_BLOCKS:      return 32'h0000_07FF;
      REG_WORKERS:     return 32'h0000_00FF;
      REG_GRANULARITY: return 32'h0000_1FFF;
      default:         return '1;
    endcase
  endfunction

  typedef struct packed {
    logic        hit;
    logic [1:0]  sel;
    logic [10:0] word;
  } window_t;

  function automatic window_t window_of(input addr_t offset);
    window_t w;
    w = '0;
    if (offset >= WIN_TABLE && offset < WIN_TABLE + addr_t'(4 * WIN_TABLE_WORDS)) begin
      w = '{hit: 1'b1, sel: 2'd0, word: 11'((offset - WIN_TABLE) >> 2)};
    end else if (offset >= WIN_COUNT && offset < WIN_COUNT + addr_t'(4 * WIN_COUNT_WORDS)) begin
      w = '{hit: 1'b1, sel: 2'd1, word: 11'((offset - WIN_COUNT) >> 2)};
    end else if (offset >= WIN_NORM && offset < WIN_NORM + addr_t'(4 * WIN_NORM_WORDS)) begin
      w = '{hit: 1'b1, sel: 2'd2, word: 11'((offset - WIN_NORM) >> 2)};
    end else if (offset >= WIN_SCALE && offset < WIN_SCALE + addr_t'(4 * WIN_SCALE_WORDS)) begin
      w = '{hit: 1'b1, sel: 2'd3, word: 11'((offset - WIN_SCALE) >> 2)};
    end
    return w;
  endfunction

  logic [ProgWords-1:0][31:0] program_q;
  logic [31:0] watchdog_q;
  logic [1:0]  irq_enable_q, irq_status_q;

  // --- Writes --------------------------------------------------------------------------------------
  logic        perform, ok, busy, is_program;
  addr_t       waddr, raddr, raddr_q;
  logic [31:0] wdata, value;
  logic [3:0]  wstrb;
  window_t     wwin;
  logic        start_q, soft_reset_q, win_we_q;
  logic        want_start, want_reset;
  logic [3:0]  windex;
  logic        read, pending, known;

  ks_axil_regs #(.AddrBits(ACC_AXIL_ADDR_BITS)) u_axil (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready,
    .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
    .s_axil_araddr, .s_axil_arvalid, .s_axil_arready,
    .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .wr_en_o(perform), .wr_addr_o(waddr), .wr_data_o(wdata), .wr_strb_o(wstrb), .wr_ok_i(ok),
    .rd_en_o(read), .rd_addr_o(raddr), .rd_pending_o(pending), .rd_addr_q_o(raddr_q),
    .rd_valid_i(pending), .rd_ok_i(known), .rd_data_i(value)
  );

  function automatic logic [31:0] strobed(input logic [31:0] old);
    for (int unsigned i = 0; i < 4; i++) strobed[8*i +: 8] = wstrb[i] ? wdata[8*i +: 8] : old[8*i +: 8];
  endfunction

  assign busy       = busy_i || start_q;      // a start of the cycle before is not in busy_i yet
  assign wwin       = window_of(waddr);
  assign is_program = waddr >= REG_OP && waddr <= REG_FIRST_HI;
  assign windex     = 4'((waddr - REG_OP) >> 2);
  assign want_start = wdata[CTRL_START_LSB] && wstrb[0];
  assign want_reset = wdata[CTRL_SOFT_RESET_LSB] && wstrb[0];

  always_comb begin
    unique case (waddr)
      REG_CTRL: ok = !(want_start && (busy || want_reset));
      REG_IRQ_ENABLE, REG_IRQ_STATUS, REG_WATCHDOG: ok = 1'b1;
      default: ok = !busy && (is_program || (wwin.hit && wstrb == '1));
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      start_q      <= 1'b0;
      soft_reset_q <= 1'b0;
      win_we_q     <= 1'b0;
      watchdog_q   <= RESET_WATCHDOG;
      irq_enable_q <= '0;
      irq_status_q <= '0;
      program_q    <= '0;
      program_q[LogIndex] <= RESET_BLOCK_LOG2;
    end else begin
      start_q      <= perform && ok && waddr == REG_CTRL && want_start;
      soft_reset_q <= perform && ok && waddr == REG_CTRL && want_reset;
      win_we_q     <= perform && ok && wwin.hit;
      if (perform && ok) begin
        if (is_program) begin
          program_q[windex] <= strobed(program_q[windex]) & bits_of(waddr);
        end
        case (waddr)
          REG_IRQ_ENABLE: irq_enable_q <= 2'(strobed(32'(irq_enable_q)));
          REG_IRQ_STATUS: irq_status_q <= irq_status_q & ~(wdata[1:0] & {2{wstrb[0]}});
          REG_WATCHDOG:   watchdog_q   <= strobed(watchdog_q);
          default: ;
        endcase
      end
      // A new event is never lost to a clear of the same cycle.
      if (irq_done_i)  irq_status_q[IRQ_STATUS_DONE_LSB]  <= 1'b1;
      if (irq_error_i) irq_status_q[IRQ_STATUS_ERROR_LSB] <= 1'b1;
    end
    if (perform) begin
      win_wsel_o  <= wwin.sel;
      win_waddr_o <= wwin.word;
      win_wdata_o <= wdata;
    end
  end

  assign start_o      = start_q;
  assign soft_reset_o = soft_reset_q;
  assign watchdog_o   = watchdog_q;
  assign program_o    = program_q;
  assign win_we_o     = win_we_q;
  assign irq_o        = |(irq_status_q & irq_enable_q);

  // --- Reads: the address, then the value ----------------------------------------------------------
  logic        rbusy_q, rhit_q;
  window_t     rwin;

  assign rwin  = window_of(raddr);
  assign win_rsel_o  = rwin.sel;
  assign win_raddr_o = rwin.word;

  always_comb begin
    value = '0;
    known = 1'b1;
    unique case (raddr_q)
      REG_ID:         value = RESET_ID;
      REG_VERSION:    value = RESET_VERSION;
      REG_CONFIG:     value = RESET_CONFIG;
      REG_CTRL:       value = '0;
      REG_STATUS: begin
        value = 32'(status_i);
        value[STATUS_BUSY_LSB] = busy;
      end
      REG_ERROR:      value = error_i;
      REG_IRQ_ENABLE: value = 32'(irq_enable_q);
      REG_IRQ_STATUS: value = 32'(irq_status_q);
      REG_WATCHDOG:   value = watchdog_q;
      default: begin
        known = 1'b0;
        if (raddr_q >= REG_OP && raddr_q <= REG_FIRST_HI) begin
          known = 1'b1;
          value = program_q[4'((raddr_q - REG_OP) >> 2)];
        end else if (raddr_q >= REG_NONFINITE && raddr_q <= REG_BAD_INDEX) begin
          known = 1'b1;
          value = result_i[2'((raddr_q - REG_NONFINITE) >> 2)];
        end else if (raddr_q >= REG_CNT_CYCLES && raddr_q <= REG_CNT_WR_BEATS) begin
          known = 1'b1;
          value = cnt_i[3'((raddr_q - REG_CNT_CYCLES) >> 2)];
        end else if (rhit_q) begin
          known = !rbusy_q;
          value = win_rdata_i;
        end
      end
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (read) begin
      rhit_q  <= rwin.hit;
      rbusy_q <= busy;
    end
  end

  // A command is never given while one runs or starts.
  `KS_ASSERT(NoStartWhileBusy, !(start_q && busy_i))
  `KS_ASSERT(OneCommand, !(start_q && soft_reset_q))
  `KS_ASSERT(NoWindowWriteWhileBusy, !(win_we_q && busy_i))

endmodule

`default_nettype wire
