// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A compiled network: everything a vision engine needs to run it, in one file.
//
// The memory image goes to PKG_BASE as it is; the descriptors lie inside it. IN, OUT and SCRATCH
// are three further regions of external memory of the sizes given here. All four bases are
// multiples of 128. Semantics: docs/vision_engine.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel::hv {

/// How the input lies in the IN region.
enum class InputLayout : std::uint8_t {
  kRaw = 0,  ///< [pixel][channels], no padding (LOAD mode RAW; up to 8 channels)
  kNhwc = 1, ///< [pixel][padded_channels], padding bytes 0 (LOAD mode NHWC)
};

/// The network's input: int8 [1, height, width, channels] (or [1, channels]: one pixel).
struct InputSpec {
  std::vector<std::int32_t> shape; ///< as in the model
  float scale = 0.0F;
  std::int32_t zero_point = 0;
  InputLayout layout = InputLayout::kRaw;
  std::uint32_t pixels = 0;
  std::uint32_t channels = 0;
  std::uint32_t padded_channels = 0; ///< = channels for kRaw

  /// int8 values of one input.
  [[nodiscard]] std::size_t elements() const { return static_cast<std::size_t>(pixels) * channels; }
  friend bool operator==(const InputSpec &, const InputSpec &) = default;
};

/// Where the result lies in the OUT region.
enum class OutputLayout : std::uint8_t {
  kSoftmax = 0, ///< `channels` bytes, written by the confidence unit
  kPlanar = 1,  ///< [block][channel group][pixel][word bytes], written by STORE
};

/// The network's output, int8.
struct OutputSpec {
  std::vector<std::int32_t> shape; ///< as in the model
  float scale = 0.0F;
  std::int32_t zero_point = 0;
  OutputLayout layout = OutputLayout::kSoftmax;
  std::uint32_t offset = 0; ///< byte offset from OUT_BASE
  std::uint32_t pixels = 1;
  std::uint32_t block_pixels = 1; ///< of a block (kPlanar); the last may be shorter
  std::uint32_t channels = 0;

  /// int8 values of one output.
  [[nodiscard]] std::size_t elements() const { return static_cast<std::size_t>(pixels) * channels; }
  friend bool operator==(const OutputSpec &, const OutputSpec &) = default;
};

/// What limits a layer's predicted time.
enum class Bound : std::uint8_t {
  kNone = 0,    ///< costs nothing (folded into another layer)
  kMac = 1,     ///< the multiplier array
  kRequant = 2, ///< requantisation lanes (few products per output)
  kFetch = 3,   ///< operand fetch (bank conflicts)
  kWeights = 4, ///< the weight stream
  kLoad = 5,    ///< activations from or to external memory
};
[[nodiscard]] const char *to_string(Bound bound) noexcept;

/// One line of the compiler's table: one operator of the model, in execution order. Cycles are a
/// static estimate of the layer alone; the exact count of a whole run comes from the cycle model.
struct LayerInfo {
  std::string name;               ///< name of the operator's output tensor
  std::string op;                 ///< TensorFlow Lite operator name; "+ADD" when one is fused
  std::string note;               ///< how it was lowered, e.g. "fused into the producer"
  std::uint64_t macs = 0;         ///< of the operator as the model defines it
  std::uint64_t cycles = 0;       ///< predicted
  double utilisation = 0.0;       ///< macs / (MAC lanes * cycles), 0..1
  std::uint64_t weight_bytes = 0; ///< streamed from external memory
  std::uint64_t load_bytes = 0;   ///< activations read from external memory
  std::uint64_t store_bytes = 0;  ///< activations written to external memory
  Bound bound = Bound::kNone;
  std::uint32_t groups_per_tile = 0;  ///< the tiling G; 0 when the operator makes no descriptor
  std::uint32_t first_descriptor = 0; ///< index of its first compute descriptor
  std::uint32_t descriptors = 0;      ///< compute descriptors of this layer
  friend bool operator==(const LayerInfo &, const LayerInfo &) = default;
};

/// softmax exponentials exp(-i * beta * scale) in Q0.31, written to the device's exp table.
using ExpTableImage = std::array<std::int32_t, 256>;

struct Package {
  std::uint32_t contract_version = 0; ///< major << 16 | minor of the hardware contract
  std::string config_name;            ///< "edge"
  std::string model_name;
  std::string source_hash; ///< of the model file, given by the caller; informative

  std::vector<std::uint8_t> image;     ///< goes to PKG_BASE: weight segments and descriptors
  std::uint32_t descriptor_offset = 0; ///< of the first one in `image`, multiple of 128
  std::uint32_t descriptor_count = 0;  ///< END included

  std::uint32_t in_bytes = 0;      ///< size of the IN region, whole bus bursts
  std::uint32_t out_bytes = 0;     ///< size of the OUT region
  std::uint32_t scratch_bytes = 0; ///< size of the SCRATCH region, 0 when unused

  InputSpec input;
  OutputSpec output;
  bool has_confidence = false; ///< the program ends in a CONF descriptor
  ExpTableImage exp_table{};   ///< all zero without CONF

  std::uint64_t macs = 0; ///< of the network, what utilisation is measured against
  std::uint64_t estimated_cycles = 0;
  std::uint32_t act_rows_used = 0; ///< highest activation row used + 1
  std::vector<LayerInfo> layers;

  /// The 128 bytes of descriptor `index`. Precondition: index < descriptor_count, a package that
  /// passed verify_package or came from compile.
  [[nodiscard]] std::span<const std::uint8_t> descriptor(std::uint32_t index) const {
    return std::span<const std::uint8_t>(image).subspan(
        descriptor_offset + static_cast<std::size_t>(index) * kDescriptorBytes, kDescriptorBytes);
  }
  static constexpr std::size_t kDescriptorBytes = 128;

  friend bool operator==(const Package &, const Package &) = default;
};

/// The file's bytes: magic, format version, contract version, sections with length and CRC-32.
[[nodiscard]] std::vector<std::uint8_t> serialize(const Package &package);

/// Reads what serialize() wrote and verifies it (verify_package of compiler.hpp). `name` is named
/// in messages. Errors: kParse (not a package, truncated, damaged), kVersionMismatch (format or
/// contract version, unknown configuration).
[[nodiscard]] Result<Package> parse_package(std::span<const std::uint8_t> bytes,
                                            const std::string &name);

[[nodiscard]] Result<void> save_package(const Package &package, const std::string &path);
[[nodiscard]] Result<Package> load_package(const std::string &path);

/// The bytes of the IN region (in_bytes long) for an input of the model: int8 NHWC of
/// input.elements() values. Error: kShapeMismatch.
[[nodiscard]] Result<std::vector<std::uint8_t>> pack_input(const Package &package,
                                                           std::span<const std::int8_t> input);

/// The model's output (int8, row-major as output.shape) from the bytes of the OUT region.
/// Error: kShapeMismatch when `out` is shorter than out_bytes.
[[nodiscard]] Result<std::vector<std::int8_t>> unpack_output(const Package &package,
                                                             std::span<const std::uint8_t> out);

} // namespace kestrel::hv
