// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/aggregator.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <queue>
#include <random>
#include <unordered_map>

#include "kestrel/bytes.hpp"
#include "kestrel/contract/wire.hpp"
#include "kestrel/thc/transport.hpp"

namespace kestrel::thc {
namespace {

namespace wire = contract::wire;
using std::chrono::milliseconds;
using wire::PacketFlag;
using wire::PacketType;
using wire::ValueFormat;

/// a - b of sequence numbers, which wrap.
std::int32_t distance(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b); }

/// One sequence number of a job: the norms of a chunk, or one packet of indices.
struct Aggregation {
  bool norms = false;
  bool done = false;
  bool overdue = false; ///< the quorum time has passed
  std::uint16_t config = 0;
  std::uint16_t slot = 0;
  std::uint32_t expected = 0; ///< whose contributions complete it
  std::uint32_t bitmap = 0;
  std::vector<float> largest;       ///< of norms
  std::vector<std::uint16_t> sums;  ///< of indices
  std::vector<std::uint8_t> result; ///< the packet that was sent
};

std::uint32_t everyone(unsigned fan_in) { return fan_in == 32 ? ~0U : (1U << fan_in) - 1; }

/// One start of a job.
struct Job {
  unsigned fan_in = 0;
  std::uint8_t epoch = 0;
  std::uint32_t position = 0; ///< sequence number at which all of its workers began
  std::uint32_t run = 0;      ///< AggregatorTransportOptions::run of all its workers
  bool begun = false;         ///< the workers were told the epoch
  bool overdue = false;       ///< the time has passed after which a quorum may begin
  std::uint32_t known = 0;    ///< workers that have started
  std::array<std::uint64_t, kMaxWorkers> nonce{};
  std::array<AggregatorCore::Address, kMaxWorkers> address{};
  std::array<AggregatorCore::Clock::time_point, kMaxWorkers> heard{};
  std::array<std::uint64_t, kMaxWorkers> contributions{};
  std::array<std::uint64_t, kMaxWorkers> missed{};
  /// Results that may be sent again to each worker, and when that was counted.
  std::array<double, kMaxWorkers> repeats{};
  std::array<AggregatorCore::Clock::time_point, kMaxWorkers> counted{};
  bool proved = false; ///< a worker has contributed under the epoch it was told
  AggregatorCore::Clock::time_point last{};
  std::unordered_map<std::uint32_t, Aggregation> aggregations;
  std::deque<std::uint32_t> order; ///< of first contributions
  bool evicted = false;
  std::uint32_t evicted_up_to = 0;
};

/// Nonces of starts that are over, kept for each job so that a late START is not taken for new.
constexpr std::size_t kRetired = 1024;

/// What is known under a job number.
struct Starts {
  Job now;
  /// The start before, which began: whoever was in it may still ask for results.
  std::optional<Job> former;
  std::deque<std::uint64_t> retired;
};

struct Due {
  AggregatorCore::Clock::time_point when;
  std::uint16_t job;
  std::uint8_t epoch;
  std::optional<std::uint32_t> seq; ///< none: the beginning of the job
};

} // namespace

struct AggregatorCore::Impl {
  AggregatorOptions options;
  Send send;
  AggregatorStats stats;
  std::uint16_t tag;
  std::array<std::array<std::uint16_t, 2>, 256> values{}; ///< of the two indices of a byte
  std::array<bool, 256> valid{};
  std::map<std::uint16_t, Starts> jobs;
  /// First contribution plus quorum time, of indices and of norms: each ascending.
  std::array<std::deque<Due>, 2> due;
  std::random_device random; ///< epochs of jobs that are not known yet

