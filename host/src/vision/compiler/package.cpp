// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The package file. Layout, all little-endian:
//
//   8 bytes  magic "KESTRLHV"
//   u32      format version, u32 contract version, u32 number of sections
//   section: u32 tag, u32 CRC-32 of the data, u64 length, data
//
// Sections META (names, sizes, specs, table), IMAG (memory image), EXPT (exponentials, only with a
// confidence unit program), in this order, nothing behind them.
#include "kestrel/vision/package.hpp"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "kestrel/bytes.hpp"
#include "kestrel/contract/vision.hpp"
#include "kestrel/file.hpp"
#include "kestrel/vision/compiler.hpp"

namespace kestrel::hv {
namespace {

constexpr std::string_view kMagic = "KESTRLHV";
constexpr std::uint32_t kFormatVersion = 1;
constexpr std::size_t kHeaderBytes = 8 + 3 * 4;
constexpr std::size_t kSectionHeaderBytes = 16;

constexpr std::uint32_t tag(const char (&text)[5]) {
  return static_cast<std::uint32_t>(text[0]) | static_cast<std::uint32_t>(text[1]) << 8 |
         static_cast<std::uint32_t>(text[2]) << 16 | static_cast<std::uint32_t>(text[3]) << 24;
}
constexpr std::uint32_t kTagMeta = tag("META");
constexpr std::uint32_t kTagImage = tag("IMAG");
constexpr std::uint32_t kTagExpTable = tag("EXPT");

std::uint32_t crc(std::span<const std::uint8_t> bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, bytes.data(), bytes.size()));
}

