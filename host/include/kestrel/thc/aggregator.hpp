// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The software aggregator: adds table values of compressed gradients, packet by packet, without
// ever decompressing them. Packets: contract/wire.json. Protocol and its rules: docs/thc_worker.md.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/thc/channel.hpp"
#include "kestrel/thc/compression.hpp"

namespace kestrel::thc {

/// Results that a worker may have sent again: so many at a stretch, and so many a second. A packet
/// with a forged sender makes the aggregator send up to 94 times its size to the worker, no faster
/// than this.
inline constexpr unsigned kRepeatBurst = 4096;
inline constexpr unsigned kRepeatRate = 2048;

struct AggregatorOptions {
  ref::Table table;
  /// Contributions that are enough once `quorum_timeout` has passed since the first one. 0: all.
  unsigned quorum = 0;
  std::chrono::milliseconds quorum_timeout{50};
  /// The same for norms, with which a round begins: workers compute for different times before them
  /// and are in step after them. -1: as quorum_timeout.
  std::chrono::milliseconds norm_timeout{-1};
  /// Aggregations kept for each job, so that a worker that missed a result can ask for it.
  std::size_t history = 16384;
  /// Jobs at a time. Beyond it a new job displaces one that has not begun, else one none of whose
  /// workers has contributed yet (the longest silent of either); else it is refused.
  std::size_t max_jobs = 64;
  /// A job that sends nothing for this long is forgotten.
  std::chrono::milliseconds job_timeout{60'000};
};

struct AggregatorStats {
  std::uint64_t datagrams = 0;
  std::uint64_t bytes_in = 0;   ///< UDP payload
  std::uint64_t bytes_out = 0;  ///< UDP payload
  std::uint64_t foreign = 0;    ///< not an aggregation packet: dropped
  std::uint64_t malformed = 0;  ///< truncated or senseless: dropped
  std::uint64_t full = 0;       ///< starts of a further job than max_jobs: refused by name
  std::uint64_t displaced = 0;  ///< jobs that had proved nothing and made place for a new one
  std::uint64_t throttled = 0;  ///< results asked for again faster than kRepeatRate: not sent
  std::uint64_t mismatched = 0; ///< another table, seed, size, fan-in or version: refused by name
  std::uint64_t starts = 0;     ///< of jobs, all of whose workers (or a quorum) had come
  std::uint64_t stale = 0;      ///< of a start that is over or unknown: refused by name
  std::uint64_t contributions = 0; ///< counted, norms and values
  std::uint64_t duplicates = 0;    ///< the same contribution again: dropped
  std::uint64_t late = 0;          ///< after completion, or of a worker outside the round: dropped
  std::uint64_t complete = 0;      ///< aggregations with everyone's contribution
  std::uint64_t partial = 0;       ///< aggregations that the quorum closed
  std::uint64_t reminders = 0;     ///< asked for
  std::uint64_t repeated = 0;      ///< results sent again
  std::uint64_t resend_requests = 0; ///< contributions asked for again
  std::uint64_t forgotten = 0;       ///< asked for but no longer kept
  std::uint64_t expired = 0;         ///< aggregations dropped unfinished
};

/// What is known about one worker of a job.
struct WorkerReport {
  bool known = false;                  ///< it has started
  std::uint64_t contributions = 0;     ///< counted
  std::uint64_t missed = 0;            ///< aggregations closed without it
  std::chrono::milliseconds silent{0}; ///< since its last packet
};
struct JobReport {
  std::uint16_t job = 0;
  std::uint8_t epoch = 0; ///< of the present start
  unsigned fan_in = 0;
  std::vector<WorkerReport> workers;
};

/// The aggregator without sockets or clock: datagrams and times in, datagrams out. Not thread-safe.
class AggregatorCore {
public:
  using Clock = std::chrono::steady_clock;
  /// The caller's name of a sender: it holds all that is needed to answer, so that nothing is kept
  /// of senders that belong to no job.
  struct Address {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::uint64_t port = 0;
    constexpr Address() = default;
    constexpr Address(std::uint64_t number) : low(number) {}
    constexpr Address(std::uint64_t h, std::uint64_t l, std::uint64_t p)
        : high(h), low(l), port(p) {}
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 means the 0 within <=>
    friend constexpr auto operator<=>(const Address &, const Address &) = default;
  };
  using Send = std::function<void(Address, std::span<const std::uint8_t>)>;

  /// Precondition: check_options(options).
  AggregatorCore(const AggregatorOptions &options, Send send);
  ~AggregatorCore();
  AggregatorCore(AggregatorCore &&) noexcept;
  AggregatorCore &operator=(AggregatorCore &&) noexcept;

  /// kInvalidArgument names an unusable option.
  [[nodiscard]] static Result<void> check_options(const AggregatorOptions &options);

  void receive(Address from, std::span<const std::uint8_t> datagram, Clock::time_point now);
  /// Closes what the quorum rule closes by `now`; gives the time at which it will have work again.
  std::optional<Clock::time_point> tick(Clock::time_point now);

  [[nodiscard]] const AggregatorStats &stats() const;
  [[nodiscard]] std::vector<JobReport> jobs(Clock::time_point now) const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The aggregator on a UDP socket, with a thread of its own.
class AggregatorServer {
public:
  /// `port` 0 takes a free one. Errors: kInvalidArgument, kIo.
  [[nodiscard]] static Result<std::unique_ptr<AggregatorServer>>
  start(const std::string &address, std::uint16_t port, const AggregatorOptions &options);
  ~AggregatorServer(); ///< ends the thread
  AggregatorServer(const AggregatorServer &) = delete;
  AggregatorServer &operator=(const AggregatorServer &) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  [[nodiscard]] std::string endpoint() const; ///< as connect_udp() takes it
  [[nodiscard]] AggregatorStats stats() const;
  [[nodiscard]] std::vector<JobReport> jobs() const;

private:
  struct Impl;
  explicit AggregatorServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The aggregator in the workers' own process: channels to it need no socket and no thread.
class LocalAggregator {
public:
  /// Error: kInvalidArgument.
  [[nodiscard]] static Result<std::shared_ptr<LocalAggregator>>
  create(const AggregatorOptions &options);
  ~LocalAggregator();
  LocalAggregator(const LocalAggregator &) = delete;
  LocalAggregator &operator=(const LocalAggregator &) = delete;

  /// A new sender. The channel may be used by one thread at a time and keeps the aggregator alive.
  [[nodiscard]] static std::unique_ptr<Channel>
  connect(const std::shared_ptr<LocalAggregator> &aggregator);
  [[nodiscard]] AggregatorStats stats() const;
  [[nodiscard]] std::vector<JobReport> jobs() const;

private:
  struct Impl;
  class LocalChannel;
  explicit LocalAggregator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace kestrel::thc
