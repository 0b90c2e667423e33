// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/npy.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "kestrel/file.hpp"

namespace kestrel {
namespace {

struct TypeRow {
  NpyType type;
  std::string_view name;
  std::string_view code; // kind and size, as in descr after the byte-order character
  std::size_t size;
};

constexpr std::array<TypeRow, 8> kTypes{{
    {NpyType::kInt8, "int8", "i1", 1},
    {NpyType::kUint8, "uint8", "u1", 1},
    {NpyType::kInt16, "int16", "i2", 2},
    {NpyType::kUint16, "uint16", "u2", 2},
    {NpyType::kInt32, "int32", "i4", 4},
    {NpyType::kInt64, "int64", "i8", 8},
    {NpyType::kFloat32, "float32", "f4", 4},
    {NpyType::kFloat64, "float64", "f8", 8},
}};

const TypeRow &row_of(NpyType type) { return kTypes[static_cast<std::size_t>(type)]; }

constexpr std::array<std::uint8_t, 6> kMagic{0x93, 'N', 'U', 'M', 'P', 'Y'};
constexpr std::size_t kMaxHeader = std::size_t{1} << 20;
constexpr std::size_t kMaxRank = 32;

/// Reads the Python dictionary literal of the header:
/// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  bool parse() {
    if (!take('{')) {
      return false;
    }
    while (!take('}')) {
      const auto key = quoted();
      if (!key || !take(':')) {
        return false;
      }
      if (*key == "descr" && !descr) {
        // A structured type is a list; keep its text for the message.
        descr = peek() == '\'' || peek() == '"' ? quoted() : std::optional<std::string>("record");
        if (!descr || *descr == "record") {
          return descr.has_value();
        }
      } else if (*key == "fortran_order" && !fortran) {
        if (word("True")) {
          fortran = true;
        } else if (word("False")) {
          fortran = false;
        } else {
          return false;
        }
      } else if (*key == "shape" && !shape) {
        if (!tuple()) {
          return false;
        }
      } else {
        return false; // unknown or repeated key
      }
      if (!take(',') && peek() != '}') {
        return false;
      }
    }
    return peek() == '\0' && position_ == text_.size() && descr && fortran && shape;
  }

  std::optional<std::string> descr;
  std::optional<bool> fortran;
  std::optional<std::vector<std::int64_t>> shape;

private:
  void skip() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) {
      ++position_;
    }
  }
  char peek() {
    skip();
    return position_ < text_.size() ? text_[position_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || position_ == text_.size()) {
      return false;
    }
    ++position_;
    return true;
  }
  bool word(std::string_view w) {
    skip();
    if (text_.substr(position_, w.size()) != w) {
      return false;
    }
    position_ += w.size();
    return true;
  }
  std::optional<std::string> quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') {
      return std::nullopt;
    }
    const std::size_t begin = ++position_;
    const std::size_t end = text_.find(quote, begin);
    if (end == std::string_view::npos || end - begin > 64) {
      return std::nullopt;
    }
    position_ = end + 1;
    return std::string(text_.substr(begin, end - begin));
  }
  bool tuple() {
    std::vector<std::int64_t> dims;
    if (!take('(')) {
      return false;
    }
    bool comma = true;
    while (!take(')')) {
      if (!comma || dims.size() == kMaxRank) {
        return false;
      }
      skip();
      std::int64_t value = 0;
      bool any = false;
      while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
        const int digit = text_[position_] - '0';
        if (value > (std::numeric_limits<std::int64_t>::max() - digit) / 10) {
          return false;
        }
        value = value * 10 + digit;
        ++position_;
        any = true;
      }
      if (!any) {
        return false;
      }
      dims.push_back(value);
      comma = take(',');
    }
    if (dims.size() == 1 && !comma) {
      return false; // "(3)" is a number in Python, not a tuple
    }
    shape = std::move(dims);
    return true;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return out;
}

/// Bytes of an array of this shape, empty on overflow or a negative dimension.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t> &shape, std::size_t size) {
  // A dimension of 0 makes the array empty, however large the others are: but the others must
  // still not overflow among themselves, as NumPy demands too.
  std::uint64_t count = size;
  bool empty = false;
  for (const std::int64_t d : shape) {
    if (d < 0) {
      return std::nullopt;
    }
    if (d == 0) {
      empty = true;
      continue;
    }
    const auto u = static_cast<std::uint64_t>(d);
    if (count > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / u) {
      return std::nullopt;
    }
    count *= u;
  }
  return empty ? 0 : count;
}

} // namespace

std::string_view to_string(NpyType type) noexcept { return row_of(type).name; }

std::size_t size_of(NpyType type) noexcept { return row_of(type).size; }