class Writer {
public:
  template <LittleEndianScalar T> void put(T value) { append_le<T>(bytes_, value); }
  void put(const std::string &text) {
    put(static_cast<std::uint32_t>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  void put(const std::vector<std::int32_t> &values) {
    put(static_cast<std::uint32_t>(values.size()));
    for (const std::int32_t v : values)
      put(v);
  }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

private:
  std::vector<std::uint8_t> bytes_;
};

// Reads what Writer wrote; once something does not fit, everything reads as zero and ok() is false.
class Reader {
public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  template <LittleEndianScalar T> void get(T &value) {
    const auto read = try_load_le<T>(bytes_, at_);
    ok_ = ok_ && read.has_value();
    value = ok_ ? *read : T{};
    at_ += sizeof(T);
  }
  void get(std::string &text) {
    const std::size_t n = count(1);
    text.assign(reinterpret_cast<const char *>(bytes_.data()) + (ok_ ? at_ : 0), n);
    at_ += n;
  }
  void get(std::vector<std::int32_t> &values) {
    values.resize(count(4));
    for (std::int32_t &v : values)
      get(v);
  }
  // A count of elements of at least `size` bytes each.
  std::size_t count(std::size_t size) {
    std::uint32_t n = 0;
    get(n);
    if (ok_ && n > (bytes_.size() - at_) / size)
      ok_ = false;
    return ok_ ? n : 0;
  }
  void fail() { ok_ = false; }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && at_ == bytes_.size(); }

private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

// An enum stored as a byte, at most `last`.
template <class E> void get_enum(Reader &in, E &value, E last) {
  std::uint8_t raw = 0;
  in.get(raw);
  if (raw > static_cast<std::uint8_t>(last)) {
    in.fail();
    raw = 0;
  }
  value = static_cast<E>(raw);
}

std::vector<std::uint8_t> write_meta(const Package &p) {
  Writer out;
  out.put(p.config_name);
  out.put(p.model_name);
  out.put(p.source_hash);
  out.put(p.descriptor_offset);
  out.put(p.descriptor_count);
  out.put(p.in_bytes);
  out.put(p.out_bytes);
  out.put(p.scratch_bytes);
  out.put(p.input.shape);
  out.put(p.input.scale);
  out.put(p.input.zero_point);
  out.put(static_cast<std::uint8_t>(p.input.layout));
  out.put(p.input.pixels);
  out.put(p.input.channels);
  out.put(p.input.padded_channels);
  out.put(p.output.shape);
  out.put(p.output.scale);
  out.put(p.output.zero_point);
  out.put(static_cast<std::uint8_t>(p.output.layout));
  out.put(p.output.offset);
  out.put(p.output.pixels);
  out.put(p.output.block_pixels);
  out.put(p.output.channels);
  out.put(static_cast<std::uint8_t>(p.has_confidence ? 1 : 0));
  out.put(p.macs);
  out.put(p.estimated_cycles);
  out.put(p.act_rows_used);
  out.put(static_cast<std::uint32_t>(p.layers.size()));
  for (const LayerInfo &l : p.layers) {
    out.put(l.name);
    out.put(l.op);
    out.put(l.note);
    out.put(l.macs);
    out.put(l.cycles);
    out.put(l.utilisation);
    out.put(l.weight_bytes);
    out.put(l.load_bytes);
    out.put(l.store_bytes);
    out.put(static_cast<std::uint8_t>(l.bound));
    out.put(l.groups_per_tile);
    out.put(l.first_descriptor);
    out.put(l.descriptors);
  }
  return out.take();
}

bool read_meta(std::span<const std::uint8_t> bytes, Package &p) {
  Reader in(bytes);
  in.get(p.config_name);
  in.get(p.model_name);
  in.get(p.source_hash);
  in.get(p.descriptor_offset);
  in.get(p.descriptor_count);
  in.get(p.in_bytes);
  in.get(p.out_bytes);
  in.get(p.scratch_bytes);
  in.get(p.input.shape);
  in.get(p.input.scale);
  in.get(p.input.zero_point);
  get_enum(in, p.input.layout, InputLayout::kNhwc);
  in.get(p.input.pixels);
  in.get(p.input.channels);
  in.get(p.input.padded_channels);
  in.get(p.output.shape);
  in.get(p.output.scale);
  in.get(p.output.zero_point);
  get_enum(in, p.output.layout, OutputLayout::kPlanar);
  in.get(p.output.offset);
  in.get(p.output.pixels);
  in.get(p.output.block_pixels);
  in.get(p.output.channels);
  std::uint8_t has_confidence = 0;
  in.get(has_confidence);
  if (has_confidence > 1)
    in.fail();
  p.has_confidence = has_confidence == 1;
  in.get(p.macs);
  in.get(p.estimated_cycles);
  in.get(p.act_rows_used);
  constexpr std::size_t kSmallestLayer = 3 * 4 + 6 * 8 + 1 + 3 * 4;
  p.layers.resize(in.count(kSmallestLayer));
  for (LayerInfo &l : p.layers) {
    in.get(l.name);
    in.get(l.op);
    in.get(l.note);
    in.get(l.macs);
    in.get(l.cycles);
    in.get(l.utilisation);
    in.get(l.weight_bytes);
    in.get(l.load_bytes);
    in.get(l.store_bytes);
    get_enum(in, l.bound, Bound::kLoad);
    in.get(l.groups_per_tile);
    in.get(l.first_descriptor);
    in.get(l.descriptors);
  }
  return in.done();
}

void append_section(std::vector<std::uint8_t> &out, std::uint32_t section_tag,
                    std::span<const std::uint8_t> data) {
  append_le<std::uint32_t>(out, section_tag);
  append_le<std::uint32_t>(out, crc(data));
  append_le<std::uint64_t>(out, data.size());
  out.insert(out.end(), data.begin(), data.end());
}

std::string tag_name(std::uint32_t section_tag) {
  std::string name;
  for (int i = 0; i < 4; ++i) {
    const char c = static_cast<char>(section_tag >> (8 * i));
    name += c >= 'A' && c <= 'Z' ? c : '?';
  }
  return name;
}

} // namespace

const char *to_string(Bound bound) noexcept {
  switch (bound) {
  case Bound::kNone:
    return "none";
  case Bound::kMac:
    return "mac";
  case Bound::kRequant:
    return "requant";
  case Bound::kFetch:
    return "fetch";
  case Bound::kWeights:
    return "weights";
  case Bound::kLoad:
    return "load";
  }
  return "?";
}

std::vector<std::uint8_t> serialize(const Package &package) {
  std::vector<std::uint8_t> out(kMagic.begin(), kMagic.end());
  append_le<std::uint32_t>(out, kFormatVersion);
  append_le<std::uint32_t>(out, package.contract_version);
  append_le<std::uint32_t>(out, package.has_confidence ? 3 : 2);
  append_section(out, kTagMeta, write_meta(package));
  append_section(out, kTagImage, package.image);
  if (package.has_confidence) {
    std::vector<std::uint8_t> table;
    for (const std::int32_t v : package.exp_table)
      append_le<std::int32_t>(table, v);
    append_section(out, kTagExpTable, table);
  }
  return out;
}

Result<Package> parse_package(std::span<const std::uint8_t> bytes, const std::string &name) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    return fail(ErrorCode::kParse, "{}: not a package of a compiled network", name);
  const auto format = load_le<std::uint32_t>(bytes, 8);
  if (format != kFormatVersion) {
    return fail(ErrorCode::kVersionMismatch,
                "{}: package format {}; this program reads format {}: compile the model again",
                name, format, kFormatVersion);
  }
  Package package;
  package.contract_version = load_le<std::uint32_t>(bytes, 12);
  if (package.contract_version != contract::kVersion) {
    return fail(ErrorCode::kVersionMismatch,
                "{}: made for hardware contract {}.{}; this program supports {}.{}: compile the "
                "model again",
                name, package.contract_version >> 16, package.contract_version & 0xFFFF,
                contract::kVersionMajor, contract::kVersionMinor);
  }
  const auto sections = load_le<std::uint32_t>(bytes, 16);
  constexpr std::uint32_t kOrder[] = {kTagMeta, kTagImage, kTagExpTable};
  if (sections < 2 || sections > 3)
    return fail(ErrorCode::kParse, "{}: {} sections; 2 or 3 are expected", name, sections);
  std::size_t at = kHeaderBytes;
  for (std::uint32_t i = 0; i < sections; ++i) {
    const std::string what = tag_name(kOrder[i]);
    if (bytes.size() - at < kSectionHeaderBytes)
      return fail(ErrorCode::kParse, "{}: truncated before section {}", name, what);
    const auto found = load_le<std::uint32_t>(bytes, at);
    const auto sum = load_le<std::uint32_t>(bytes, at + 4);
    const auto length = load_le<std::uint64_t>(bytes, at + 8);
    at += kSectionHeaderBytes;
    if (found != kOrder[i])
      return fail(ErrorCode::kParse, "{}: section {} where {} is expected", name, tag_name(found),
                  what);
    if (length > bytes.size() - at)
      return fail(ErrorCode::kParse, "{}: truncated in section {}", name, what);
    const auto data = bytes.subspan(at, static_cast<std::size_t>(length));
    at += data.size();
    if (crc(data) != sum)
      return fail(ErrorCode::kParse, "{}: section {} is damaged (checksum)", name, what);
    if (found == kTagMeta) {
      if (!read_meta(data, package))
        return fail(ErrorCode::kParse, "{}: section {} is malformed", name, what);
    } else if (found == kTagImage) {
      package.image.assign(data.begin(), data.end());
    } else {
      if (data.size() != package.exp_table.size() * 4)
        return fail(ErrorCode::kParse, "{}: section {} is malformed", name, what);
      for (std::size_t k = 0; k < package.exp_table.size(); ++k)
        package.exp_table[k] = load_le<std::int32_t>(data, 4 * k);
    }
  }
  if (at != bytes.size())
    return fail(ErrorCode::kParse, "{}: {} bytes behind the last section", name, bytes.size() - at);
  if (package.has_confidence != (sections == 3))
    return fail(ErrorCode::kParse, "{}: the exponential table is missing or not wanted", name);
  if (const auto verified = verify_package(package); !verified)
    return fail(verified.error().code, "{}: {}", name, verified.error().message);
  return package;
}

