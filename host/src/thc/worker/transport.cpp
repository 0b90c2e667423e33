// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A worker's end of the aggregation protocol (docs/thc_worker.md). Sequence numbers of a chunk: its
// norms, then its packets; `slot` is the distance to the norms.
#include "kestrel/thc/transport.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <queue>
#include <random>

#include "kestrel/bytes.hpp"
#include "kestrel/contract/wire.hpp"

namespace kestrel::thc {
namespace {

namespace wire = contract::wire;
using wire::PacketFlag;
using wire::PacketType;
using wire::ValueFormat;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr unsigned kMaxBackOff = 16;

std::string name_workers(std::uint32_t bitmap) {
  std::string text;
  for (unsigned w = 0; w < 32; ++w) {
    if ((bitmap >> w & 1) != 0) {
      text += fmt::format("{}{}", text.empty() ? "" : ", ", w);
    }
  }
  return text;
}

class AggregatorTransport final : public Transport {
public:
  AggregatorTransport(std::unique_ptr<Channel> channel, const AggregatorTransportOptions &options)
      : channel_(std::move(channel)), options_(options), table_tag_(table_tag(options.table)),
        everyone_(options.workers == 32 ? ~0U : (1U << options.workers) - 1) {}

  unsigned rank() const override { return options_.rank; }
  unsigned workers() const override { return options_.workers; }
  TransportStats stats() const override { return stats_; }
  std::uint32_t sequence() const override { return next_; }
  void set_sequence(std::uint32_t sequence) override {
    next_ = sequence;
    chunks_.clear();
    start_ = Start::kNone;
    over_.reset();
  }

  Result<void> begin(const RoundPlan &plan) override {
    chunks_.clear();
    queue_.clear();
    waiting_ = {};
    in_flight_ = 0;
    answers_of_round_ = 0;
    failure_ = over_;
    if (over_) {
      return *over_;
    }
    if (start_ != Start::kBegun) {
      start_anew();
    }
    round_tag_ = plan.tag;
    for (const ChunkShape &shape : plan.chunks) {
      if (shape.blocks < 1 || shape.blocks > kMaxChunkBlocks || shape.packets < 1 ||
          shape.packets > kMaxChunkPackets) {
        return fail(ErrorCode::kInvalidArgument,
                    "a chunk of {} blocks and {} packets: 1 to {} and 1 to {} are supported",
                    shape.blocks, shape.packets, kMaxChunkBlocks, kMaxChunkPackets);
      }
      Chunk chunk;
      chunk.first = next_;
      chunk.norms.resize(shape.blocks);
      chunk.items.resize(shape.packets + 1);
      chunk.workers.resize(shape.packets);
      chunk.indices.resize(shape.packets * kPacketIndexBytes);
      chunk.sums.resize(shape.packets * ref::kPacketCoordinates);
      next_ += static_cast<std::uint32_t>(shape.packets + 1);
      chunks_.push_back(std::move(chunk));
    }
    last_answer_ = Clock::now();
    return {};
  }

  Result<void> post_norms(std::size_t c, std::span<const float> norms) override {
    Chunk &chunk = chunks_.at(c);
    std::copy(norms.begin(), norms.end(), chunk.norms.begin());
    chunk.items[0].wanted = true;
    chunk.items[0].own = true;
    queue_.push_front({c, 0}); // ahead of indices: the next chunk's compression waits for them
    return progress(microseconds(0));
  }

  Result<AgreedNorms> wait_norms(std::size_t c) override {
    Chunk &chunk = chunks_.at(c);
    KESTREL_TRY(wait([&] { return chunk.items[0].done; }));
    if ((chunk.members >> options_.rank & 1) == 0) { // the others go on without this worker
      for (std::size_t p = 1; p < chunk.items.size(); ++p) {
        chunk.items[p].wanted = true;
        queue_.push_back({c, p});
      }
      KESTREL_TRY(progress(microseconds(0)));
    }
    return AgreedNorms{chunk.norms, chunk.members};
  }

  Result<void> post_indices(std::size_t c, std::size_t first,
                            std::span<const std::uint8_t> indices) override {
    Chunk &chunk = chunks_.at(c);
    std::copy(indices.begin(), indices.end(),
              chunk.indices.begin() + static_cast<std::ptrdiff_t>(first * kPacketIndexBytes));
    for (std::size_t p = 0; p < indices.size() / kPacketIndexBytes; ++p) {
      Item &item = chunk.items.at(first + p + 1);
      item.wanted = true;
      item.own = true;
      queue_.push_back({c, first + p + 1});
    }
    return progress(microseconds(0));
  }

