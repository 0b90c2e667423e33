// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "testbench/cpp/axis_driver.hpp"

#include <algorithm>
#include <cstring>

namespace kestrel::tb {

void AxisSource::push_packet(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const std::size_t count = std::min<std::size_t>(bytes.size(), data_bytes_);
    AxisBeat beat;
    std::memcpy(beat.data.bytes(), bytes.data(), count);
    beat.keep = count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    bytes = bytes.subspan(count);
    beat.last = bytes.empty();
    queue_.push_back(beat);
  }
}

void AxisSource::eval_outputs() {
  if (!ports_.tvalid && !queue_.empty() && !random_.chance(idle_probability_)) {
    ports_.tvalid = true;
    ports_.beat = queue_.front();
    queue_.pop_front();
  }
}

void AxisSource::sample() {
  if (ports_.tvalid && ports_.tready) {
    ports_.tvalid = false;
    ++beats_;
  }
}

void AxisSink::sample() {
  if (!ports_.tvalid || !ports_.tready) {
    return;
  }
  ++beats_;
  for (std::uint32_t lane = 0; lane < data_bytes_; ++lane) {
    if (((ports_.beat.keep >> lane) & 1U) != 0) {
      open_.push_back(ports_.beat.data.bytes()[lane]);
    }
  }
  if (ports_.beat.last) {
    packets_.push_back(std::move(open_));
    open_.clear();
  }
}

} // namespace kestrel::tb
