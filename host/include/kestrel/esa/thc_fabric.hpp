// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Compressed gradients (THC) through the preemptive slots of the aggregation switch: a transport
// for the THC worker library whose network, switch and hosts are simulated in this process.
//
// All ranks of the job connect to one fabric. When every rank has posted a chunk's indices, its
// packets go through the switch: real frames, worker and PS state machines of sw_ref/esa/hosts.hpp,
// links that lose frames, and a rival job that fights for the slots. The norms, a few numbers a
// block, are agreed on directly: what the switch adds are the packets of indices.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kestrel/esa/device.hpp"
#include "kestrel/result.hpp"
#include "kestrel/thc/transport.hpp"

namespace kestrel::esa {

struct ThcFabricOptions {
  std::string device = "fast"; ///< of make_switch()
  ref::Config model{.policy = ref::Policy::kEsa, .slots = 64, .lanes = 64};
  unsigned workers = 2; ///< 1..32
  thc::ref::Table table;
  std::uint8_t priority = 100;
  double loss = 0.0;  ///< of each frame on each link
  double rival = 0.0; ///< packets of the rival job for each packet of a worker, of random priority
  std::uint64_t seed = 1;
};

struct ThcFabricStats {
  SwitchCounters counters;
  std::uint64_t sequences = 0; ///< aggregations of the job
  std::uint64_t lost = 0;
  std::uint64_t preempted = 0; ///< slots of the job that the rival took
  std::uint64_t at_ps = 0;     ///< RESULT packets of the PS
};

/// Shared by the ranks' transports; thread-safe.
class ThcFabric {
public:
  /// Sums are of 8 bits when workers * granularity <= 255, else of 16. Errors: kInvalidArgument
  /// (workers, table; a packet of 1024 coordinates must be a whole number of slots), those of
  /// make_switch.
  [[nodiscard]] static Result<std::shared_ptr<ThcFabric>> create(const ThcFabricOptions &options);
  virtual ~ThcFabric() = default;

  /// The transport of one rank; each rank once. Ranks block each other: give each a thread.
  [[nodiscard]] virtual std::unique_ptr<thc::Transport> connect(unsigned rank) = 0;
  [[nodiscard]] virtual ThcFabricStats stats() const = 0;
};

} // namespace kestrel::esa