  Result<ChunkSums> wait_sums(std::size_t c) override {
    Chunk &chunk = chunks_.at(c);
    KESTREL_TRY(wait([&] { return chunk.completed == chunk.workers.size(); }));
    return ChunkSums{chunk.sums, chunk.workers};
  }

  bool ready(std::size_t c) override {
    if (auto result = progress(microseconds(0)); !result) {
      return true; // wait_sums() says why
    }
    const Chunk &chunk = chunks_.at(c);
    return chunk.completed == chunk.workers.size();
  }

private:
  enum class Start : std::uint8_t {
    kNone,
    kAsked, ///< START was sent, or will be
    kBegun, ///< the aggregator has given the epoch
  };
  struct Item {
    bool wanted = false; ///< a result is waited for
    bool own = false;    ///< this worker contributes
    bool sent = false;   ///< counted in in_flight_
    bool done = false;
    unsigned back_off = 1;
    std::uint32_t heard = 0; ///< contributions that the aggregator had, when it said so
  };
  struct Chunk {
    std::uint32_t first = 0; ///< sequence number of the norms
    std::vector<float> norms;
    std::uint32_t members = 0;
    std::vector<Item> items; ///< 0: the norms, then the packets
    std::vector<std::uint8_t> indices;
    std::vector<std::uint16_t> sums;
    std::vector<std::uint32_t> workers;
    std::size_t completed = 0; ///< packets
  };
  struct Place {
    std::size_t chunk;
    std::size_t item;
  };
  struct Timer {
    Clock::time_point due;
    Place place;
    bool operator<(const Timer &other) const { return due > other.due; }
  };

  Item &at(Place place) { return chunks_[place.chunk].items[place.item]; }

  wire::Header header(PacketType type, Place place) const {
    wire::Header h;
    h.type = type;
    h.fan_in = static_cast<std::uint8_t>(options_.workers);
    h.prio = options_.priority;
    h.job = options_.job;
    h.epoch = epoch_;
    h.slot = static_cast<std::uint16_t>(place.item);
    h.seq = chunks_[place.chunk].first + static_cast<std::uint32_t>(place.item);
    h.bitmap = 1U << options_.rank;
    h.config = place.item == 0 ? round_tag_ : table_tag_;
    return h;
  }

  Result<void> send(std::span<const std::uint8_t> datagram) {
    ++stats_.packets_up;
    stats_.bytes_up += datagram.size();
    return channel_->send(datagram);
  }

  Result<void> send_contribution(Place place, bool again) {
    const Chunk &chunk = chunks_[place.chunk];
    wire::Header h = header(place.item == 0 ? PacketType::kNorm : PacketType::kData, place);
    h.flags = again ? wire::bit(PacketFlag::kRetransmit) : std::uint8_t{0};
    h.count = 1;
    h.format = place.item == 0 ? ValueFormat::kFp32 : ValueFormat::kThcIndex4;
    const auto head = wire::encode(h);
    packet_.assign(head.begin(), head.end());
    if (place.item == 0) {
      for (const float norm : chunk.norms) {
        append_be<std::uint32_t>(packet_, std::bit_cast<std::uint32_t>(norm));
      }
    } else {
      const auto from =
          chunk.indices.begin() + static_cast<std::ptrdiff_t>((place.item - 1) * kPacketIndexBytes);
      packet_.insert(packet_.end(), from, from + static_cast<std::ptrdiff_t>(kPacketIndexBytes));
    }
    stats_.retransmissions += again ? 1 : 0;
    return send(packet_);
  }

  /// Sends what the window allows, asks for what is late, takes what has come. Waits up to `wait`
  /// for the first datagram.
  Result<void> progress(microseconds wait) {
    KESTREL_TRY(pump());
    for (;;) {
      KESTREL_ASSIGN(const auto size, channel_->receive(buffer_, wait));
      if (!size) {
        break;
      }
      wait = microseconds(0);
      take(std::span<const std::uint8_t>(buffer_).first(*size));
      if (failure_) {
        return *failure_;
      }
      KESTREL_TRY(pump());
    }
    return remind();
  }

