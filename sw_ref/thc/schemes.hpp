// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// THC and its peers behind one interface, down to the bytes that each would send: for comparing
// error, traffic, and whether an aggregator can add what it receives without decoding it. Reference
// code, one process, no network.
//
//   name      what                                       source
//   none      fp32 gradients
//   thc       THC, integer codec of codec.hpp             Li et al., NSDI 2024 (arXiv 2302.08545)
//   uhc       the same with uniform levels                the same paper, its baseline
//   qsgd      stochastic levels of the bucket's norm      Alistarh et al., NeurIPS 2017
//   (1610.02132) terngrad  -1, 0, 1 times a shared maximum             Wen et al., NeurIPS 2017
//   (1705.07878) signsgd   sign times mean magnitude, error feedback   Karimireddy et al., ICML
//   2019 (1901.09847) topk      largest coordinates, error feedback         Stich et al., NeurIPS
//   2018 (1809.07599) drive     1 bit after a rotation of one's own         Vargaftik et al.,
//   NeurIPS 2021 (2105.08339) eden      the same with several bits                  Vargaftik et
//   al., ICML 2022 (2108.08842)
//
// Deviations from the sources: QSGD's levels have a fixed number of bits instead of Elias codes;
// TernGrad clips nothing (its clipping to 2.5 standard deviations would make it biased) but shares
// the scale; DRIVE and EDEN rotate with one D and H over the length padded to a power of two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sw_ref/thc/codec.hpp"

namespace kestrel::thc::ref {

struct SchemeOptions {
  unsigned workers = 4;   ///< 1..255
  std::size_t count = 0;  ///< coordinates of a gradient, >= 1
  std::uint64_t seed = 1; ///< of all random numbers
  unsigned bits = 4; ///< a coordinate: thc, uhc and eden 1..4, qsgd 2..8; topk sends as many bytes
  unsigned granularity = 30;     ///< thc
  double p = 1.0 / 32;           ///< thc, uhc
  bool error_feedback = true;    ///< thc, uhc (signsgd and topk always)
  std::size_t qsgd_bucket = 512; ///< coordinates that share a norm
  bool eden_biased = false;      ///< smallest error instead of an unbiased estimate: eden, drive
};

using Bytes = std::vector<std::uint8_t>;

/// A scheme with the state of all its workers. A round is: every worker announces, everyone
/// receives the agreement, every worker compresses, the aggregator aggregates, every worker
/// decodes.
class Scheme {
public:
  Scheme() = default;
  Scheme(const Scheme &) = delete;
  Scheme &operator=(const Scheme &) = delete;
  virtual ~Scheme() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  /// The expectation of the decoded mean is the mean of the gradients (inside a clamp, if there is
  /// one).
  [[nodiscard]] virtual bool unbiased() const = 0;
  /// Workers keep what was not sent and add it to the next gradient.
  [[nodiscard]] virtual bool error_feedback() const = 0;
  /// The aggregator adds integers as they come; nothing is decoded before the workers do it.
  [[nodiscard]] virtual bool sums_stay_compressed() const = 0;

  /// What a worker says before it compresses (norms); most say nothing.
  [[nodiscard]] virtual Bytes announce(unsigned worker, std::span<const float> gradient);
  /// What all workers hear of it.
  [[nodiscard]] virtual Bytes agree(std::span<const Bytes> announcements) const;
  /// The worker's message. `gradient` has options.count finite coordinates.
  [[nodiscard]] virtual Bytes compress(unsigned worker, std::uint32_t round,
                                       std::span<const float> gradient,
                                       std::span<const std::uint8_t> agreed) = 0;
  /// The aggregator: one message to all workers from one of each of them.
  [[nodiscard]] virtual Bytes aggregate(std::uint32_t round,
                                        std::span<const Bytes> messages) const = 0;
  /// Mean gradient, options.count coordinates.
  [[nodiscard]] virtual std::vector<float> decode(std::uint32_t round,
                                                  std::span<const std::uint8_t> message,
                                                  std::span<const std::uint8_t> agreed) const = 0;
};

/// Names of the schemes, in the order above.
[[nodiscard]] std::span<const std::string_view> scheme_names();

/// What makes a name or its options unusable, or nothing.
[[nodiscard]] std::optional<std::string> scheme_error(std::string_view name,
                                                      const SchemeOptions &options);

/// Needs !scheme_error(name, options).
[[nodiscard]] std::unique_ptr<Scheme> make_scheme(std::string_view name,
                                                  const SchemeOptions &options);

struct Exchange {
  std::vector<float> mean;
  std::size_t bytes_up = 0;   ///< of the worker that sent most, announcement and message
  std::size_t bytes_down = 0; ///< to one worker, agreement and message
};

/// One round with all workers' gradients.
[[nodiscard]] Exchange exchange(Scheme &scheme, std::uint32_t round,
                                std::span<const std::vector<float>> gradients);

struct SchemeFigures {
  double nmse = 0.0;        ///< of the first round, ||estimate - mean||^2 / ||mean||^2
  double nmse_mean = 0.0;   ///< of the average estimate over all rounds, same gradients every round
  std::size_t bytes_up = 0; ///< of one round, largest over workers and rounds
  std::size_t bytes_down = 0;
};

/// `rounds` rounds with the same gradients.
[[nodiscard]] SchemeFigures measure(Scheme &scheme, std::span<const std::vector<float>> gradients,
                                    std::uint32_t rounds);

/// Centroids of the 2^bits-level quantiser with the smallest mean square error for a normal
/// distribution (Lloyd 1957, Max 1960), ascending.
[[nodiscard]] std::vector<double> lloyd_max(unsigned bits);

} // namespace kestrel::thc::ref
