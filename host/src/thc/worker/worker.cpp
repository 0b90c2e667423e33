// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/worker.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kestrel/bytes.hpp"
#include "sw_ref/thc/fast.hpp"
#include "sw_ref/thc/fixed.hpp"
#include "sw_ref/thc/threefry.hpp"

namespace kestrel::thc {
namespace {

/// Chunks whose norms are under way while a chunk is compressed. The aggregator keeps norms for as
/// long as the packets of this many chunks (AggregatorOptions::history).
constexpr std::size_t kNormsAhead = 2;

constexpr std::uint32_t kStateMagic = 0x4354534B; // "KSTC"
constexpr std::uint32_t kStateVersion = 1;

struct Block {
  std::size_t first; ///< coordinate
  int log2;
  std::size_t size() const { return std::size_t{1} << log2; }
  std::size_t packets() const { return size() / ref::kPacketCoordinates; }
};

struct Chunk {
  std::size_t first_block = 0;
  std::size_t blocks = 0;
  std::size_t packets = 0;
};

std::vector<Block> make_blocks(std::size_t count, int max_log2) {
  std::vector<Block> blocks;
  std::size_t first = 0;
  for (const int log2 : ref::split_blocks(count, max_log2)) {
    blocks.push_back({first, log2});
    first += blocks.back().size();
  }
  return blocks;
}

std::vector<Chunk> make_chunks(const std::vector<Block> &blocks) {
  std::vector<Chunk> chunks;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (chunks.empty() || chunks.back().blocks == kMaxChunkBlocks ||
        chunks.back().packets + blocks[b].packets() > kMaxChunkPackets) {
      chunks.push_back({b, 0, 0});
    }
    ++chunks.back().blocks;
    chunks.back().packets += blocks[b].packets();
  }
  return chunks;
}

double squared(std::span<const float> values) {
  double sum = 0.0;
  for (const float v : values) {
    sum += static_cast<double>(v) * v;
  }
  return sum;
}

} // namespace

struct Worker::Impl {
  WorkerOptions options;
  std::unique_ptr<Transport> transport;
  WorkerStats stats;
  std::uint32_t round = 0;
  std::map<std::string, std::vector<float>, std::less<>> feedback;

  // Of the round in progress.
  std::vector<float> y;     ///< padded: tensor plus error feedback, then the mean
  std::vector<float> error; ///< padded: what the indices do not say
  std::vector<Block> blocks;
  std::vector<Chunk> chunks;
  std::vector<ref::BlockScale> scales;
  std::vector<std::uint8_t> packed; ///< own indices
  std::vector<bool> abstained;      ///< a block of which nothing was sent
  ref::Words2 signs{};
  ref::FastCodec codec;
  std::vector<float> unsaid; ///< work space of keep_missed()
  std::vector<std::uint16_t> own_values;

  explicit Impl(const WorkerOptions &o)
      : options(o), codec(o.compression.table, o.compression.block_log2) {}

  std::span<float> of(std::vector<float> &values, const Block &block) const {
    return std::span(values).subspan(block.first, block.size());
  }

  std::span<std::uint8_t> packed_of(const Block &block) {
    return std::span(packed).subspan(block.first / 2, block.size() / 2);
  }

