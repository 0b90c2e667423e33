// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Errors as values. Every function of the libraries that can fail on outside input returns
// `Result<T>`; libraries never print, abort or throw across their interface.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace kestrel {

/// What went wrong, coarse enough for a program to act on; the message names the thing.
enum class ErrorCode {
  kInvalidArgument, ///< a value given by the caller is out of range or inconsistent
  kNotFound,        ///< a file, model, device or key does not exist
  kIo,              ///< the operating system refused a read, write or socket operation
  kParse,           ///< bytes are not in the format they should be in (damaged, truncated)
  kUnsupported,     ///< well-formed, but not something that this project can do
  kShapeMismatch,   ///< a tensor has another shape or type than asked for
  kVersionMismatch, ///< a file or device of another version or configuration
  kResourceLimit,   ///< too large for the stated limit or the device
  kDevice,          ///< the device reported an error (the message holds the cause code)
  kTimeout,         ///< nothing happened within the time allowed
  kUnavailable,     ///< a peer is unreachable, draining or overloaded
  kInternal,        ///< a broken invariant: a bug in this project
};

/// Name of an error code in lower case, for logs and JSON ("invalid_argument").
constexpr const char *to_string(ErrorCode code) noexcept {
  switch (code) {
  case ErrorCode::kInvalidArgument:
    return "invalid_argument";
  case ErrorCode::kNotFound:
    return "not_found";
  case ErrorCode::kIo:
    return "io";
  case ErrorCode::kParse:
    return "parse";
  case ErrorCode::kUnsupported:
    return "unsupported";
  case ErrorCode::kShapeMismatch:
    return "shape_mismatch";
  case ErrorCode::kVersionMismatch:
    return "version_mismatch";
  case ErrorCode::kResourceLimit:
    return "resource_limit";
  case ErrorCode::kDevice:
    return "device";
  case ErrorCode::kTimeout:
    return "timeout";
  case ErrorCode::kUnavailable:
    return "unavailable";
  case ErrorCode::kInternal:
    return "internal";
  }
  return "unknown";
}

/// An error code and one sentence that names the thing and says what is supported.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

/// Builds an Error from a {fmt} format string; converts implicitly to any `Result<T>`.
/// \code return fail(ErrorCode::kNotFound, "{}: no such file", path); \endcode
template <typename... Args>
[[nodiscard]] Error fail(ErrorCode code, fmt::format_string<Args...> format, Args &&...args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

/// Holds a `T` or an `Error`. Reading the one that is not held is a programming error
/// (asserted in debug builds).
template <typename T> class [[nodiscard]] Result {
public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] T &value() & { return get(); }
  [[nodiscard]] const T &value() const & { return get(); }
  [[nodiscard]] T &&value() && { return std::move(get()); }

  [[nodiscard]] T &operator*() & { return get(); }
  [[nodiscard]] const T &operator*() const & { return get(); }
  [[nodiscard]] T &&operator*() && { return std::move(get()); }
  [[nodiscard]] T *operator->() { return &get(); }
  [[nodiscard]] const T *operator->() const { return &get(); }

  [[nodiscard]] const Error &error() const & {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }
  [[nodiscard]] Error &&error() && {
    assert(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

private:
  [[nodiscard]] T &get() {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T &get() const {
    assert(ok());
    return *std::get_if<0>(&state_);
  }

  std::variant<T, Error> state_;
};

/// Success without a value, or an `Error`. `return {};` is success.
template <> class [[nodiscard]] Result<void> {
public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  [[nodiscard]] bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] const Error &error() const & {
    assert(!ok());
    return *error_;
  }
  [[nodiscard]] Error &&error() && {
    assert(!ok());
    return std::move(*error_);
  }

private:
  std::optional<Error> error_;
};

} // namespace kestrel

/// Internal helper of the libraries: evaluates `expr` (a Result) and returns its error to the
/// caller, otherwise goes on. Use `KESTREL_ASSIGN` where the value is wanted.
#define KESTREL_TRY(expr)                                                                          \
  do {                                                                                             \
    if (auto kestrel_try_result = (expr); !kestrel_try_result) {                                   \
      return std::move(kestrel_try_result).error();                                                \
    }                                                                                              \
  } while (false)

#define KESTREL_CONCAT_INNER(a, b) a##b
#define KESTREL_CONCAT(a, b) KESTREL_CONCAT_INNER(a, b)
/// `KESTREL_ASSIGN(auto x, make_x());` declares `x` from the value, or returns the error.
#define KESTREL_ASSIGN(decl, expr) KESTREL_ASSIGN_INNER(KESTREL_CONCAT(kr_, __LINE__), decl, expr)
// NOLINTBEGIN(bugprone-macro-parentheses): `tmp` and `decl` are declared, not evaluated.
#define KESTREL_ASSIGN_INNER(tmp, decl, expr)                                                      \
  auto tmp = (expr);                                                                               \
  if (!tmp) {                                                                                      \
    return std::move(tmp).error();                                                                 \
  }                                                                                                \
  decl = std::move(tmp).value()
// NOLINTEND(bugprone-macro-parentheses)
