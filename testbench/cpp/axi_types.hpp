// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI4 and AXI4-Lite signals as plain values, and bindings that copy them from and to the ports of
// a Verilated model. The values are those of one clock cycle, sampled before its rising edge.
#pragma once

#include <cstdint>
#include <type_traits>

#include "testbench/cpp/signals.hpp"

namespace kestrel::tb {

enum class AxiResp : std::uint8_t { okay = 0, exokay = 1, slverr = 2, decerr = 3 };
enum class AxiBurst : std::uint8_t { fixed = 0, incr = 1, wrap = 2 };

/// Data buses of up to 512 bits.
using AxiData = BusData<64>;

/// AR and R channels.
struct AxiReadPorts {
  // Driven by the master.
  std::uint64_t araddr = 0;
  std::uint32_t arid = 0;
  std::uint8_t arlen = 0;
  std::uint8_t arsize = 0;
  std::uint8_t arburst = 1;
  bool arvalid = false;
  bool rready = false;
  // Driven by the slave.
  bool arready = false;
  bool rvalid = false;
  bool rlast = false;
  std::uint8_t rresp = 0;
  std::uint32_t rid = 0;
  AxiData rdata{};
};

/// AW, W and B channels.
struct AxiWritePorts {
  // Driven by the master.
  std::uint64_t awaddr = 0;
  std::uint32_t awid = 0;
  std::uint8_t awlen = 0;
  std::uint8_t awsize = 0;
  std::uint8_t awburst = 1;
  bool awvalid = false;
  bool wvalid = false;
  bool wlast = false;
  bool bready = false;
  std::uint64_t wstrb = 0;
  AxiData wdata{};
  // Driven by the slave.
  bool awready = false;
  bool wready = false;
  bool bvalid = false;
  std::uint8_t bresp = 0;
  std::uint32_t bid = 0;
};

/// All five AXI4-Lite channels, 32-bit data.
struct AxilPorts {
  // Driven by the master.
  std::uint32_t awaddr = 0;
  std::uint32_t wdata = 0;
  std::uint32_t araddr = 0;
  std::uint8_t wstrb = 0;
  bool awvalid = false;
  bool wvalid = false;
  bool bready = false;
  bool arvalid = false;
  bool rready = false;
  // Driven by the slave.
  bool awready = false;
  bool wready = false;
  bool bvalid = false;
  bool arready = false;
  bool rvalid = false;
  std::uint8_t bresp = 0;
  std::uint8_t rresp = 0;
  std::uint32_t rdata = 0;
};

/// Binds the read channels of a design that is AXI4 *master* (see KESTREL_TB_AXI_READ). `arid` and
/// `rid` stay null for a master without IDs.
template <class Addr, class Data> struct AxiReadBinding {
  Addr *araddr;
  std::uint8_t *arlen;
  std::uint8_t *arsize;
  std::uint8_t *arburst;
  std::uint8_t *arvalid;
  std::uint8_t *arready;
  Data *rdata;
  std::uint8_t *rresp;
  std::uint8_t *rlast;
  std::uint8_t *rvalid;
  std::uint8_t *rready;
  std::uint8_t *arid = nullptr;
  std::uint8_t *rid = nullptr;

  /// Design outputs -> values.
  void sample(AxiReadPorts &ports) const {
    ports.arvalid = *arvalid != 0;
    ports.rready = *rready != 0;
    if (ports.arvalid) {
      ports.araddr = *araddr;
      ports.arlen = *arlen;
      ports.arsize = *arsize;
      ports.arburst = *arburst;
      ports.arid = arid != nullptr ? *arid : 0U;
    }
  }
  /// Values -> design inputs.
  void drive(const AxiReadPorts &ports) const {
    *arready = ports.arready ? 1 : 0;
    *rvalid = ports.rvalid ? 1 : 0;
    *rlast = ports.rlast ? 1 : 0;
    *rresp = ports.rresp;
    write_signal(*rdata, ports.rdata);
    if (rid != nullptr) {
      *rid = static_cast<std::uint8_t>(ports.rid);
    }
  }
};

/// Binds the write channels of a design that is AXI4 *master* (see KESTREL_TB_AXI_WRITE).
template <class Addr, class Data, class Strb> struct AxiWriteBinding {
  Addr *awaddr;
  std::uint8_t *awlen;
  std::uint8_t *awsize;
  std::uint8_t *awburst;
  std::uint8_t *awvalid;
  std::uint8_t *awready;
  Data *wdata;
  Strb *wstrb;
  std::uint8_t *wlast;
  std::uint8_t *wvalid;
  std::uint8_t *wready;
  std::uint8_t *bresp;
  std::uint8_t *bvalid;
  std::uint8_t *bready;
  std::uint8_t *awid = nullptr;
  std::uint8_t *bid = nullptr;

  void sample(AxiWritePorts &ports) const {
    ports.awvalid = *awvalid != 0;
    ports.wvalid = *wvalid != 0;
    ports.bready = *bready != 0;
    if (ports.awvalid) {
      ports.awaddr = *awaddr;
      ports.awlen = *awlen;
      ports.awsize = *awsize;
      ports.awburst = *awburst;
      ports.awid = awid != nullptr ? *awid : 0U;
    }
    if (ports.wvalid) {
      read_signal(*wdata, ports.wdata);
      ports.wstrb = *wstrb;
      ports.wlast = *wlast != 0;
    }
  }
  void drive(const AxiWritePorts &ports) const {
    *awready = ports.awready ? 1 : 0;
    *wready = ports.wready ? 1 : 0;
    *bvalid = ports.bvalid ? 1 : 0;
    *bresp = ports.bresp;
    if (bid != nullptr) {
      *bid = static_cast<std::uint8_t>(ports.bid);
    }
  }
};

/// Binds a design that is AXI4-Lite *slave* (see KESTREL_TB_AXIL).
template <class Addr> struct AxilBinding {
  Addr *awaddr;
  std::uint8_t *awvalid;
  std::uint8_t *awready;
  std::uint32_t *wdata;
  std::uint8_t *wstrb;
  std::uint8_t *wvalid;
  std::uint8_t *wready;
  std::uint8_t *bresp;
  std::uint8_t *bvalid;
  std::uint8_t *bready;
  Addr *araddr;
  std::uint8_t *arvalid;
  std::uint8_t *arready;
  std::uint32_t *rdata;
  std::uint8_t *rresp;
  std::uint8_t *rvalid;
  std::uint8_t *rready;

  /// Values -> design inputs.
  void drive(const AxilPorts &ports) const {
    *awaddr = static_cast<Addr>(ports.awaddr);
    *awvalid = ports.awvalid ? 1 : 0;
    *wdata = ports.wdata;
    *wstrb = ports.wstrb;
    *wvalid = ports.wvalid ? 1 : 0;
    *bready = ports.bready ? 1 : 0;
    *araddr = static_cast<Addr>(ports.araddr);
    *arvalid = ports.arvalid ? 1 : 0;
    *rready = ports.rready ? 1 : 0;
  }
  /// Design outputs -> values.
  void sample(AxilPorts &ports) const {
    ports.awready = *awready != 0;
    ports.wready = *wready != 0;
    ports.bvalid = *bvalid != 0;
    ports.bresp = *bresp;
    ports.arready = *arready != 0;
    ports.rvalid = *rvalid != 0;
    ports.rresp = *rresp;
    ports.rdata = *rdata;
  }
};

} // namespace kestrel::tb

