// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "common/json.hpp"

#include <algorithm>

namespace kestrel {
namespace {

constexpr std::size_t kQuoted = 60;

struct Measure {
  int depth = 0;
  std::uint64_t bytes = 0;
};

Measure measure(std::string_view text) {
  constexpr std::uint64_t kValue = 16;
  constexpr std::uint64_t kContainer = 64;
  constexpr std::uint64_t kMember = 96;
  Measure m;
  m.bytes = kValue;
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      }
      in_string = c != '"';
      ++m.bytes;
      continue;
    }
    switch (c) {
    case '"':
      in_string = true;
      m.bytes += 32;
      break;
    case '[':
    case '{':
      m.depth = std::max(m.depth, ++depth);
      m.bytes += kContainer + kValue;
      break;
    case ']':
    case '}':
      --depth;
      break;
    case ',':
      m.bytes += kValue;
      break;
    case ':':
      m.bytes += kMember;
      break;
    default:
      break;
    }
  }
  return m;
}

} // namespace

std::uint64_t json_tree_bytes(std::string_view text) { return measure(text).bytes; }

Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits &limits) {
  // The parser takes a zero byte for the end of the text, whatever follows.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return fail(ErrorCode::kParse, "not JSON: error at byte {} of {}", zero + 1, text.size());
  }
  const Measure m = measure(text);
  if (m.depth > limits.depth) {
    return fail(ErrorCode::kParse, "JSON nested deeper than {} levels", limits.depth);
  }
  if (m.bytes > limits.tree_bytes) {
    return fail(ErrorCode::kResourceLimit,
                "JSON of so many values that it would take {} MiB of memory; at most {} MiB are "
                "allowed",
                m.bytes >> 20, limits.tree_bytes >> 20);
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error &e) {
    return fail(ErrorCode::kParse, "not JSON: error at byte {} of {}", e.byte, text.size());
  } catch (const nlohmann::json::exception &) {
    return fail(ErrorCode::kParse, "not usable JSON: a number is out of range");
  }
}

std::string quote(const nlohmann::json &value) {
  if (value.is_structured()) {
    return value.is_array() ? "an array" : "an object";
  }
  if (value.is_string() && value.get_ref<const std::string &>().size() > kQuoted) {
    return "\"" + shortened(value.get_ref<const std::string &>()) + "\"";
  }
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string shortened(std::string_view text) {
  std::string out(text.substr(0, kQuoted));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text.size() > kQuoted ? out + "..." : out;
}

} // namespace kestrel