Result<NpyArray> parse_npy(std::span<const std::uint8_t> bytes, std::string_view name) {
  if (bytes.size() < 10 || !std::equal(kMagic.begin(), kMagic.end(), bytes.begin())) {
    return fail(ErrorCode::kParse, "{}: not a NumPy .npy file", name);
  }
  const unsigned major = bytes[6];
  if ((major != 1 && major != 2) || bytes[7] != 0) {
    return fail(ErrorCode::kUnsupported, "{}: .npy version {}.{}; 1.0 and 2.0 are supported", name,
                major, static_cast<unsigned>(bytes[7]));
  }
  const std::size_t prefix = major == 1 ? 10 : 12;
  if (bytes.size() < prefix) {
    return fail(ErrorCode::kParse, "{}: the .npy header is truncated", name);
  }
  const std::size_t header_size =
      major == 1 ? load_le<std::uint16_t>(bytes, 8) : load_le<std::uint32_t>(bytes, 8);
  if (header_size > kMaxHeader || header_size > bytes.size() - prefix) {
    return fail(ErrorCode::kParse, "{}: the .npy header is truncated", name);
  }
  const auto header = bytes.subspan(prefix, header_size);
  HeaderParser parser(
      std::string_view(reinterpret_cast<const char *>(header.data()), header.size()));
  const bool good = parser.parse();
  if (good && *parser.descr == "record") {
    return fail(ErrorCode::kUnsupported, "{}: the array is a record; plain numbers are supported",
                name);
  }
  if (!good) {
    return fail(ErrorCode::kParse, "{}: the .npy header is damaged", name);
  }
  const std::string &descr = *parser.descr;
  const auto *row = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeRow &r) {
    return descr.size() == 3 && std::string_view(descr).substr(1) == r.code &&
           (descr[0] == '<' || (r.size == 1 && (descr[0] == '|' || descr[0] == '>')));
  });
  if (row == kTypes.end()) {
    return fail(ErrorCode::kUnsupported,
                "{}: element type '{}'; little-endian int8, uint8, int16, int32, int64, float32 "
                "and float64 are supported",
                name, printable(descr));
  }
  // Order only matters from two dimensions on; NumPy may mark vectors either way.
  if (*parser.fortran && parser.shape->size() > 1) {
    return fail(ErrorCode::kUnsupported,
                "{}: the array is in Fortran order; save it in C order "
                "(numpy.ascontiguousarray)",
                name);
  }
  const auto count = byte_count(*parser.shape, row->size);
  if (!count) {
    return fail(ErrorCode::kParse, "{}: the shape ({}) overflows", name,
                fmt::join(*parser.shape, ", "));
  }
  const auto data = bytes.subspan(prefix + header_size);
  if (data.size() != *count) {
    return fail(ErrorCode::kParse, "{}: shape ({}) of {} needs {} bytes of data; the file has {}",
                name, fmt::join(*parser.shape, ", "), row->name, *count, data.size());
  }
  NpyArray array;
  array.type = row->type;
  array.shape = std::move(*parser.shape);
  array.data.assign(data.begin(), data.end());
  return array;
}

Result<NpyArray> load_npy(const std::filesystem::path &path, std::int64_t max_bytes) {
  KESTREL_ASSIGN(const auto bytes, read_file(path, max_bytes));
  return parse_npy(bytes, path.string());
}

std::vector<std::uint8_t> format_npy(const NpyArray &array) {
  const TypeRow &row = row_of(array.type);
  std::string header = fmt::format(
      "{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}{}), }}", row.size == 1 ? '|' : '<',
      row.code, fmt::join(array.shape, ", "), array.shape.size() == 1 ? "," : "");
  // Magic, version and length before it, a newline at its end, all together a multiple of 64.
  const bool wide = header.size() + 1 + 64 > 65535;
  const std::size_t prefix = wide ? 12 : 10;
  header.append((64 - (prefix + header.size() + 1) % 64) % 64, ' ');
  header.push_back('\n');
  std::vector<std::uint8_t> out(kMagic.begin(), kMagic.end());
  out.push_back(wide ? 2 : 1);
  out.push_back(0);
  if (wide) {
    append_le<std::uint32_t>(out, static_cast<std::uint32_t>(header.size()));
  } else {
    append_le<std::uint16_t>(out, static_cast<std::uint16_t>(header.size()));
  }
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), array.data.begin(), array.data.end());
  return out;
}

Result<void> save_npy(const std::filesystem::path &path, const NpyArray &array) {
  const auto count = byte_count(array.shape, size_of(array.type));
  if (!count || *count != array.data.size() || array.shape.size() > kMaxRank) {
    return fail(ErrorCode::kInvalidArgument, "{}: shape ({}) of {} does not fit {} bytes",
                path.string(), fmt::join(array.shape, ", "), to_string(array.type),
                array.data.size());
  }
  return write_file(path, format_npy(array));
}

} // namespace kestrel
