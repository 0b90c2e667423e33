// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The only header of the testbench that needs Verilator; link the verilated model
// (kestrel_verilate) beside kestrel::testbench.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <verilated.h>
#if defined(VM_TRACE) && VM_TRACE
#include <verilated_fst_c.h>
#endif

namespace kestrel::tb {

struct SimulationConfig {
  std::uint64_t seed = 1;                 ///< Of the random initial values of registers.
  std::uint64_t max_cycles = 200'000'000; ///< step() refuses to go beyond it.
  std::uint32_t reset_cycles = 8;         ///< Length of reset().
  /// A failed RTL assertion ($error, $stop) ends the process. With false it is reported by
  /// failed(), and step() returns false from then on: for programs that must not abort.
  bool fatal_assertions = true;
};

/// Owns a Verilated model with ports `clk_i` and `rst_ni` (synchronous, active low) and its
/// VerilatedContext, and runs the clock. Registers without reset start with random values, a
/// different set for each seed (the model has to be verilated with `--x-initial unique`).
template <class VModel> class Simulation {
public:
#if defined(VM_TRACE) && VM_TRACE
  static constexpr bool kTraceAvailable = true;
#else
  static constexpr bool kTraceAvailable = false;
#endif

  enum class Status : std::uint8_t {
    done,      ///< The condition came true.
    cycles,    ///< The cycle limit was reached first.
    finished,  ///< The RTL called $finish.
    assertion, ///< An RTL assertion failed.
  };

  explicit Simulation(const SimulationConfig &config = {})
      : config_(config), context_(std::make_unique<VerilatedContext>()) {
    context_->randReset(2);
    // Verilator takes a positive int; 0 would mean "from the time of day".
    context_->randSeed(static_cast<int>(config.seed % 0x7FFFFFFEU) + 1);
    context_->fatalOnError(config.fatal_assertions);
    context_->traceEverOn(kTraceAvailable);
    model_ = std::make_unique<VModel>(context_.get(), "top");
    model_->clk_i = 0;
    model_->rst_ni = 1;
  }
  ~Simulation() {
    make_current();
    stop_trace();
    model_->final();
    model_.reset();
    Verilated::threadContextp(Verilated::defaultContextp());
  }
  Simulation(const Simulation &) = delete;
  Simulation &operator=(const Simulation &) = delete;
  Simulation(Simulation &&) = delete;
  Simulation &operator=(Simulation &&) = delete;

  [[nodiscard]] VModel &model() { return *model_; }
  [[nodiscard]] VerilatedContext &context() { return *context_; }
  /// Number of the cycle that the next step() runs: rising edges so far.
  [[nodiscard]] std::uint64_t cycle() const { return cycle_; }
  /// True during the cycles of reset(), for checkers and memories.
  [[nodiscard]] bool in_reset() const { return in_reset_; }
  [[nodiscard]] bool failed() const { return context_->gotError(); }

  /// One clock cycle: drive(cycle) sets the inputs; the design settles with its clock low;
  /// sample(cycle) sees all ports as the rising edge will; rising edge. Returns false, without
  /// doing anything, at the cycle limit or once the simulation has finished.
  template <class Drive, class Sample> bool step(Drive &&drive, Sample &&sample) {
    if (cycle_ >= config_.max_cycles || context_->gotFinish()) {
      return false;
    }
    make_current();
    model_->clk_i = 0;
    drive(cycle_);
    model_->eval();
    dump();
    sample(cycle_);
    model_->clk_i = 1;
    model_->eval();
    dump();
    ++cycle_;
    return true;
  }

  /// Holds rst_ni low for `reset_cycles` cycles; false if the simulation stopped in them.
  template <class Drive, class Sample> bool reset(Drive &&drive, Sample &&sample) {
    model_->rst_ni = 0;
    in_reset_ = true;
    bool running = true;
    for (std::uint32_t i = 0; i < config_.reset_cycles && running; ++i) {
      running = step(drive, sample);
    }
    in_reset_ = false;
    model_->rst_ni = 1;
    return running;
  }

  /// Steps until condition() is true (asked before each cycle), for at most `max_cycles` cycles.
  template <class Drive, class Sample, class Condition>
  [[nodiscard]] Status run_until(Drive &&drive, Sample &&sample, Condition &&condition,
                                 std::uint64_t max_cycles) {
    for (std::uint64_t i = 0;; ++i) {
      if (context_->gotError()) {
        return Status::assertion;
      }
      if (condition()) {
        return Status::done;
      }
      if (context_->gotFinish()) {
        return Status::finished;
      }
      if (i == max_cycles || !step(drive, sample)) {
        return Status::cycles;
      }
    }
  }

  /// Writes an FST trace from now on. False if the model was built without traces (CMake option
  /// KESTREL_TRACE) or the file cannot be written.
  [[nodiscard]] bool start_trace([[maybe_unused]] const std::string &path) {
#if defined(VM_TRACE) && VM_TRACE
    stop_trace();
    trace_ = std::make_unique<VerilatedFstC>();
    model_->trace(trace_.get(), 99);
    trace_->open(path.c_str());
    if (!trace_->isOpen()) {
      trace_.reset();
    }
    return trace_ != nullptr;
#else
    return false;
#endif
  }
  void stop_trace() {
#if defined(VM_TRACE) && VM_TRACE
    if (trace_) {
      trace_->close();
      trace_.reset();
    }
#endif
  }

private:
  /// Verilator keeps a current context for each thread and, but for the constructor, leaves it as it
  /// is: a failed assertion or a scope's name would go to the model that was made last in this
  /// thread, even if that is gone.
  void make_current() { Verilated::threadContextp(context_.get()); }

  void dump() {
    context_->timeInc(1);
#if defined(VM_TRACE) && VM_TRACE
    if (trace_) {
      trace_->dump(context_->time());
    }
#endif
  }

  SimulationConfig config_;
  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<VModel> model_;
#if defined(VM_TRACE) && VM_TRACE
  std::unique_ptr<VerilatedFstC> trace_;
#endif
  std::uint64_t cycle_ = 0;
  bool in_reset_ = false;
};

} // namespace kestrel::tb
