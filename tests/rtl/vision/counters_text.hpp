// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <string>

#include <fmt/format.h>

#include "kestrel/vision/device.hpp"

namespace kestrel::hv {

/// All counters of an inference in one line: compared as text, a difference names its counter.
inline std::string describe(const Counters &n) {
  return fmt::format("cycles {} mac {} res {} weight {} drain {} fetch {} load {} dep {} desc {} "
                     "out {} rd_beats {} rd_w_beats {} wr_beats {} descriptors {} macs {} lanes {}",
                     n.cycles, n.mac, n.res, n.stall_weight, n.stall_drain, n.stall_fetch,
                     n.stall_load, n.stall_dep, n.stall_desc, n.stall_out, n.rd_beats, n.rd_w_beats,
                     n.wr_beats, n.descriptors, n.macs, n.mac_lanes);
}

} // namespace kestrel::hv