Result<void> save_package(const Package &package, const std::string &path) {
  const std::vector<std::uint8_t> bytes = serialize(package);
  return write_file(path, bytes);
}

Result<Package> load_package(const std::string &path) {
  constexpr std::int64_t kMaxFile = std::int64_t{1} << 32;
  KESTREL_ASSIGN(const auto bytes, read_file(path, kMaxFile));
  return parse_package(bytes, path);
}

Result<std::vector<std::uint8_t>> pack_input(const Package &package,
                                             std::span<const std::int8_t> input) {
  const InputSpec &spec = package.input;
  if (input.size() != spec.elements()) {
    return fail(ErrorCode::kShapeMismatch, "input has {} values; model '{}' takes {}", input.size(),
                package.model_name, spec.elements());
  }
  std::vector<std::uint8_t> bytes(package.in_bytes, 0);
  const std::size_t from = spec.channels, to = spec.padded_channels;
  if (static_cast<std::size_t>(spec.pixels) * to > bytes.size())
    return fail(ErrorCode::kInvalidArgument, "package '{}': IN region too small",
                package.model_name);
  for (std::size_t p = 0; p < spec.pixels; ++p)
    std::memcpy(bytes.data() + p * to, input.data() + p * from, from);
  return bytes;
}

Result<std::vector<std::int8_t>> unpack_output(const Package &package,
                                               std::span<const std::uint8_t> out) {
  const OutputSpec &spec = package.output;
  const contract::Config *config = contract::find_config(package.config_name);
  if (config == nullptr || out.size() < package.out_bytes) {
    return fail(ErrorCode::kShapeMismatch, "OUT region has {} bytes; model '{}' writes {}",
                out.size(), package.model_name, package.out_bytes);
  }
  const std::size_t wb = config->word_bytes;
  const std::size_t groups = (spec.channels + wb - 1) / wb;
  const std::size_t needed = spec.layout == OutputLayout::kSoftmax
                                 ? spec.channels
                                 : groups * static_cast<std::size_t>(spec.pixels) * wb;
  if (spec.offset > out.size() || out.size() - spec.offset < needed)
    return fail(ErrorCode::kShapeMismatch, "OUT region of model '{}' is too small",
                package.model_name);
  const auto bytes = as_i8(out.subspan(spec.offset, needed));
  if (spec.layout == OutputLayout::kSoftmax)
    return std::vector<std::int8_t>(bytes.begin(), bytes.end());
  std::vector<std::int8_t> values(spec.elements());
  for (std::size_t p = 0; p < spec.pixels; ++p) {
    const std::size_t block = p / spec.block_pixels * spec.block_pixels;
    const std::size_t size = std::min<std::size_t>(spec.block_pixels, spec.pixels - block);
    for (std::size_t c = 0; c < spec.channels; ++c) {
      values[p * spec.channels + c] =
          bytes[(block * groups + c / wb * size + p - block) * wb + c % wb];
    }
  }
  return values;
}

} // namespace kestrel::hv