  Result<void> run(std::span<float> tensor, std::span<float> kept) {
    if (tensor.empty()) {
      return fail(ErrorCode::kInvalidArgument, "a tensor without coordinates has no mean");
    }
    if (!kept.empty() && kept.size() != tensor.size()) {
      return fail(ErrorCode::kShapeMismatch,
                  "error feedback of {} coordinates for a tensor of {} coordinates", kept.size(),
                  tensor.size());
    }
    y.resize(ref::padded_size(tensor.size()));
    error.resize(y.size());
    std::copy(kept.begin(), kept.end(), error.begin());
    std::fill(error.begin() + static_cast<std::ptrdiff_t>(kept.size()), error.end(), 0.0F);
    if (const auto bad = codec.add(tensor, error, y)) {
      const float x = tensor[*bad];
      return fail(ErrorCode::kInvalidArgument,
                  "coordinate {} of the tensor is {}{}: gradients must be finite", *bad, x,
                  std::isfinite(x) ? fmt::format(" and its error feedback {}", error[*bad]) : "");
    }
    blocks = make_blocks(tensor.size(), options.compression.block_log2);
    chunks = make_chunks(blocks);
    scales.assign(blocks.size(), {});
    packed.resize(y.size() / 2);
    abstained.assign(blocks.size(), false);
    std::vector<float> norms(blocks.size());
    codec.norms(y, norms);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      if (!std::isfinite(norms[b])) {
        return fail(
            ErrorCode::kInvalidArgument,
            "coordinates {} to {} of the tensor: their norm exceeds the largest fp32 number",
            blocks[b].first, std::min(tensor.size(), blocks[b].first + blocks[b].size()) - 1);
      }
    }

    RoundPlan plan;
    // Even when this round fails the next one has another number, as on the other workers.
    const std::uint32_t number = round++;
    plan.tag = round_tag(options.compression, number, tensor.size());
    for (const Chunk &chunk : chunks) {
      plan.chunks.push_back({chunk.blocks, chunk.packets});
    }
    signs = ref::sign_key(options.compression.seed, number);
    const double energy = options.measure ? squared(y) : 0.0;
    stats.fewest_contributors = transport->workers();