  Impl(const AggregatorOptions &o, Send s)
      : options(o), send(std::move(s)), tag(table_tag(o.table)) {
    const std::size_t entries = options.table.values.size();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::size_t high = byte >> 4;
      const std::size_t low = byte & 15;
      valid[byte] = high < entries && low < entries;
      if (valid[byte]) {
        values[byte] = {options.table.values[high], options.table.values[low]};
      }
    }
  }

  void emit(Address to, std::span<const std::uint8_t> datagram) {
    stats.bytes_out += datagram.size();
    send(to, datagram);
  }
  void reply(Address to, wire::Header header) {
    header.format = ValueFormat::kNone;
    header.count = 0;
    emit(to, wire::encode(header));
  }
  /// What tells a worker that it will get no result. `expected` is what would have been right.
  void refuse(Address to, const wire::Header &about, bool norms, std::uint16_t expected_config,
              unsigned expected_fan_in) {
    wire::Header header = about;
    header.type = norms ? PacketType::kNormResult : PacketType::kResult;
    header.flags = wire::bit(PacketFlag::kNegative);
    header.config = expected_config;
    header.fan_in = static_cast<std::uint8_t>(expected_fan_in);
    reply(to, header);
  }

  unsigned quorum(std::uint32_t expected) const {
    const auto all = static_cast<unsigned>(std::popcount(expected));
    return options.quorum == 0 ? all : std::min(options.quorum, all);
  }
  milliseconds quorum_time(bool norms) const {
    return norms && options.norm_timeout.count() >= 0 ? options.norm_timeout
                                                      : options.quorum_timeout;
  }

  /// Tells a sender that the start which it belongs to is over, and which workers have started
  /// since; none: nothing is known of its job.
  void refuse_start(Address to, const wire::Header &about, std::span<const std::uint8_t> lanes) {
    ++stats.stale;
    wire::Header header = about;
    header.flags = wire::bit(PacketFlag::kNegative);
    header.slot = 0;
    header.bitmap = 0;
    if (const auto found = jobs.find(about.job); found != jobs.end()) {
      header.fan_in = static_cast<std::uint8_t>(found->second.now.fan_in);
      header.seq = found->second.now.position;
      header.bitmap = found->second.now.known;
    }
    answer_start(to, PacketType::kStartResult, header, lanes);
  }
  void answer_start(Address to, PacketType type, wire::Header header,
                    std::span<const std::uint8_t> lanes) {
    header.type = type;
    header.format = lanes.empty() ? ValueFormat::kNone : ValueFormat::kInt32;
    header.count = 0;
    const auto head = wire::encode(header);
    std::vector<std::uint8_t> packet(head.begin(), head.end());
    packet.insert(packet.end(), lanes.begin(), lanes.end());
    emit(to, packet);
  }

  void begin(Job &job, std::uint16_t number) {
    job.begun = true;
    ++stats.starts;
    for (unsigned w = 0; w < job.fan_in; ++w) {
      if ((job.known >> w & 1) != 0) {
        welcome(job, number, w);
      }
    }
  }
  void welcome(const Job &job, std::uint16_t number, unsigned worker) {
    wire::Header header;
    header.epoch = job.epoch;
    header.fan_in = static_cast<std::uint8_t>(job.fan_in);
    header.job = number;
    header.seq = job.position;
    header.bitmap = job.known;
    answer_start(job.address[worker], job.begun ? PacketType::kStartResult : PacketType::kAck,
                 header, start_lanes(job.nonce[worker], job.run));
  }

  /// A worker begins, or begins anew: see the rules in docs/thc_worker.md.
  void start(Address from, const wire::Header &header, std::span<const std::uint8_t> lanes,
             Clock::time_point now) {
    if (header.format != ValueFormat::kInt32 || lanes.size() != kStartBytes || header.count != 0 ||
        header.slot != 0) {
      ++stats.malformed;
      return;
    }
    if (options.quorum > header.fan_in ||
        header.fan_in * options.table.granularity > ref::kMaxSum) {
      ++stats.mismatched; // this job could never be served
      wire::Header answer = header;
      answer.flags = wire::bit(PacketFlag::kNegative);
      answer.bitmap = 0;
      answer.fan_in =
          static_cast<std::uint8_t>(options.quorum > header.fan_in ? options.quorum : 0);
      answer_start(from, PacketType::kStartResult, answer, lanes);
      return;
    }
    const std::uint64_t nonce = load_be<std::uint64_t>(lanes, 0);
    const std::uint32_t run = load_be<std::uint32_t>(lanes, 8);
    const auto worker = static_cast<unsigned>(std::countr_zero(header.bitmap));
    auto found = jobs.find(header.job);
    const bool unknown = found == jobs.end();
    if (unknown) {
      if (jobs.size() >= options.max_jobs && !displace()) {
        ++stats.full;
        wire::Header answer = header;
        answer.flags = static_cast<std::uint8_t>(wire::bit(PacketFlag::kNegative) |
                                                 wire::bit(PacketFlag::kEcn));
        answer.bitmap = 0;
        answer_start(from, PacketType::kStartResult, answer, lanes);
        return;
      }
      found = jobs.emplace(header.job, Starts{}).first;
    }
    Starts &starts = found->second;
    if (std::find(starts.retired.begin(), starts.retired.end(), nonce) != starts.retired.end()) {
      refuse_start(from, header, lanes);
      return;
    }
    const bool joined = !unknown && (starts.now.known & header.bitmap) != 0;
    const bool same = !unknown && starts.now.fan_in == header.fan_in &&
                      starts.now.position == header.seq && starts.now.run == run;
    if (unknown || !same || (joined && starts.now.nonce[worker] != nonce)) {
      fresh_start(starts, unknown);
      forget_beginning(header.job);
      Job &job = starts.now;
      job.fan_in = header.fan_in;
      job.position = header.seq;
      job.run = run;
      if (options.quorum != 0) {
        due[1].push_back({now + quorum_time(true), header.job, job.epoch, std::nullopt});
      }
    }
    Job &job = starts.now;
    job.known |= header.bitmap;
    job.nonce[worker] = nonce;
    job.address[worker] = from;
    job.heard[worker] = now;
    job.last = now;
    const auto count = static_cast<unsigned>(std::popcount(job.known));
    if (!job.begun && (job.known == everyone(job.fan_in) ||
                       (job.overdue && count >= quorum(everyone(job.fan_in))))) {
      begin(job, header.job);
    } else {
      welcome(job, header.job, worker);
    }
  }

  /// A start that is over no longer waits for its quorum: starts may come faster than that time
  /// ends.
  void forget_beginning(std::uint16_t job) {
    std::erase_if(due[1], [&](const Due &item) { return item.job == job && !item.seq; });
  }

  /// Drops a job that has proved nothing: anybody can send starts. Of those that wait for workers
  /// the longest silent one, else of those that were told to begin.
  bool displace() {
    auto victim = jobs.end();
    for (auto it = jobs.begin(); it != jobs.end(); ++it) {
      const Job &job = it->second.now;
      if (job.proved || it->second.former) {
        continue;
      }
      if (victim == jobs.end() ||
          std::pair(job.begun, job.last) <
              std::pair(victim->second.now.begun, victim->second.now.last)) {
        victim = it;
      }
    }
    if (victim == jobs.end()) {
      return false;
    }
    ++stats.displaced;
    drop_unfinished(victim->second.now);
    forget_beginning(victim->first);
    jobs.erase(victim);
    return true;
  }

  /// A result once more to the header's sender, if it has not asked for too many.
  void repeat(Job &job, const wire::Header &header, const Aggregation &aggregation,
              Clock::time_point now) {
    const auto worker = static_cast<std::size_t>(std::countr_zero(header.bitmap));
    const double seconds = std::chrono::duration<double>(now - job.counted[worker]).count();
    double &left = job.repeats[worker];
    left = job.counted[worker] == Clock::time_point{}
               ? kRepeatBurst
               : std::min<double>(kRepeatBurst, left + seconds * kRepeatRate);
    job.counted[worker] = now;
    if (left < 1.0) {
      ++stats.throttled;
      return;
    }
    left -= 1.0;
    ++stats.repeated;
    emit(job.address[worker], aggregation.result);
  }

  /// The start that is going on is over, and `starts.now` is one without workers.
  void fresh_start(Starts &starts, bool unknown) {
    Job fresh;
    if (unknown) {
      fresh.epoch = static_cast<std::uint8_t>(1 + random() % 255);
    } else {
      Job &old = starts.now;
      fresh.epoch = static_cast<std::uint8_t>(old.epoch == 255 ? 1 : old.epoch + 1);
      for (unsigned w = 0; w < old.fan_in; ++w) {
        if ((old.known >> w & 1) != 0) {
          starts.retired.push_back(old.nonce[w]);
        }
      }
      while (starts.retired.size() > kRetired) {
        starts.retired.pop_front();
      }
      drop_unfinished(old);
      if (old.begun) {
        starts.former = std::move(old);
      }
    }
    starts.now = std::move(fresh);
  }
  void drop_unfinished(Job &job) {
    for (auto &[seq, aggregation] : job.aggregations) {
      stats.expired += aggregation.done ? 0 : 1;
      aggregation.sums = {};
      aggregation.largest = {};
    }
  }

  /// Whether a sender that is not of the present start was of the one before and got a result that
  /// it had missed: the others have it, and have started anew since.
  bool served_from_former(Starts &starts, Address from, const wire::Header &header,
                          Clock::time_point now) {
    if (!starts.former || !belongs(*starts.former, from, header)) {
      return false;
    }
    const auto aggregation = starts.former->aggregations.find(header.seq);
    if (aggregation == starts.former->aggregations.end() || !aggregation->second.done ||
        aggregation->second.slot != header.slot || aggregation->second.config != header.config) {
      return false;
    }
    repeat(*starts.former, header, aggregation->second, now);
    return true;
  }
  static bool belongs(const Job &job, Address from, const wire::Header &header) {
    return job.begun && job.epoch == header.epoch && job.fan_in == header.fan_in &&
           (job.known & header.bitmap) != 0 &&
           job.address[static_cast<std::size_t>(std::countr_zero(header.bitmap))] == from;
  }

  void finish(Job &job, std::uint16_t number, std::uint32_t seq, Aggregation &aggregation) {
    wire::Header header;
    header.epoch = job.epoch;
    header.type = aggregation.norms ? PacketType::kNormResult : PacketType::kResult;
    header.fan_in = static_cast<std::uint8_t>(job.fan_in);
    header.count = static_cast<std::uint8_t>(std::popcount(aggregation.bitmap));
    header.job = number;
    header.slot = aggregation.slot;
    header.seq = seq;
    header.bitmap = aggregation.bitmap;
    header.config = aggregation.config;
    const bool narrow = job.fan_in * options.table.granularity <= 255;
    header.format = aggregation.norms ? ValueFormat::kFp32
                    : narrow          ? ValueFormat::kThcSum8
                                      : ValueFormat::kThcSum16;
    const auto head = wire::encode(header);
    std::vector<std::uint8_t> &packet = aggregation.result;
    const std::size_t lanes =
        aggregation.norms ? aggregation.largest.size() : aggregation.sums.size();
    packet.reserve(head.size() + wire::lane_bytes(header.format, lanes));
    packet.assign(head.begin(), head.end());
    for (const float norm : aggregation.largest) {
      append_be<std::uint32_t>(packet, std::bit_cast<std::uint32_t>(norm));
    }
    for (const std::uint16_t sum : aggregation.sums) {
      if (!narrow) {
        packet.push_back(static_cast<std::uint8_t>(sum >> 8));
      }
      packet.push_back(static_cast<std::uint8_t>(sum));
    }
    aggregation.done = true;
    aggregation.sums = {};
    aggregation.largest = {};
    ++(aggregation.bitmap == aggregation.expected ? stats.complete : stats.partial);
    for (unsigned w = 0; w < job.fan_in; ++w) {
      const std::uint32_t bit = 1U << w;
      job.missed[w] += (aggregation.expected & ~aggregation.bitmap & bit) != 0;
      if ((job.known & bit) != 0) {
        emit(job.address[w], packet);
      }
    }
  }

  void make_room(Job &job) {
    while (job.order.size() >= options.history) {
      const std::uint32_t oldest = job.order.front();
      job.order.pop_front();
      const auto found = job.aggregations.find(oldest);
      stats.expired += found->second.done ? 0 : 1;
      job.aggregations.erase(found);
      if (!job.evicted || distance(oldest, job.evicted_up_to) > 0) {
        job.evicted_up_to = oldest;
      }
      job.evicted = true;
    }
  }
  static bool is_forgotten(const Job &job, std::uint32_t seq) {
    return job.evicted && distance(seq, job.evicted_up_to) <= 0;
  }

  void reminder(Job &job, Address from, const wire::Header &header, Clock::time_point now) {
    ++stats.reminders;
    const bool norms = header.slot == 0;
    const auto found = job.aggregations.find(header.seq);
    wire::Header answer = header;
    if (found == job.aggregations.end()) {
      if (is_forgotten(job, header.seq)) {
        ++stats.forgotten;
        refuse(from, header, norms, header.config, job.fan_in);
        return;
      }
      if (!norms && !takes_part(job, header)) {
        return; // it waits for the others
      }
      ++stats.resend_requests;
      answer.type = PacketType::kResend;
      answer.bitmap = 0;
      reply(from, answer);
      return;
    }
    const Aggregation &aggregation = found->second;
    if (aggregation.config != header.config || aggregation.norms != norms) {
      ++stats.mismatched;
      refuse(from, header, norms, aggregation.config, job.fan_in);
    } else if (aggregation.done) {
      repeat(job, header, aggregation, now);
    } else {
      const bool wanted = (aggregation.expected & ~aggregation.bitmap & header.bitmap) != 0;
      stats.resend_requests += wanted ? 1 : 0;
      answer.type = wanted ? PacketType::kResend : PacketType::kAck;
      answer.bitmap = aggregation.bitmap;
      reply(from, answer);
    }
  }

  /// The norms of a packet's chunk, when they are agreed.
  static const Aggregation *agreed_norms(const Job &job, const wire::Header &header) {
    const auto found = job.aggregations.find(header.seq - header.slot);
    return found != job.aggregations.end() && found->second.norms && found->second.done
               ? &found->second
               : nullptr;
  }
  static bool takes_part(const Job &job, const wire::Header &header) {
    const Aggregation *norms = agreed_norms(job, header);
    return norms != nullptr && (norms->bitmap & header.bitmap) != 0;
  }

  void contribution(Job &job, Address from, const wire::Header &header,
                    std::span<const std::uint8_t> lanes, Clock::time_point now) {
    const bool norms = header.type == PacketType::kNorm;
    const auto bytes = static_cast<std::size_t>(norms ? 4 : kPacketIndexBytes);
    const bool fits = norms ? header.format == ValueFormat::kFp32 && header.slot == 0 &&
                                  !lanes.empty() && lanes.size() % bytes == 0 &&
                                  lanes.size() / bytes <= kMaxChunkBlocks
                            : header.format == ValueFormat::kThcIndex4 && header.slot != 0 &&
                                  header.slot <= kMaxChunkPackets && lanes.size() == bytes;
    if (!fits || header.count != 1) {
      ++stats.malformed;
      return;
    }
    if (!norms && header.config != tag) {
      ++stats.mismatched;
      refuse(from, header, norms, tag, job.fan_in);
      return;
    }
    if (norms ? std::any_of(Lanes(lanes).begin(), Lanes(lanes).end(),
                            [](float v) { return !std::isfinite(v) || v < 0.0F; })
              : !std::all_of(lanes.begin(), lanes.end(),
                             [this](std::uint8_t byte) { return valid[byte]; })) {
      ++stats.malformed;
      return;
    }
    auto found = job.aggregations.find(header.seq);
    if (found == job.aggregations.end()) {
      if (is_forgotten(job, header.seq)) {
        ++stats.late;
        ++stats.forgotten;
        refuse(from, header, norms, header.config, job.fan_in);
        return;
      }
      Aggregation fresh;
      fresh.norms = norms;
      fresh.config = header.config;
      fresh.slot = header.slot;
      fresh.expected = everyone(job.fan_in);
      if (norms) {
        fresh.largest.assign(lanes.size() / 4, 0.0F);
      } else {
        const Aggregation *agreed = agreed_norms(job, header);
        if (agreed == nullptr || (agreed->bitmap & header.bitmap) == 0) {
          ++stats.late; // not of this round's workers
          return;
        }
        fresh.expected = agreed->bitmap;
        fresh.sums.assign(ref::kPacketCoordinates, 0);
      }
      make_room(job);
      job.order.push_back(header.seq);
      found = job.aggregations.emplace(header.seq, std::move(fresh)).first;
      if (options.quorum != 0) {
        due[norms ? 1 : 0].push_back({now + quorum_time(norms), header.job, job.epoch, header.seq});
      }
    }
    Aggregation &aggregation = found->second;
    if (aggregation.norms != norms || aggregation.slot != header.slot ||
        aggregation.config != header.config ||
        (norms && !aggregation.done && aggregation.largest.size() != lanes.size() / 4)) {
      ++stats.mismatched;
      refuse(from, header, norms, aggregation.config, job.fan_in);
      return;
    }
    if ((aggregation.bitmap & header.bitmap) != 0) {
      ++stats.duplicates;
      return;
    }
    if (aggregation.done) {
      // The sender may have missed the result.
      ++stats.late;
      repeat(job, header, aggregation, now);
      return;
    }
    if ((aggregation.expected & header.bitmap) == 0) {
      ++stats.late;
      return;
    }
    if (norms) {
      std::size_t i = 0;
      for (const float norm : Lanes(lanes)) {
        aggregation.largest[i] = std::max(aggregation.largest[i], norm);
        ++i;
      }
    } else {
      std::uint16_t *sum = aggregation.sums.data();
      for (const std::uint8_t byte : lanes) {
        const auto &pair = values[byte];
        sum[0] = static_cast<std::uint16_t>(sum[0] + pair[0]);
        sum[1] = static_cast<std::uint16_t>(sum[1] + pair[1]);
        sum += 2;
      }
    }
    aggregation.bitmap |= header.bitmap;
    ++stats.contributions;
    job.proved = true;
    ++job.contributions[static_cast<std::size_t>(std::countr_zero(header.bitmap))];
    const auto count = static_cast<unsigned>(std::popcount(aggregation.bitmap));
    if (aggregation.bitmap == aggregation.expected ||
        (aggregation.overdue && count >= quorum(aggregation.expected))) {
      finish(job, header.job, header.seq, aggregation);
    }
  }

  /// Big-endian floats of a packet.
  class Lanes {
  public:
    explicit Lanes(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
    class Iterator {
    public:
      using iterator_category = std::input_iterator_tag;
      using value_type = float;
      using difference_type = std::ptrdiff_t;
      using pointer = const float *;
      using reference = float;
      Iterator(std::span<const std::uint8_t> bytes, std::size_t at) : bytes_(bytes), at_(at) {}
      float operator*() const { return std::bit_cast<float>(load_be<std::uint32_t>(bytes_, at_)); }
      Iterator &operator++() {
        at_ += 4;
        return *this;
      }
      Iterator operator++(int) {
        Iterator before = *this;
        at_ += 4;
        return before;
      }
      bool operator==(const Iterator &other) const { return at_ == other.at_; }

    private:
      std::span<const std::uint8_t> bytes_;
      std::size_t at_;
    };
    [[nodiscard]] Iterator begin() const { return {bytes_, 0}; }
    [[nodiscard]] Iterator end() const { return {bytes_, bytes_.size()}; }

  private:
    std::span<const std::uint8_t> bytes_;
  };

  void receive(Address from, std::span<const std::uint8_t> datagram, Clock::time_point now) {
    ++stats.datagrams;
    stats.bytes_in += datagram.size();
    if (const auto version = wire::version_of(datagram); version && *version != wire::kVersion) {
      ++stats.mismatched; // any answer says which version is spoken here
      answer_start(from, PacketType::kStartResult, {}, {});
      return;
    }
    const auto header = wire::decode(datagram);
    if (!header) {
      ++stats.foreign;
      return;
    }
    const bool from_worker =
        header->type == PacketType::kNorm || header->type == PacketType::kData ||
        header->type == PacketType::kReminder || header->type == PacketType::kStart;
    if (!from_worker || header->job == 0 || header->fan_in < 1 || header->fan_in > kMaxWorkers ||
        !std::has_single_bit(header->bitmap) ||
        static_cast<unsigned>(std::countr_zero(header->bitmap)) >= header->fan_in) {
      ++stats.malformed;
      return;
    }
    const auto lanes = datagram.subspan(wire::kHeaderBytes);
    if (header->type == PacketType::kStart) {
      start(from, *header, lanes, now);
      return;
    }
    const auto found = jobs.find(header->job);
    if (found == jobs.end() || !belongs(found->second.now, from, *header)) {
      if (found == jobs.end() || !served_from_former(found->second, from, *header, now)) {
        refuse_start(from, *header, {});
      }
      return;
    }
    Job &job = found->second.now;
    job.heard[static_cast<std::size_t>(std::countr_zero(header->bitmap))] = now;
    job.last = now;
    if (header->type == PacketType::kReminder) {
      reminder(job, from, *header, now);
    } else {
      contribution(job, from, *header, lanes, now);
    }
  }

  std::optional<Clock::time_point> tick(Clock::time_point now) {
    for (auto &queue : due) {
      while (!queue.empty() && queue.front().when <= now) {
        const Due item = queue.front();
        queue.pop_front();
        const auto place = jobs.find(item.job);
        if (place == jobs.end() || place->second.now.epoch != item.epoch) {
          continue;
        }
        Job &job = place->second.now;
        if (!item.seq) {
          job.overdue = true;
          if (!job.begun &&
              static_cast<unsigned>(std::popcount(job.known)) >= quorum(everyone(job.fan_in))) {
            begin(job, item.job);
          }
          continue;
        }
        const auto found = job.aggregations.find(*item.seq);
        if (found == job.aggregations.end() || found->second.done) {
          continue;
        }
        found->second.overdue = true;
        if (static_cast<unsigned>(std::popcount(found->second.bitmap)) >=
            quorum(found->second.expected)) {
          finish(job, item.job, *item.seq, found->second);
        }
      }
    }
    for (auto job = jobs.begin(); job != jobs.end();) {
      if (now - job->second.now.last > options.job_timeout) {
        drop_unfinished(job->second.now);
        job = jobs.erase(job);
      } else {
        ++job;
      }
    }
    std::optional<Clock::time_point> next;
    for (const auto &queue : due) {
      if (!queue.empty() && (!next || queue.front().when < *next)) {
        next = queue.front().when;
      }
    }
    return next;
  }
};

