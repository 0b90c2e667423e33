// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Non-blocking collectives must be begun in the same order on all ranks. There are three kinds,
// each on a communicator of its own and each begun in the order of chunks, so that the kinds may
// overlap in whatever way they are ready.
#include "kestrel/thc/mpi_transport.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <thread>

#include "sw_ref/thc/fast.hpp"

namespace kestrel::thc {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds kPoll{20};

enum Kind : std::size_t { kNorms, kIndices, kSums };

class MpiTransport final : public Transport {
public:
  explicit MpiTransport(const MpiTransportOptions &options)
      : options_(options), codec_(options.table) {
    comms_.fill(MPI_COMM_NULL);
  }
  ~MpiTransport() override {
    // Buffers of collectives that are still going on must outlive them; after a timeout the missing
    // rank may yet come.
    const auto end = Clock::now() + options_.timeout;
    for (Chunk &chunk : chunks_) {
      for (MPI_Request &request : chunk.requests) {
        int done = request == MPI_REQUEST_NULL ? 1 : 0;
        while (done == 0 && Clock::now() < end) {
          MPI_Test(&request, &done, MPI_STATUS_IGNORE);
          std::this_thread::sleep_for(kPoll);
        }
        lost_ = lost_ || done == 0;
      }
    }
    if (lost_) { // MPI still writes there
      static std::deque<std::deque<Chunk>> forever;
      forever.push_back(std::move(chunks_));
      return;
    }
    for (MPI_Comm &comm : comms_) {
      if (comm != MPI_COMM_NULL) {
        MPI_Comm_free(&comm);
      }
    }
  }
  MpiTransport(const MpiTransport &) = delete;
  MpiTransport &operator=(const MpiTransport &) = delete;

  Result<void> open(MPI_Comm comm) {
    int size = 0;
    KESTREL_TRY(good(MPI_Comm_rank(comm, &rank_), "rank"));
    KESTREL_TRY(good(MPI_Comm_size(comm, &size), "size"));
    ranks_ = static_cast<std::size_t>(size);
    KESTREL_TRY(check(Compression{options_.table, ref::kMaxBlockLog2, 0}, workers()));
    for (MPI_Comm &own : comms_) {
      KESTREL_TRY(good(MPI_Comm_dup(comm, &own), "duplicate"));
      MPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN);
    }
    wide_ = ranks_ * options_.table.granularity > 255;
    return {};
  }

  unsigned rank() const override { return static_cast<unsigned>(rank_); }
  unsigned workers() const override { return static_cast<unsigned>(ranks_); }
  TransportStats stats() const override { return stats_; }
  std::uint32_t sequence() const override { return 0; } // MPI keeps the order
  void set_sequence(std::uint32_t) override {}

  Result<void> begin(const RoundPlan &plan) override {
    if (broken_) {
      return *broken_;
    }
    chunks_.clear();
    next_gather_ = 0;
    for (const ChunkShape &shape : plan.chunks) {
      Chunk &chunk = chunks_.emplace_back();
      chunk.packets = shape.packets;
      // Equal shares of whole packets, the last ones padded with index 0.
      chunk.share = (shape.packets + ranks_ - 1) / ranks_;
      chunk.norms.resize(shape.blocks + 2);
      chunk.norms[shape.blocks] = static_cast<float>(plan.tag);      // the largest tag
      chunk.norms[shape.blocks + 1] = -static_cast<float>(plan.tag); // minus the smallest
      chunk.tag = plan.tag;
      chunk.indices.resize(chunk.share * ranks_ * kPacketIndexBytes);
      chunk.received.resize(chunk.indices.size());
      chunk.own_sums.resize(chunk.share * ref::kPacketCoordinates * (wide_ ? 2 : 1));
      chunk.all_sums.resize(chunk.own_sums.size() * ranks_);
    }
    return {};
  }

