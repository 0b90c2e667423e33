// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// All JSON that the project reads comes through parse_json().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kestrel/result.hpp"

namespace kestrel {

/// What a text may cost. Both are counted on the text, before a tree is built of it.
struct JsonLimits {
  int depth =
      64; ///< nested arrays and objects; also bounds the recursion of whoever walks the tree
  std::uint64_t tree_bytes = std::uint64_t{256} << 20; ///< by json_tree_bytes()
};

/// Memory that the tree of a text takes, at most about: 16 bytes a value, 64 more an array or
/// object, 96 more a member, strings as they are.
[[nodiscard]] std::uint64_t json_tree_bytes(std::string_view text);

/// Errors: kParse (not JSON, nested too deep, a number beyond double), kResourceLimit.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text,
                                                const JsonLimits &limits = {});

/// A value in a message: at most about 60 characters of ASCII; arrays and objects only by name.
[[nodiscard]] std::string quote(const nlohmann::json &value);
/// A name from outside in a message: printable, at most 60 characters.
[[nodiscard]] std::string shortened(std::string_view text);

} // namespace kestrel