AggregatorCore::AggregatorCore(const AggregatorOptions &options, Send send)
    : impl_(std::make_unique<Impl>(options, std::move(send))) {}
AggregatorCore::~AggregatorCore() = default;
AggregatorCore::AggregatorCore(AggregatorCore &&) noexcept = default;
AggregatorCore &AggregatorCore::operator=(AggregatorCore &&) noexcept = default;

Result<void> AggregatorCore::check_options(const AggregatorOptions &options) {
  KESTREL_TRY(check(Compression{options.table, ref::kMaxBlockLog2, 0}, 1));
  if (options.quorum > kMaxWorkers) {
    return fail(ErrorCode::kInvalidArgument, "quorum of {}: at most {} workers", options.quorum,
                kMaxWorkers);
  }
  if (options.quorum_timeout.count() < 0 || options.job_timeout.count() <= 0) {
    return fail(ErrorCode::kInvalidArgument, "quorum and job timeouts must be positive");
  }
  if (options.history < 4 * kMaxChunkPackets || options.max_jobs < 1) {
    return fail(ErrorCode::kInvalidArgument,
                "a history of {} aggregations: at least {} (four chunks) are needed, and one job",
                options.history, 4 * kMaxChunkPackets);
  }
  return {};
}

void AggregatorCore::receive(Address from, std::span<const std::uint8_t> datagram,
                             Clock::time_point now) {
  impl_->receive(from, datagram, now);
}
std::optional<AggregatorCore::Clock::time_point> AggregatorCore::tick(Clock::time_point now) {
  return impl_->tick(now);
}
const AggregatorStats &AggregatorCore::stats() const { return impl_->stats; }