  Result<void> post_norms(std::size_t c, std::span<const float> norms) override {
    Chunk &chunk = chunks_.at(c);
    std::copy(norms.begin(), norms.end(), chunk.norms.begin());
    count(4 * norms.size());
    return good(MPI_Iallreduce(MPI_IN_PLACE, chunk.norms.data(),
                               static_cast<int>(chunk.norms.size()), MPI_FLOAT, MPI_MAX,
                               comms_[kNorms], &chunk.requests[kNorms]),
                "maximum of norms");
  }

  Result<AgreedNorms> wait_norms(std::size_t c) override {
    Chunk &chunk = chunks_.at(c);
    KESTREL_TRY(wait("norms", [&]() -> Result<bool> { return test(chunk, kNorms); }));
    const std::size_t blocks = chunk.norms.size() - 2;
    const auto tag = static_cast<float>(chunk.tag);
    if (chunk.norms[blocks] != tag || chunk.norms[blocks + 1] != -tag) {
      return fail(
          ErrorCode::kVersionMismatch,
          "rank {}: the ranks' configurations differ (tag {:04x} here): table, granularity, "
          "clamp, block size, seed, round and tensor size must be equal",
          rank_, chunk.tag);
    }
    return AgreedNorms{std::span(chunk.norms).first(blocks), everyone()};
  }

  Result<void> post_indices(std::size_t c, std::size_t first,
                            std::span<const std::uint8_t> indices) override {
    Chunk &chunk = chunks_.at(c);
    std::copy(indices.begin(), indices.end(),
              chunk.indices.begin() + static_cast<std::ptrdiff_t>(first * kPacketIndexBytes));
    chunk.posted += indices.size() / kPacketIndexBytes;
    if (chunk.posted < chunk.packets) {
      return {};
    }
    const auto bytes = static_cast<int>(chunk.share * kPacketIndexBytes);
    count((ranks_ - 1) * chunk.share * kPacketIndexBytes);
    return good(MPI_Ialltoall(chunk.indices.data(), bytes, MPI_UINT8_T, chunk.received.data(),
                              bytes, MPI_UINT8_T, comms_[kIndices], &chunk.requests[kIndices]),
                "exchange of indices");
  }

  Result<ChunkSums> wait_sums(std::size_t c) override {
    KESTREL_TRY(wait("sums", [&]() -> Result<bool> { return advance(c); }));
    Chunk &chunk = chunks_[c];
    if (chunk.sums.empty()) {
      chunk.sums.resize(chunk.packets * ref::kPacketCoordinates);
      for (std::size_t i = 0; i < chunk.sums.size(); ++i) {
        chunk.sums[i] =
            wide_
                ? static_cast<std::uint16_t>(chunk.all_sums[2 * i] | chunk.all_sums[2 * i + 1] << 8)
                : chunk.all_sums[i];
      }
      chunk.workers.assign(chunk.packets, everyone());
    }
    return ChunkSums{chunk.sums, chunk.workers};
  }

  bool ready(std::size_t c) override {
    const auto done = advance(c);
    return !done || *done; // wait_sums() gives the error
  }

private:
  struct Chunk {
    Chunk() { requests.fill(MPI_REQUEST_NULL); }
    std::size_t packets = 0;
    std::size_t share = 0; ///< packets of one rank
    std::size_t posted = 0;
    std::uint16_t tag = 0;
    std::array<MPI_Request, 3> requests;
    std::vector<float> norms; ///< then the tag and minus the tag
    std::vector<std::uint8_t> indices;
    std::vector<std::uint8_t> received; ///< of the own share, rank by rank
    std::vector<std::uint8_t> own_sums; ///< little-endian
    std::vector<std::uint8_t> all_sums;
    std::vector<std::uint16_t> sums;
    std::vector<std::uint32_t> workers;
  };

  std::uint32_t everyone() const { return ranks_ == 32 ? ~0U : (std::uint32_t{1} << ranks_) - 1; }
  void count(std::size_t bytes) {
    ++stats_.packets_up;
    ++stats_.packets_down;
    stats_.bytes_up += bytes;
    stats_.bytes_down += bytes;
  }
  Result<void> good(int code, const char *what) {
    if (code == MPI_SUCCESS) {
      return {};
    }
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(code, text.data(), &length);
    broken_ = fail(ErrorCode::kIo, "rank {}: MPI, {}: {}", rank_, what, text.data());
    return *broken_;
  }
  Result<bool> test(Chunk &chunk, Kind kind) {
    int done = 0;
    KESTREL_TRY(good(MPI_Test(&chunk.requests[kind], &done, MPI_STATUS_IGNORE), "progress"));
    return done != 0;
  }

