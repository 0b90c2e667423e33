// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace kestrel {
namespace {

constexpr double kQuiet = 0.5;      // seconds before anything is shown
constexpr double kBarPeriod = 0.1;  // between redraws of the bar
constexpr double kLinePeriod = 5.0; // between lines
constexpr std::size_t kBarCells = 24;

double seconds(Progress::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) {
    return size.ws_col - std::size_t{1};
  }
  return 100;
}

} // namespace

std::string format_duration(double s) {
  if (!(s >= 0.0)) {
    return "?";
  }
  if (s < 0.9995) {
    return fmt::format("{:.0f} ms", s * 1e3);
  }
  if (s < 59.95) {
    return fmt::format("{:.1f} s", s);
  }
  const auto whole = static_cast<std::uint64_t>(std::min(std::round(s), 1e15));
  if (whole < 3600) {
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  }
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string Progress::render(std::string_view title, std::uint64_t done, std::uint64_t total,
                             std::string_view unit, double elapsed_s, std::string_view note,
                             std::size_t width) {
  std::string line;
  if (total == 0) {
    line = fmt::format("{}  {} {}  {}", title, done, unit, format_duration(elapsed_s));
  } else {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(kBarCells));
    line = fmt::format("{}  [{:#<{}}{:.<{}}] {:3.0f} %  {}/{} {}  {}", title, "", filled, "",
                       kBarCells - filled, std::floor(share * 100.0), done, total, unit,
                       format_duration(elapsed_s));
    if (done > 0 && done < total) {
      line += fmt::format(", {} left", format_duration(elapsed_s * (1.0 - share) / share));
    }
  }
  if (!note.empty()) {
    line += "  ";
    line += note;
  }
  if (line.size() > width) {
    line.resize(width);
  }
  return line;
}

Progress::Progress(std::string title, std::uint64_t total, std::string unit, Style style)
    : title_(std::move(title)), unit_(std::move(unit)), total_(total), style_(style),
      start_(Clock::now()), last_draw_(start_) {
  if (style_ == Style::kAuto) {
    style_ = ::isatty(STDERR_FILENO) == 1 ? Style::kBar : Style::kLines;
  }
}

Progress::~Progress() { finish(); }

void Progress::advance(std::uint64_t n) {
  const std::lock_guard lock(mutex_);
  done_ += n;
  draw(false);
}

void Progress::update(std::uint64_t done) {
  const std::lock_guard lock(mutex_);
  done_ = done;
  draw(false);
}

void Progress::note(std::string text) {
  const std::lock_guard lock(mutex_);
  note_ = std::move(text);
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (!finished_) {
    draw(true);
    finished_ = true;
  }
}

void Progress::draw(bool last) {
  if (finished_ || style_ == Style::kOff) {
    return;
  }
  const Clock::time_point now = Clock::now();
  const double elapsed = seconds(now - start_);
  const double since = seconds(now - last_draw_);
  if (last ? !drawn_ : elapsed < kQuiet) {
    return;
  }
  if (style_ == Style::kBar) {
    if (!last && since < kBarPeriod) {
      return;
    }
    const std::string line = render(title_, done_, total_, unit_, elapsed, note_, terminal_width());
    std::fputs(("\r" + line + "\x1b[K" + (last ? "\n" : "")).c_str(), stderr);
  } else {
    const std::uint64_t tenth = total_ == 0 ? 0 : done_ * 10 / total_;
    // Where tenths are quick, a line each five seconds is enough; where they are slow, a line each
    // half minute shows that there is life.
    const bool due =
        drawn_ ? (since >= kLinePeriod && tenth != last_tenth_) || since >= 30.0 : elapsed >= 2.0;
    if (!last && !due) {
      return;
    }
    last_tenth_ = tenth;
    std::fputs((render(title_, done_, total_, unit_, elapsed, note_, 200) + "\n").c_str(), stderr);
  }
  std::fflush(stderr);
  drawn_ = true;
  last_draw_ = now;
}

} // namespace kestrel