std::vector<JobReport> AggregatorCore::jobs(Clock::time_point now) const {
  std::vector<JobReport> reports;
  for (const auto &[number, starts] : impl_->jobs) {
    const Job &job = starts.now;
    JobReport report;
    report.job = number;
    report.epoch = job.epoch;
    report.fan_in = job.fan_in;
    for (unsigned w = 0; w < job.fan_in; ++w) {
      WorkerReport worker;
      worker.known = (job.known >> w & 1) != 0;
      worker.contributions = job.contributions[w];
      worker.missed = job.missed[w];
      worker.silent = worker.known ? std::chrono::duration_cast<milliseconds>(now - job.heard[w])
                                   : milliseconds(0);
      report.workers.push_back(worker);
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

// --- in this process ---------------------------------------------------------------------------

struct LocalAggregator::Impl {
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<AggregatorCore::Address, std::deque<std::vector<std::uint8_t>>> inboxes;
  std::uint64_t next = 1;
  AggregatorCore core;

  explicit Impl(const AggregatorOptions &options)
      : core(options, [this](AggregatorCore::Address to, std::span<const std::uint8_t> datagram) {
          if (const auto inbox = inboxes.find(to); inbox != inboxes.end()) {
            inbox->second.emplace_back(datagram.begin(), datagram.end());
            arrived.notify_all();
          }
        }) {}
};

class LocalAggregator::LocalChannel final : public Channel {
public:
  explicit LocalChannel(std::shared_ptr<LocalAggregator> owner) : owner_(std::move(owner)) {
    Impl &impl = *owner_->impl_;
    const std::lock_guard lock(impl.mutex);
    address_ = impl.next++;
    impl.inboxes.emplace(address_, std::deque<std::vector<std::uint8_t>>());
  }
  ~LocalChannel() override {
    Impl &impl = *owner_->impl_;
    const std::lock_guard lock(impl.mutex);
    impl.inboxes.erase(address_);
  }
  LocalChannel(const LocalChannel &) = delete;
  LocalChannel &operator=(const LocalChannel &) = delete;

  Result<void> send(std::span<const std::uint8_t> datagram) override {
    Impl &impl = *owner_->impl_;
    const std::lock_guard lock(impl.mutex);
    impl.core.receive(address_, datagram, AggregatorCore::Clock::now());
    return {};
  }
  Result<std::optional<std::size_t>> receive(std::span<std::uint8_t> buffer,
                                             std::chrono::microseconds timeout) override {
    Impl &impl = *owner_->impl_;
    const auto end = AggregatorCore::Clock::now() + timeout;
    std::unique_lock lock(impl.mutex);
    auto &inbox = impl.inboxes.at(address_);
    for (;;) {
      const auto now = AggregatorCore::Clock::now();
      const auto due = impl.core.tick(now);
      if (!inbox.empty()) {
        const std::size_t size = std::min(inbox.front().size(), buffer.size());
        std::copy_n(inbox.front().begin(), size, buffer.begin());
        inbox.pop_front();
        return std::optional<std::size_t>(size);
      }
      if (now >= end) {
        return std::optional<std::size_t>();
      }
      impl.arrived.wait_until(lock, due ? std::min(end, *due) : end);
    }
  }
  std::string peer() const override { return "the aggregator in this process"; }

private:
  std::shared_ptr<LocalAggregator> owner_;
  AggregatorCore::Address address_ = 0;
};

LocalAggregator::LocalAggregator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalAggregator::~LocalAggregator() = default;

Result<std::shared_ptr<LocalAggregator>> LocalAggregator::create(const AggregatorOptions &options) {
  KESTREL_TRY(AggregatorCore::check_options(options));
  return std::shared_ptr<LocalAggregator>(
      new LocalAggregator(std::make_unique<LocalAggregator::Impl>(options)));
}
std::unique_ptr<Channel>
LocalAggregator::connect(const std::shared_ptr<LocalAggregator> &aggregator) {
  return std::make_unique<LocalChannel>(aggregator);
}
AggregatorStats LocalAggregator::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->core.stats();
}
std::vector<JobReport> LocalAggregator::jobs() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->core.jobs(AggregatorCore::Clock::now());
}

} // namespace kestrel::thc