  // --- the start ---------------------------------------------------------------------------------

  /// Another start of this worker, with the round in progress or the next one.
  void start_anew() {
    std::random_device random;
    nonce_ = std::uint64_t{random()} << 32 | random();
    start_ = Start::kAsked;
    position_ = chunks_.empty() ? next_ : chunks_.front().first;
    start_due_ = Clock::now();
    start_back_off_ = 0;
    started_ = 0;
    answers_of_start_ = 0;
    // What was sent is sent again, norms first.
    queue_.clear();
    waiting_ = {};
    in_flight_ = 0;
    for (const bool norms : {true, false}) {
      for (std::size_t c = 0; c < chunks_.size(); ++c) {
        for (std::size_t i = norms ? 0 : 1; i < (norms ? 1 : chunks_[c].items.size()); ++i) {
          Item &item = chunks_[c].items[i];
          if (item.wanted && !item.done) {
            item.sent = false;
            item.back_off = 1;
            item.heard = 0;
            queue_.push_back({c, i});
          }
        }
      }
    }
  }

  Result<void> ask_to_start() {
    const auto now = Clock::now();
    if (now < start_due_) {
      return {};
    }
    wire::Header h;
    h.type = PacketType::kStart;
    h.format = ValueFormat::kInt32;
    h.fan_in = static_cast<std::uint8_t>(options_.workers);
    h.prio = options_.priority;
    h.job = options_.job;
    h.seq = position_;
    h.bitmap = 1U << options_.rank;
    const auto head = wire::encode(h);
    const auto lanes = start_lanes(nonce_, options_.run);
    packet_.assign(head.begin(), head.end());
    packet_.insert(packet_.end(), lanes.begin(), lanes.end());
    stats_.reminders += start_back_off_ == 0 ? 0 : 1;
    start_back_off_ = start_back_off_ == 0 ? 1 : std::min(2 * start_back_off_, kMaxBackOff);
    start_due_ = now + start_back_off_ * options_.reminder;
    return send(packet_);
  }

  /// An answer to START, or to a packet of a start that is over.
  void start_answer(const wire::Header &h, std::span<const std::uint8_t> lanes) {
    const auto own = start_lanes(nonce_, options_.run);
    const bool negative = h.has(PacketFlag::kNegative);
    const bool to_start = std::equal(lanes.begin(), lanes.end(), own.begin(), own.end());
    if (start_ == Start::kBegun ? !(negative && lanes.empty() && h.epoch == epoch_) : !to_start) {
      ++stats_.ignored; // of another start
    } else if (negative) {
      start_is_over(h);
    } else if (h.type == PacketType::kAck) {
      started_ = h.bitmap;
    } else {
      start_ = Start::kBegun;
      epoch_ = h.epoch;
      last_answer_ = Clock::now();
    }
  }

  /// `h` says which workers have started since, and where; none: the job is unknown there.
  void start_is_over(const wire::Header &h) {
    const std::uint32_t first = chunks_.empty() ? next_ : chunks_.front().first;
    const std::string who = fmt::format("worker {} of job {}", options_.rank, options_.job);
    if (h.has(PacketFlag::kEcn)) {
      over_ = fail(ErrorCode::kResourceLimit,
                   "{}: {} has no place for a further job (kestrel aggregator --max-jobs)", who,
                   channel_->peer());
    } else if (h.fan_in == 0) {
      over_ = fail(ErrorCode::kVersionMismatch,
                   "{}: {} refuses its {} workers: their sums do not fit its lanes", who,
                   channel_->peer(), options_.workers);
    } else if (h.fan_in != options_.workers) {
      over_ = fail(ErrorCode::kVersionMismatch,
                   "{}: {} refuses its {} workers: the job was started with {} there, or its "
                   "quorum is larger",
                   who, channel_->peer(), options_.workers, h.fan_in);
      // NOLINTNEXTLINE(bugprone-branch-clone): the last branch does the same for another reason
    } else if (h.bitmap == 0 && answers_of_round_ == 0) {
      start_anew(); // nothing of the round is known to anybody who is asked
    } else if (h.bitmap == 0) {
      failure_ = fail(ErrorCode::kUnavailable,
                      "{}: {} has forgotten the job in mid-round: it was restarted, or heard "
                      "nothing for too long",
                      who, channel_->peer());
      start_ = Start::kNone;
    } else if ((h.bitmap & 1U << options_.rank) != 0) {
      over_ = fail(ErrorCode::kUnavailable,
                   "{}: another worker {} has started under this job number at {} since: this "
                   "start of the job is over",
                   who, options_.rank, channel_->peer());
    } else if (answers_of_start_ != 0 && (answers_of_round_ != 0 || h.seq != first)) {
      over_ = fail(ErrorCode::kUnavailable,
                   "{}: worker {} has started anew at {}: this start of the job is over, all "
                   "workers must start anew",
                   who, name_workers(h.bitmap), channel_->peer());
    } else if (h.seq != first) {
      failure_ = fail(ErrorCode::kVersionMismatch,
                      "{}: it starts at aggregation {}, worker {} at {}: all workers must begin at "
                      "the same one, or load the same saved state",
                      who, first, name_workers(h.bitmap), h.seq);
      start_ = Start::kNone;
    } else {
      start_anew(); // it begins where this worker is, and nothing of the round has come back: join
    }
    if (over_) {
      failure_ = over_;
      start_ = Start::kNone;
    }
  }