    KESTREL_TRY(transport->begin(plan));
    std::size_t posted = 0;
    std::size_t decoded = 0;
    for (std::size_t c = 0; c < chunks.size(); ++c) {
      for (; posted < std::min(chunks.size(), c + 1 + kNormsAhead); ++posted) {
        KESTREL_TRY(transport->post_norms(
            posted, std::span(norms).subspan(chunks[posted].first_block, chunks[posted].blocks)));
      }
      KESTREL_TRY(compress(c, number));
      while (decoded < c && transport->ready(decoded)) {
        KESTREL_TRY(decode(decoded++));
      }
    }
    while (decoded < chunks.size()) {
      KESTREL_TRY(decode(decoded++));
    }
    if (options.measure) {
      stats.own_nmse = energy > 0.0 ? squared(error) / energy : 0.0;
    }
    std::copy_n(y.begin(), tensor.size(), tensor.begin());
    std::copy_n(error.begin(), kept.size(), kept.begin());
    ++stats.tensors;
    stats.coordinates += tensor.size();
    return {};
  }

  Result<void> compress(std::size_t c, std::uint32_t number) {
    const Chunk &chunk = chunks[c];
    KESTREL_ASSIGN(const AgreedNorms agreed, transport->wait_norms(c));
    const bool member = (agreed.workers >> transport->rank() & 1) != 0;
    stats.abstained += member ? 0 : 1;
    const ref::Words2 noise = ref::noise_key(options.compression.seed, number, transport->rank());
    std::size_t packet = 0;
    for (std::size_t i = 0; i < chunk.blocks; ++i) {
      const std::size_t b = chunk.first_block + i;
      scales[b] = ref::make_scale(agreed.norms[i], options.compression.table);
      const auto values = of(y, blocks[b]);
      if (!member) { // nothing of it is sent: all of it is kept
        std::copy(values.begin(), values.end(), of(error, blocks[b]).begin());
        abstained[b] = true;
        continue;
      }
      const auto bytes = packed_of(blocks[b]);
      const ref::Flags flags = codec.compress(values, std::span(scales).subspan(b, 1), signs, noise,
                                              blocks[b].first, bytes, of(error, blocks[b]));
      stats.out_of_range += flags.out_of_range ? 1 : 0;
      KESTREL_TRY(transport->post_indices(c, packet, bytes));
      packet += blocks[b].packets();
    }
    return {};
  }

  Result<void> decode(std::size_t c) {
    const Chunk &chunk = chunks[c];
    KESTREL_ASSIGN(const ChunkSums received, transport->wait_sums(c));
    const std::uint32_t own = 1U << transport->rank();
    std::size_t packet = 0;
    for (std::size_t i = 0; i < chunk.blocks; ++i) {
      const std::size_t b = chunk.first_block + i;
      const std::size_t packets = blocks[b].packets();
      std::vector<std::uint8_t> contributors(packets);
      std::vector<std::uint8_t> missed(packets);
      bool any_missed = false;
      for (std::size_t p = 0; p < packets; ++p) {
        const std::uint32_t workers = received.workers[packet + p];
        const auto count = static_cast<unsigned>(std::popcount(workers));
        if (count == 0) {
          return fail(ErrorCode::kUnavailable, "packet {} of chunk {}: no worker contributed",
                      packet + p, c);
        }
        contributors[p] = static_cast<std::uint8_t>(count);
        stats.fewest_contributors = std::min(stats.fewest_contributors, count);
        stats.incomplete += count < transport->workers() ? 1 : 0;
        missed[p] = (workers & own) == 0 ? 1 : 0;
        stats.lost += missed[p];
        any_missed = any_missed || missed[p] != 0;
      }
      stats.packets += packets;
      if (any_missed && !abstained[b]) {
        keep_missed(b, missed);
      }
      const auto sums = received.sums.subspan(packet * ref::kPacketCoordinates, blocks[b].size());
      codec.decompress(sums, contributors, std::span(scales).subspan(b, 1), signs, blocks[b].first,
                       of(y, blocks[b]));
      packet += packets;
    }
    return {};
  }

  /// The error feedback supposes that every packet was counted: what the uncounted ones would have
  /// said is added to it. e = DH[z - counted * deq] = DH[z - deq] + DH[uncounted * deq].
  void keep_missed(std::size_t b, const std::vector<std::uint8_t> &missed) {
    own_values.resize(blocks[b].size());
    unsaid.resize(blocks[b].size());
    codec.aggregate(packed_of(blocks[b]), own_values, ref::FastCodec::Sums::Overwrite);
    codec.decompress(own_values, missed, std::span(scales).subspan(b, 1), signs, blocks[b].first,
                     unsaid);
    const auto kept = of(error, blocks[b]);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      kept[i] = ref::add_ftz(kept[i], unsaid[i]);
    }
  }
};

Worker::Worker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Worker::~Worker() = default;

Result<std::unique_ptr<Worker>> Worker::create(const WorkerOptions &options,
                                               std::unique_ptr<Transport> transport) {
  KESTREL_TRY(check(options.compression, transport->workers()));
  auto impl = std::make_unique<Impl>(options);
  impl->transport = std::move(transport);
  return std::unique_ptr<Worker>(new Worker(std::move(impl)));
}

Result<void> Worker::all_reduce_mean(std::span<float> tensor, std::string_view key) {
  if (!impl_->options.error_feedback) {
    return impl_->run(tensor, {});
  }
  const auto found = impl_->feedback.find(key);
  if (found == impl_->feedback.end()) {
    std::vector<float> fresh(tensor.size());
    KESTREL_TRY(impl_->run(tensor, fresh));
    impl_->feedback.emplace(std::string(key), std::move(fresh));
    return {};
  }
  if (found->second.size() != tensor.size()) {
    return fail(ErrorCode::kShapeMismatch,
                "tensor '{}' has {} coordinates, its error feedback has {}", key, tensor.size(),
                found->second.size());
  }
  return impl_->run(tensor, found->second);
}

Result<void> Worker::all_reduce_mean(std::span<float> tensor, std::span<float> error) {
  return impl_->run(tensor, error);
}