// The bindings of a model's ports by their common prefix, for example
//   const auto read = KESTREL_TB_AXI_READ(*model, m_axi);   // m_axi_araddr, m_axi_arlen, ...
#define KESTREL_TB_SIGNAL_TYPE_(model, name) std::remove_reference_t<decltype((model).name)>

#define KESTREL_TB_AXI_READ(model, prefix)                                                         \
  (::kestrel::tb::AxiReadBinding<KESTREL_TB_SIGNAL_TYPE_(model, prefix##_araddr),                  \
                                 KESTREL_TB_SIGNAL_TYPE_(model, prefix##_rdata)>{                  \
      &(model).prefix##_araddr, &(model).prefix##_arlen, &(model).prefix##_arsize,                 \
      &(model).prefix##_arburst, &(model).prefix##_arvalid, &(model).prefix##_arready,             \
      &(model).prefix##_rdata, &(model).prefix##_rresp, &(model).prefix##_rlast,                   \
      &(model).prefix##_rvalid, &(model).prefix##_rready})

#define KESTREL_TB_AXI_WRITE(model, prefix)                                                        \
  (::kestrel::tb::AxiWriteBinding<KESTREL_TB_SIGNAL_TYPE_(model, prefix##_awaddr),                 \
                                  KESTREL_TB_SIGNAL_TYPE_(model, prefix##_wdata),                  \
                                  KESTREL_TB_SIGNAL_TYPE_(model, prefix##_wstrb)>{                 \
      &(model).prefix##_awaddr, &(model).prefix##_awlen, &(model).prefix##_awsize,                 \
      &(model).prefix##_awburst, &(model).prefix##_awvalid, &(model).prefix##_awready,             \
      &(model).prefix##_wdata, &(model).prefix##_wstrb, &(model).prefix##_wlast,                   \
      &(model).prefix##_wvalid, &(model).prefix##_wready, &(model).prefix##_bresp,                 \
      &(model).prefix##_bvalid, &(model).prefix##_bready})

#define KESTREL_TB_AXIL(model, prefix)                                                             \
  (::kestrel::tb::AxilBinding<KESTREL_TB_SIGNAL_TYPE_(model, prefix##_awaddr)>{                    \
      &(model).prefix##_awaddr, &(model).prefix##_awvalid, &(model).prefix##_awready,              \
      &(model).prefix##_wdata, &(model).prefix##_wstrb, &(model).prefix##_wvalid,                  \
      &(model).prefix##_wready, &(model).prefix##_bresp, &(model).prefix##_bvalid,                 \
      &(model).prefix##_bready, &(model).prefix##_araddr, &(model).prefix##_arvalid,               \
      &(model).prefix##_arready, &(model).prefix##_rdata, &(model).prefix##_rresp,                 \
      &(model).prefix##_rvalid, &(model).prefix##_rready})