  Result<void> pump() {
    if (start_ == Start::kAsked) {
      return ask_to_start();
    }
    while (!queue_.empty() && in_flight_ < options_.window) {
      const Place place = queue_.front();
      queue_.pop_front();
      Item &item = at(place);
      if (item.done) {
        continue; // the others closed it before
      }
      item.sent = true;
      ++in_flight_;
      if (item.own) {
        KESTREL_TRY(send_contribution(place, false));
      }
      waiting_.push({Clock::now() + options_.reminder, place});
    }
    return {};
  }

  Result<void> remind() {
    const auto now = Clock::now();
    while (!waiting_.empty() && waiting_.top().due <= now) {
      const Place place = waiting_.top().place;
      waiting_.pop();
      Item &item = at(place);
      if (item.done) {
        continue;
      }
      ++stats_.reminders;
      KESTREL_TRY(send(wire::encode(header(PacketType::kReminder, place))));
      item.back_off = std::min(2 * item.back_off, kMaxBackOff);
      waiting_.push({now + item.back_off * options_.reminder, place});
    }
    return {};
  }

  template <typename Done> Result<void> wait(Done done) {
    if (failure_) {
      return *failure_;
    }
    // The caller may have been away for long; the time without an answer counts from here.
    last_answer_ = Clock::now();
    while (!done()) {
      const auto now = Clock::now();
      if (now - last_answer_ >= options_.timeout) {
        failure_ = timed_out();
        return *failure_;
      }
      auto until = last_answer_ + options_.timeout;
      if (start_ == Start::kAsked) {
        until = std::min(until, start_due_);
      } else if (!waiting_.empty()) {
        until = std::min(until, waiting_.top().due);
      }
      KESTREL_TRY(
          progress(std::max(microseconds(0), std::chrono::ceil<microseconds>(until - now))));
    }
    return {};
  }

  Error timed_out() const {
    if (start_ != Start::kBegun && started_ != 0) {
      return fail(ErrorCode::kTimeout,
                  "worker {} of job {}: the job did not start within {} ms: {} waits for worker {} "
                  "to start",
                  options_.rank, options_.job, options_.timeout.count(), channel_->peer(),
                  name_workers(everyone_ & ~started_));
    }
    std::size_t missing = 0;
    std::uint32_t heard = 0;
    std::uint32_t expected = everyone_;
    bool norms = false;
    for (const Chunk &chunk : chunks_) {
      for (std::size_t i = 0; i < chunk.items.size(); ++i) {
        const Item &item = chunk.items[i];
        if (item.wanted && !item.done) {
          if (missing == 0) {
            heard = item.heard;
            norms = i == 0;
            expected = norms ? everyone_ : chunk.members;
          }
          ++missing;
        }
      }
    }
    const std::string what = norms ? "the norms" : fmt::format("{} results", missing);
    if (heard == 0) {
      return fail(ErrorCode::kUnavailable,
                  "worker {} of job {}: {} of the round did not come within {} ms and {} does not "
                  "answer",
                  options_.rank, options_.job, what, options_.timeout.count(), channel_->peer());
    }
    return fail(ErrorCode::kTimeout,
                "worker {} of job {}: {} of the round did not come within {} ms: {} waits for "
                "worker {}",
                options_.rank, options_.job, what, options_.timeout.count(), channel_->peer(),
                name_workers(expected & ~heard));
  }

