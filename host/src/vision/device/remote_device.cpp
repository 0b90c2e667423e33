// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/device/remote_device.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/bridge.hpp"
#include "kestrel/bytes.hpp"
#include "vision/device/engine_driver.hpp"

namespace kestrel::hv {
namespace {

namespace c = contract;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kEngineId = 0x4B485631; // register ID

/// What a register reads that no engine has: 'KHV1' comes first.
std::string who(std::uint32_t id) {
  return id == 0xFFFFFFFFU ? "nothing answers on the bus" : fmt::format("ID reads {:#010x}", id);
}

std::string describe(const c::Config &config) {
  return fmt::format("'{}' ({} lanes of {} bytes, {} rows, ring of {})", config.name, config.lanes,
                     config.word_bytes, config.act_rows, config.ring_words);
}

class RemoteDevice final : public Device, private EnginePort {
public:
  RemoteDevice(std::string url, const c::Config &config, const DeviceOptions &options)
      : url_(std::move(url)), config_(config), options_(options), driver_(*this, config) {}

  [[nodiscard]] std::string_view name() const override { return "remote"; }
  [[nodiscard]] ClockInfo clock() const override { return {options_.clock_mhz, "assumed"}; }

  Result<void> open() {
    KESTREL_ASSIGN(const BridgeUrl url, BridgeUrl::parse(url_));
    for (const auto &[name, value] : url.options)
      if (std::find(kOptions.begin(), kOptions.end(), name) == kOptions.end())
        return fail(ErrorCode::kInvalidArgument, "unknown option '{}'; known are {}", name,
                    fmt::join(kOptions, ", "));
    constexpr std::uint64_t kLast = 0xFFFFFFFFU;
    KESTREL_ASSIGN(const auto engine, url.number("engine", 0x3000'0000, kLast));
    KESTREL_ASSIGN(const auto memory, url.number("memory", 0x4000'0000, kLast));
    KESTREL_ASSIGN(size_, url.number("size", 0x200'0000, kLast));
    KESTREL_ASSIGN(const auto verify, url.number("verify", 1, 1));
    KESTREL_ASSIGN(const auto patience, url.number("patience", 600, 1'000'000));
    if (engine % 4 != 0 || memory % c::kAlignBytes != 0)
      return fail(ErrorCode::kInvalidArgument,
                  "engine={:#x} must be a multiple of 4, memory={:#x} of {}", engine, memory,
                  c::kAlignBytes);
    if (size_ < 16 || size_ % 4 != 0 || memory + size_ > kLast + 1)
      return fail(ErrorCode::kInvalidArgument,
                  "size={:#x} must be a multiple of 4, from 16 to the end of the 32-bit addresses "
                  "behind memory={:#x}",
                  size_, memory);
    engine_ = static_cast<std::uint32_t>(engine);
    memory_ = static_cast<std::uint32_t>(memory);
    verify_ = verify != 0;
    patience_ = std::chrono::seconds(patience);
    KESTREL_ASSIGN(bridge_, open_bridge(url));
    KESTREL_TRY(identify());
    KESTREL_TRY(reset());
    return try_memory();
  }

  Result<void> load(const Package &package) override { return named(load_package(package)); }
  Result<Inference> run(std::span<const std::int8_t> input) override {
    auto result = infer(input);
    if (!result)
      return named(result.error());
    return result;
  }
  Result<void> set_threshold(std::uint32_t threshold_q16, ConfidenceMode mode) override {
    return named(driver_.set_threshold(threshold_q16, mode));
  }

  /// The error with the board's name before it.
  [[nodiscard]] Error named(const Error &error) const {
    return fail(error.code, "{}: {}", url_, error.message);
  }

private:
  static constexpr std::array<std::string_view, 8> kOptions = {
      "baud", "burst", "timeout", "engine", "memory", "size", "verify", "patience"};

  [[nodiscard]] Result<void> named(const Result<void> &result) const {
    return result ? result : Result<void>(named(result.error()));
  }

  Result<void> identify() {
    std::array<std::uint32_t, 5> found{}; // ID, VERSION, CONFIG, ACT_ROWS, RING_WORDS
    const auto ask = [&] { return read(c::reg::kId, std::span<std::uint32_t>(found)); };
    auto asked = ask();
    if (!asked || found[0] != kEngineId) {
      // Whoever was here before may have left in the middle of a command.
      KESTREL_TRY(bridge_->resynchronise());
      KESTREL_TRY(ask());
    }
    if (found[0] != kEngineId)
      return fail(ErrorCode::kDevice, "no vision engine at {:#x}: {}", engine_, who(found[0]));
    if (found[1] != c::kVersion)
      return fail(ErrorCode::kVersionMismatch,
                  "the board has contract version {}.{}, this program {}.{}", found[1] >> 16U,
                  found[1] & 0xFFFFU, c::kVersionMajor, c::kVersionMinor);
    if (found[2] != config_.config_register() || found[3] != config_.act_rows ||
        found[4] != config_.ring_words)
      return fail(ErrorCode::kVersionMismatch,
                  "the board's engine has {} lanes of {} bytes, {} rows, ring of {}; asked for is "
                  "configuration {}",
                  found[2] & 0xFFU, (found[2] >> 8U) & 0xFFU, found[3], found[4],
                  describe(config_));
    return {};
  }

  /// Whatever ran before ends; the registers are those of a fresh device.
  Result<void> reset() {
    KESTREL_TRY(EnginePort::write(c::reg::kCtrl, 2));
    const auto end = Clock::now() + std::chrono::seconds(5);
    for (;;) {
      KESTREL_ASSIGN(const std::uint32_t state, EnginePort::read(c::reg::kStatus));
      if ((state & 9U) == 0) // neither busy nor resetting
        break;
      if (Clock::now() >= end)
        return fail(ErrorCode::kTimeout, "the engine does not end its reset (STATUS {:#x})", state);
    }
    KESTREL_TRY(EnginePort::write(c::reg::kIrqEnable, 0));
    return driver_.set_threshold(0, ConfidenceMode::kTop1);
  }

  /// Both ends of the memory hold what is written there: it is initialised, and as large as said.
  Result<void> try_memory() {
    const std::uint32_t last = memory_ + static_cast<std::uint32_t>(size_) - 16;
    const std::array<std::pair<std::uint32_t, std::array<std::uint32_t, 4>>, 2> probes = {
        {{memory_, {0x5EED'0001, 0xA5A5'5A5A, 0x0000'FFFF, 0x1234'5678}},
         {last, {0x5EED'0002, 0x5A5A'A5A5, 0xFFFF'0000, 0x8765'4321}}}};
    for (const auto &[place, words] : probes)
      KESTREL_TRY(bridge_->write(place, words));
    for (const auto &[place, words] : probes) {
      std::array<std::uint32_t, 4> found{};
      KESTREL_TRY(bridge_->read(place, found));
      if (found != words)
        return fail(ErrorCode::kDevice,
                    "no memory at {:#x}: {:08x} was written, {:08x} is read (the SDRAM is not "
                    "initialised, or memory= and size= are another board's)",
                    place, fmt::join(words, " "), fmt::join(found, " "));
    }
    return {};
  }

  Result<void> load_package(const Package &package) {
    KESTREL_TRY(driver_.check(package));
    // Regions follow each other in the board's memory.
    std::uint64_t next = memory_;
    const auto place = [&next](std::uint64_t bytes) {
      const std::uint64_t at = next;
      next = (at + bytes + 4095) / 4096 * 4096;
      return static_cast<std::uint32_t>(at);
    };
    EngineRegions regions;
    regions.pkg = place(package.image.size());
    regions.in = place(package.in_bytes);
    regions.out = place(package.out_bytes);
    regions.scratch = place(package.scratch_bytes);
    if (next - memory_ > size_)
      return fail(ErrorCode::kResourceLimit,
                  "package '{}' needs {} bytes of memory, the board has {}", package.model_name,
                  next - memory_, size_);
    return driver_.load(package, regions, 0);
  }

  Result<Inference> infer(std::span<const std::int8_t> input) {
    KESTREL_TRY(driver_.start(input));
    const auto end = Clock::now() + patience_;
    for (auto pause = std::chrono::microseconds(0);;) {
      // IRQ_STATUS was cleared before the doorbell: it cannot be that of the run before.
      KESTREL_ASSIGN(const std::uint32_t ended, EnginePort::read(c::reg::kIrqStatus));
      if ((ended & 3U) != 0)
        break;
      if (Clock::now() >= end)
        return fail(ErrorCode::kTimeout, "the inference did not end within {} s",
                    patience_.count());
      std::this_thread::sleep_for(pause);
      pause =
          std::min(2 * pause + std::chrono::microseconds(10), std::chrono::microseconds(20'000));
    }
    KESTREL_ASSIGN(auto result, driver_.finish());
    if (verify_) {
      KESTREL_ASSIGN(const auto again, driver_.finish());
      if (again.output != result.output || again.confidence != result.confidence ||
          again.counters.cycles != result.counters.cycles)
        return fail(ErrorCode::kIo, "the results differ when they are read again: a bad line");
    }
    return result;
  }

  // --- EnginePort
  // ---------------------------------------------------------------------------------
  Result<void> write(std::uint32_t offset, std::span<const std::uint32_t> values) override {
    return bridge_->write(engine_ + offset, values);
  }
  Result<void> read(std::uint32_t offset, std::span<std::uint32_t> values) override {
    return bridge_->read(engine_ + offset, values);
  }
  Result<void> put(std::uint32_t address, std::span<const std::uint8_t> bytes) override {
    constexpr std::size_t kBlock = 255 * 4; // words written before they are read back
    std::vector<std::uint32_t> words((bytes.size() + 3) / 4);
    for (std::size_t i = 0; i < words.size(); ++i) {
      std::array<std::uint8_t, 4> word{};
      const auto from = bytes.subspan(4 * i, std::min<std::size_t>(4, bytes.size() - 4 * i));
      std::copy(from.begin(), from.end(), word.begin());
      words[i] = load_le<std::uint32_t>(word);
    }
    const bool tell = options_.loading && address == memory_; // the package, not the inputs
    std::vector<std::uint32_t> back;
    for (std::size_t at = 0; at < words.size(); at += kBlock) {
      const auto block = std::span(words).subspan(at, std::min(kBlock, words.size() - at));
      const std::uint32_t place = address + static_cast<std::uint32_t>(4 * at);
      KESTREL_TRY(bridge_->write(place, block));
      back.resize(verify_ ? block.size() : 1); // one word: the line is alive
      KESTREL_TRY(bridge_->read(place, back));
      const auto wrong = std::mismatch(back.begin(), back.end(), block.begin());
      if (wrong.first != back.end())
        return fail(ErrorCode::kIo,
                    "memory at {:#x} reads {:#010x} after {:#010x} was written: a bad line",
                    place + 4 * static_cast<std::uint32_t>(wrong.first - back.begin()),
                    *wrong.first, *wrong.second);
      if (tell)
        options_.loading(4 * (at + block.size()), 4 * words.size());
    }
    return {};
  }
  Result<void> fetch(std::uint32_t address, std::span<std::uint8_t> bytes) override {
    std::vector<std::uint32_t> words((bytes.size() + 3) / 4);
    KESTREL_TRY(bridge_->read(address, words));
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::uint8_t>(words[i / 4] >> (8 * (i % 4)));
    return {};
  }

  std::string url_;
  c::Config config_;
  DeviceOptions options_;
  std::uint32_t engine_ = 0, memory_ = 0;
  std::uint64_t size_ = 0;
  bool verify_ = true;
  std::chrono::seconds patience_{600};
  std::unique_ptr<Bridge> bridge_;
  EngineDriver driver_;
};

} // namespace

Result<std::unique_ptr<Device>> make_remote_device(std::string_view url,
                                                   const contract::Config &config,
                                                   const DeviceOptions &options) {
  auto device = std::make_unique<RemoteDevice>(std::string(url), config, options);
  if (const auto opened = device->open(); !opened)
    return device->named(opened.error());
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace kestrel::hv