  /// Goes on with all chunks up to `c`; whether the sums of `c` are there.
  Result<bool> advance(std::size_t c) {
    for (; next_gather_ <= c; ++next_gather_) {
      Chunk &chunk = chunks_.at(next_gather_);
      if (chunk.posted < chunk.packets) {
        return false;
      }
      KESTREL_ASSIGN(const bool here, test(chunk, kIndices));
      if (!here) {
        return false;
      }
      add(chunk);
      const auto bytes = static_cast<int>(chunk.own_sums.size());
      count((ranks_ - 1) * chunk.own_sums.size());
      KESTREL_TRY(
          good(MPI_Iallgather(chunk.own_sums.data(), bytes, MPI_UINT8_T, chunk.all_sums.data(),
                              bytes, MPI_UINT8_T, comms_[kSums], &chunk.requests[kSums]),
               "exchange of sums"));
    }
    return test(chunks_.at(c), kSums);
  }

  void add(Chunk &chunk) {
    work_.resize(chunk.share * ref::kPacketCoordinates);
    const std::size_t bytes = chunk.share * kPacketIndexBytes;
    for (std::size_t r = 0; r < ranks_; ++r) {
      codec_.aggregate(std::span<const std::uint8_t>(chunk.received).subspan(r * bytes, bytes),
                       std::span<std::uint16_t>(work_),
                       r == 0 ? ref::FastCodec::Sums::Overwrite : ref::FastCodec::Sums::Add);
    }
    for (std::size_t i = 0; i < work_.size(); ++i) {
      if (wide_) {
        chunk.own_sums[2 * i] = static_cast<std::uint8_t>(work_[i]);
        chunk.own_sums[2 * i + 1] = static_cast<std::uint8_t>(work_[i] >> 8);
      } else {
        chunk.own_sums[i] = static_cast<std::uint8_t>(work_[i]);
      }
    }
  }

  template <typename Done> Result<void> wait(const char *what, Done done) {
    if (broken_) {
      return *broken_;
    }
    const auto end = Clock::now() + options_.timeout;
    for (;;) {
      KESTREL_ASSIGN(const bool is_done, done());
      if (is_done) {
        return {};
      }
      if (Clock::now() >= end) {
        broken_ = fail(ErrorCode::kTimeout,
                       "rank {} of {}: the {} of the round did not come within {} ms: some rank "
                       "does not take part",
                       rank_, ranks_, what, options_.timeout.count());
        return *broken_;
      }
      std::this_thread::sleep_for(kPoll);
    }
  }

  MpiTransportOptions options_;
  ref::FastCodec codec_;
  std::array<MPI_Comm, 3> comms_;
  int rank_ = 0;
  std::size_t ranks_ = 1;
  bool wide_ = false;
  bool lost_ = false;
  std::optional<Error> broken_;
  std::deque<Chunk> chunks_;
  std::size_t next_gather_ = 0; ///< chunk whose sums are exchanged next
  std::vector<std::uint16_t> work_;
  TransportStats stats_;
};

} // namespace

Result<std::unique_ptr<Transport>> make_mpi_transport(MPI_Comm comm,
                                                      const MpiTransportOptions &options) {
  if (const auto error = ref::table_error(options.table)) {
    return fail(ErrorCode::kInvalidArgument, "table: {}", *error);
  }
  if (options.timeout.count() < 1) {
    return fail(ErrorCode::kInvalidArgument, "the timeout must be at least 1 ms");
  }
  auto transport = std::make_unique<MpiTransport>(options);
  KESTREL_TRY(transport->open(comm));
  return std::unique_ptr<Transport>(std::move(transport));
}

} // namespace kestrel::thc