unsigned Worker::rank() const { return impl_->transport->rank(); }
unsigned Worker::workers() const { return impl_->transport->workers(); }
std::uint32_t Worker::round() const { return impl_->round; }
WorkerStats Worker::stats() const {
  WorkerStats stats = impl_->stats;
  stats.transport = impl_->transport->stats();
  return stats;
}

std::vector<std::uint8_t> Worker::save_state() const {
  std::vector<std::uint8_t> bytes;
  append_le<std::uint32_t>(bytes, kStateMagic);
  append_le<std::uint32_t>(bytes, kStateVersion);
  append_le<std::uint16_t>(bytes, round_tag(impl_->options.compression, 0, 0));
  append_le<std::uint8_t>(bytes, static_cast<std::uint8_t>(rank()));
  append_le<std::uint8_t>(bytes, static_cast<std::uint8_t>(workers()));
  append_le<std::uint32_t>(bytes, impl_->round);
  append_le<std::uint32_t>(bytes, impl_->transport->sequence());
  append_le<std::uint32_t>(bytes, static_cast<std::uint32_t>(impl_->feedback.size()));
  for (const auto &[key, values] : impl_->feedback) {
    append_le<std::uint32_t>(bytes, static_cast<std::uint32_t>(key.size()));
    bytes.insert(bytes.end(), key.begin(), key.end());
    append_le<std::uint64_t>(bytes, values.size());
    for (const float v : values) {
      append_le<float>(bytes, v);
    }
  }
  return bytes;
}

Result<void> Worker::load_state(std::span<const std::uint8_t> state) {
  std::size_t at = 0;
  const auto take = [&]<typename T>(T &value) {
    const auto got = try_load_le<T>(state, at);
    value = got.value_or(T{});
    at += sizeof(T);
    return got.has_value();
  };
  const auto damaged = [] {
    return fail(ErrorCode::kParse, "saved worker state: truncated or not one");
  };
  std::uint32_t magic = 0;
  std::uint32_t version = 0;
  std::uint16_t tag = 0;
  std::uint8_t its_rank = 0;
  std::uint8_t its_workers = 0;
  std::uint32_t its_round = 0;
  std::uint32_t sequence = 0;
  std::uint32_t count = 0;
  if (!take(magic) || magic != kStateMagic || !take(version)) {
    return damaged();
  }
  if (version != kStateVersion) {
    return fail(ErrorCode::kVersionMismatch, "saved worker state: version {}, this is {}", version,
                kStateVersion);
  }
  if (!take(tag) || !take(its_rank) || !take(its_workers) || !take(its_round) || !take(sequence) ||
      !take(count)) {
    return damaged();
  }
  if (tag != round_tag(impl_->options.compression, 0, 0) || its_rank != rank() ||
      its_workers != workers()) {
    return fail(ErrorCode::kVersionMismatch,
                "saved worker state: of rank {} of {} with compression tag {:04x}, this is rank {} "
                "of {} with {:04x}",
                its_rank, its_workers, tag, rank(), workers(),
                round_tag(impl_->options.compression, 0, 0));
  }
  std::map<std::string, std::vector<float>, std::less<>> feedback;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t length = 0;
    if (!take(length) || length > state.size() - at) {
      return damaged();
    }
    std::string key(reinterpret_cast<const char *>(state.data() + at), length);
    at += length;
    std::uint64_t size = 0;
    if (!take(size) || size > (state.size() - at) / sizeof(float)) {
      return damaged();
    }
    std::vector<float> values(static_cast<std::size_t>(size));
    for (float &v : values) {
      if (!take(v) || !std::isfinite(v)) {
        return damaged();
      }
    }
    feedback.emplace(std::move(key), std::move(values));
  }
  if (at != state.size()) {
    return damaged();
  }
  impl_->feedback = std::move(feedback);
  impl_->round = its_round;
  impl_->transport->set_sequence(sequence);
  return {};
}

} // namespace kestrel::thc