  std::optional<Place> find(std::uint32_t seq) const {
    for (std::size_t c = 0; c < chunks_.size(); ++c) {
      const std::uint32_t offset = seq - chunks_[c].first;
      if (offset < chunks_[c].items.size()) {
        return Place{c, offset};
      }
    }
    return std::nullopt;
  }

  void take(std::span<const std::uint8_t> datagram) {
    ++stats_.packets_down;
    stats_.bytes_down += datagram.size();
    if (const auto version = wire::version_of(datagram); version && *version != wire::kVersion) {
      failure_ = fail(ErrorCode::kVersionMismatch,
                      "worker {} of job {}: {} speaks version {} of the protocol, this is {}",
                      options_.rank, options_.job, channel_->peer(), *version, wire::kVersion);
      return;
    }
    const auto h = wire::decode(datagram);
    if (!h || h->job != options_.job) {
      ++stats_.ignored;
      return;
    }
    if (h->type == PacketType::kStartResult ||
        (h->type == PacketType::kAck && start_ != Start::kBegun)) {
      start_answer(*h, datagram.subspan(wire::kHeaderBytes));
      return;
    }
    if (start_ != Start::kBegun || h->epoch != epoch_) {
      ++stats_.ignored; // of another start
      return;
    }
    const auto place = find(h->seq);
    if (!place || h->slot != place->item || at(*place).done) {
      ++stats_.ignored; // of an earlier round, or come twice
      return;
    }
    const auto lanes = datagram.subspan(wire::kHeaderBytes);
    const bool norms = place->item == 0;
    const bool is_result = h->type == (norms ? PacketType::kNormResult : PacketType::kResult);
    if (is_result && h->has(PacketFlag::kNegative)) {
      refused(*h, *place);
    } else if (is_result) {
      if (!result(*h, *place, lanes)) {
        ++stats_.ignored;
        return;
      }
      last_answer_ = Clock::now();
    } else if (h->type == PacketType::kResend && at(*place).own) {
      at(*place).heard = h->bitmap;
      if (auto sent = send_contribution(*place, true); !sent) {
        failure_ = sent.error();
      }
    } else if (h->type == PacketType::kAck) {
      at(*place).heard = h->bitmap;
    } else {
      ++stats_.ignored;
    }
  }

  /// Whether a result was right and is stored. It may come before this worker has posted its own
  /// part: the others are ahead, and closed it by their quorum.
  bool result(const wire::Header &h, Place place, std::span<const std::uint8_t> lanes) {
    Chunk &chunk = chunks_[place.chunk];
    const std::uint16_t tag = place.item == 0 ? round_tag_ : table_tag_;
    if (h.bitmap == 0 || (h.bitmap & ~everyone_) != 0 || h.count != std::popcount(h.bitmap) ||
        h.config != tag) {
      return false;
    }
    if (place.item == 0) {
      if (h.format != ValueFormat::kFp32 || lanes.size() != 4 * chunk.norms.size()) {
        return false;
      }
      std::vector<float> norms(chunk.norms.size());
      for (std::size_t i = 0; i < norms.size(); ++i) {
        const auto bits = load_be<std::uint32_t>(lanes, 4 * i);
        norms[i] = std::bit_cast<float>(bits);
        if (!std::isfinite(norms[i]) || norms[i] < 0.0F) {
          return false;
        }
      }
      if (!chunk.items[0].own) {
        return false; // the own norms have not been computed: asked for again when they are
      }
      chunk.norms = std::move(norms);
      chunk.members = h.bitmap;
    } else {
      constexpr std::size_t kLanes = ref::kPacketCoordinates;
      const bool narrow = h.format == ValueFormat::kThcSum8;
      if ((!narrow && h.format != ValueFormat::kThcSum16) ||
          lanes.size() != kLanes * (narrow ? 1 : 2)) {
        return false;
      }
      const unsigned most = h.count * options_.table.granularity;
      std::uint16_t *sums = chunk.sums.data() + (place.item - 1) * kLanes;
      unsigned largest = 0;
      for (std::size_t i = 0; i < kLanes; ++i) {
        const unsigned sum = narrow ? lanes[i] : unsigned{lanes[2 * i]} << 8 | lanes[2 * i + 1];
        sums[i] = static_cast<std::uint16_t>(sum);
        largest = std::max(largest, sum);
      }
      if (largest > most) {
        return false; // damaged: more than these contributors can sum to
      }
      chunk.workers[place.item - 1] = h.bitmap;
      ++chunk.completed;
    }
    Item &item = at(place);
    item.done = true;
    ++answers_of_start_;
    ++answers_of_round_;
    in_flight_ -= item.sent ? 1 : 0;
    return true;
  }

