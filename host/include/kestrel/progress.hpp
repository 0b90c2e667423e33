// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Progress of work that a person waits for, on standard error: a bar that redraws in place on a
// terminal, a sparse line (each tenth, at most one in five seconds) where the output is a file or a
// pipe, nothing at all for work that ends within the first half second.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace kestrel {

class Progress {
public:
  using Clock = std::chrono::steady_clock;

  enum class Style : std::uint8_t {
    kAuto,  ///< kBar on a terminal, else kLines
    kBar,   ///< one line redrawn in place
    kLines, ///< sparse lines
    kOff,   ///< silent
  };

  /// `title` begins the line ("RTL inference"); `total` steps make 100 % (0: unknown, only counts
  /// are shown); `unit` names a step ("images").
  Progress(std::string title, std::uint64_t total, std::string unit = "steps",
           Style style = Style::kAuto);
  /// Ends the display as finish() does.
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// `n` more steps are done. Thread-safe.
  void advance(std::uint64_t n = 1);
  /// Sets the number of steps done. Thread-safe.
  void update(std::uint64_t done);
  /// Text shown behind the bar ("agreement 100 %"). Thread-safe.
  void note(std::string text);
  /// Draws the last state, if anything was drawn, and ends the line. Further calls do nothing.
  void finish();

  /// The line for a given state, as drawn (without line control): "RTL inference  [#####.....]
  /// 50 %  100/200 images  12.3 s, 12 s left". `width` columns are not exceeded.
  [[nodiscard]] static std::string render(std::string_view title, std::uint64_t done,
                                          std::uint64_t total, std::string_view unit,
                                          double elapsed_s, std::string_view note,
                                          std::size_t width);

private:
  void draw(bool last);

  std::mutex mutex_;
  std::string title_;
  std::string unit_;
  std::string note_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  Style style_;
  Clock::time_point start_;
  Clock::time_point last_draw_;
  std::uint64_t last_tenth_ = 0;
  bool drawn_ = false;
  bool finished_ = false;
};

/// "850 ms", "12.3 s", "4 min 05 s", "2 h 10 min".
[[nodiscard]] std::string format_duration(double seconds);

} // namespace kestrel
