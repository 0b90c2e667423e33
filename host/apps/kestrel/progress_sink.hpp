// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <memory>
#include <string>

#include "kestrel/progress.hpp"
#include "kestrel/serve/edge_job.hpp"

namespace kestrel::cli {

/// Shows what the job library reports as progress bars, one a phase.
[[nodiscard]] inline serve::ProgressSink progress_sink() {
  struct State {
    std::string phase;
    std::unique_ptr<Progress> progress;
  };
  auto state = std::make_shared<State>();
  return [state](std::string_view phase, std::uint64_t done, std::uint64_t total) {
    if (state->phase != phase || !state->progress) {
      state->progress.reset();
      state->phase = phase;
      state->progress = std::make_unique<Progress>(state->phase, total, "images");
    }
    state->progress->update(done);
    if (done == total) {
      state->progress.reset();
    }
  };
}

} // namespace kestrel::cli