  void refused(const wire::Header &h, Place place) {
    const std::uint16_t own = place.item == 0 ? round_tag_ : table_tag_;
    if (h.fan_in != options_.workers) {
      failure_ =
          fail(ErrorCode::kVersionMismatch,
               "worker {} of job {}: {} refuses its {} workers: the job has {} there, or its "
               "quorum or lane width cannot serve them",
               options_.rank, options_.job, channel_->peer(), options_.workers, h.fan_in);
    } else if (h.config != own && place.item == 0) {
      failure_ =
          fail(ErrorCode::kVersionMismatch,
               "worker {} of job {}: its configuration (tag {:04x}) is not the other workers' "
               "({:04x}): table, granularity, clamp, block size, seed, round and tensor size "
               "must be equal",
               options_.rank, options_.job, own, h.config);
    } else if (h.config != own) {
      failure_ = fail(ErrorCode::kVersionMismatch,
                      "worker {} of job {}: {} sums with another table (tag {:04x}, here {:04x})",
                      options_.rank, options_.job, channel_->peer(), h.config, own);
    } else {
      failure_ = fail(ErrorCode::kUnavailable,
                      "worker {} of job {}: {} no longer has the results of this round: the other "
                      "workers are too far ahead",
                      options_.rank, options_.job, channel_->peer());
    }
  }

  std::unique_ptr<Channel> channel_;
  AggregatorTransportOptions options_;
  std::uint16_t table_tag_;
  std::uint32_t everyone_;
  std::uint16_t round_tag_ = 0;
  std::uint32_t next_ = 1;
  std::vector<Chunk> chunks_;
  std::deque<Place> queue_; ///< to be sent, in order
  std::priority_queue<Timer> waiting_;
  std::size_t in_flight_ = 0;
  Clock::time_point last_answer_{};
  Start start_ = Start::kNone;
  std::uint64_t nonce_ = 0;
  std::uint8_t epoch_ = 0;      ///< kBegun
  std::uint32_t position_ = 0;  ///< of the first aggregation
  std::uint32_t started_ = 0;   ///< kAsked: workers that the aggregator has heard of
  unsigned start_back_off_ = 0; ///< 0: nothing was sent
  Clock::time_point start_due_{};
  std::uint64_t answers_of_start_ = 0;
  std::uint64_t answers_of_round_ = 0;
  std::optional<Error> over_; ///< others have taken the job: no round can follow
  std::optional<Error> failure_;
  TransportStats stats_;
  std::vector<std::uint8_t> packet_;
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(kMaxDatagram);
};

} // namespace

std::array<std::uint8_t, kStartBytes> start_lanes(std::uint64_t nonce, std::uint32_t run) {
  std::array<std::uint8_t, kStartBytes> lanes{};
  store_be<std::uint64_t>(lanes, 0, nonce);
  store_be<std::uint32_t>(lanes, 8, run);
  return lanes;
}

Result<std::unique_ptr<Transport>>
make_aggregator_transport(std::unique_ptr<Channel> channel,
                          const AggregatorTransportOptions &options) {
  KESTREL_TRY(check(Compression{options.table, ref::kMaxBlockLog2, 0}, options.workers));
  if (options.rank >= options.workers) {
    return fail(ErrorCode::kInvalidArgument, "rank {} of {} workers", options.rank,
                options.workers);
  }
  if (options.job == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "the job number is missing: 1 to 65535, equal on all workers of the job");
  }
  if (options.window < 1 || options.reminder.count() < 1 || options.timeout.count() < 1) {
    return fail(ErrorCode::kInvalidArgument,
                "window, reminder time and timeout must be at least 1");
  }
  return std::unique_ptr<Transport>(
      std::make_unique<AggregatorTransport>(std::move(channel), options));
}

} // namespace kestrel::thc
