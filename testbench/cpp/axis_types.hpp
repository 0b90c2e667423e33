// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI-Stream signals as plain values, up to 64 data bytes, and bindings to a Verilated model.
#pragma once

#include <cstdint>
#include <type_traits>

#include "testbench/cpp/signals.hpp"

namespace kestrel::tb {

using AxisData = BusData<64>;

/// One beat; bytes above the width of the stream are zero.
struct AxisBeat {
  AxisData data{};
  std::uint64_t keep = 0;
  bool last = false;
  friend bool operator==(const AxisBeat &, const AxisBeat &) = default;
};

struct AxisPorts {
  bool tvalid = false;
  bool tready = false;
  AxisBeat beat{};
};

/// Binds a stream of a design. For a stream without TKEEP or TLAST the pointer stays null, keep
/// reads as all ones of `data_bytes`, and last as false. See KESTREL_TB_AXIS.
template <class Data, class Keep> struct AxisBinding {
  Data *tdata;
  std::uint8_t *tvalid;
  std::uint8_t *tready;
  Keep *tkeep = nullptr;
  std::uint8_t *tlast = nullptr;
  std::uint32_t data_bytes = sizeof(Data);

  /// The design is the sink: values -> its inputs, and its TREADY back.
  void drive_source(const AxisPorts &ports) const {
    *tvalid = ports.tvalid ? 1 : 0;
    write_signal(*tdata, ports.beat.data);
    if (tkeep != nullptr) {
      *tkeep = static_cast<Keep>(ports.beat.keep);
    }
    if (tlast != nullptr) {
      *tlast = ports.beat.last ? 1 : 0;
    }
  }
  void sample_ready(AxisPorts &ports) const { ports.tready = *tready != 0; }

  /// The design is the source: TREADY -> its input, and its outputs back.
  void drive_ready(const AxisPorts &ports) const { *tready = ports.tready ? 1 : 0; }
  void sample_source(AxisPorts &ports) const {
    ports.tvalid = *tvalid != 0;
    if (ports.tvalid) {
      read_signal(*tdata, ports.beat.data);
      ports.beat.keep = tkeep != nullptr   ? static_cast<std::uint64_t>(*tkeep)
                        : data_bytes >= 64 ? ~std::uint64_t{0}
                                           : (std::uint64_t{1} << data_bytes) - 1;
      ports.beat.last = tlast != nullptr && *tlast != 0;
    }
  }
};

} // namespace kestrel::tb

/// The binding of a stream with TKEEP and TLAST by the common prefix of its ports.
#define KESTREL_TB_AXIS(model, prefix)                                                             \
  (::kestrel::tb::AxisBinding<std::remove_reference_t<decltype((model).prefix##_tdata)>,           \
                              std::remove_reference_t<decltype((model).prefix##_tkeep)>>{          \
      &(model).prefix##_tdata, &(model).prefix##_tvalid, &(model).prefix##_tready,                 \
      &(model).prefix##_tkeep, &(model).prefix##_tlast})
