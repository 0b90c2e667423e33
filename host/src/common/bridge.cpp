// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "common/bridge.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "kestrel/bytes.hpp"

namespace kestrel {
namespace {

constexpr const char *kSyntax =
    "write PATH[?baud=N], pty:PATH, tcp://HOST:PORT or udp://HOST[:PORT]";
constexpr std::uint16_t kEtherbonePort = 1234;
constexpr std::size_t kMaxBurst = 255; // one byte holds it

using Milliseconds = std::chrono::milliseconds;

bool parse_number(std::string_view text, std::uint64_t &value) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

} // namespace

Result<BridgeUrl> BridgeUrl::parse(std::string_view text) {
  BridgeUrl url;
  const std::string whole(text);
  if (const std::size_t at = text.find('?'); at != std::string_view::npos) {
    std::string_view options = text.substr(at + 1);
    text = text.substr(0, at);
    while (!options.empty()) {
      const std::size_t end = std::min(options.find('&'), options.size());
      const std::string_view option = options.substr(0, end);
      options.remove_prefix(std::min(end + 1, options.size()));
      const std::size_t equals = option.find('=');
      if (equals == 0 || equals == std::string_view::npos)
        return fail(ErrorCode::kInvalidArgument, "'{}': option '{}' is not NAME=VALUE", whole,
                    option);
      url.options.insert_or_assign(std::string(option.substr(0, equals)),
                                   std::string(option.substr(equals + 1)));
    }
  }
  const auto wrong = [&whole] {
    return fail(ErrorCode::kInvalidArgument, "'{}' names no board; {}", whole, kSyntax);
  };
  if (text.starts_with("tcp://") || text.starts_with("udp://")) {
    url.kind = text.starts_with("tcp") ? Kind::kTcp : Kind::kUdp;
    text.remove_prefix(6);
    url.port = kEtherbonePort;
    const std::size_t bracket = text.rfind(']'); // of an IPv6 address
    const std::size_t colon = text.rfind(':');
    if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
      std::uint64_t port = 0;
      if (!parse_number(text.substr(colon + 1), port) || port == 0 || port > 65535)
        return wrong();
      url.port = static_cast<std::uint16_t>(port);
      text = text.substr(0, colon);
    } else if (url.kind == Kind::kTcp) {
      return wrong();
    }
    if (text.starts_with('[') && text.ends_with(']'))
      text = text.substr(1, text.size() - 2);
    url.host = std::string(text);
    return url.host.empty() ? Result<BridgeUrl>(wrong()) : url;
  }
  if (text.starts_with("pty:"))
    text.remove_prefix(4);
  else if (text.find("://") != std::string_view::npos)
    return wrong();
  if (text.empty())
    return wrong();
  url.path = std::string(text);
  return url;
}

Result<std::uint64_t> BridgeUrl::number(std::string_view name, std::uint64_t fallback,
                                        std::uint64_t max) const {
  const auto found = options.find(name);
  if (found == options.end())
    return fallback;
  std::uint64_t value = 0;
  if (!parse_number(found->second, value) || value > max)
    return fail(ErrorCode::kInvalidArgument, "option {}={}: a number up to {:#x} is needed", name,
                found->second, max);
  return value;
}

// --- UARTBone
// ---------------------------------------------------------------------------------------

UartBone::UartBone(std::unique_ptr<ByteLine> line, unsigned baud, Milliseconds timeout)
    : line_(std::move(line)), baud_(baud), timeout_(timeout), burst_(kMaxBurst) {
  // The bridge gives up a command that takes 100 ms.
  if (baud != 0)
    burst_ = std::clamp<std::size_t>((std::size_t{baud} / 10 * 8 / 100 - 6) / 4, 1, kMaxBurst);
}

Milliseconds UartBone::time_for(std::size_t bytes) const {
  return timeout_ + Milliseconds(baud_ == 0 ? 0 : bytes * 10'000 / baud_);
}

Result<void> UartBone::expect_quiet() {
  std::array<std::uint8_t, 16> bytes{};
  const auto got = line_->receive_some(bytes, Milliseconds(0));
  if (got)
    return fail(ErrorCode::kParse,
                "garbage on the line: {} bytes (first {:#04x}) that nobody asked for", *got,
                bytes[0]);
  if (got.error().code == ErrorCode::kTimeout)
    return {};
  return got.error();
}

Result<void> UartBone::read(std::uint32_t address, std::span<std::uint32_t> words) {
  while (!words.empty()) {
    KESTREL_TRY(expect_quiet());
    const std::size_t count = std::min(words.size(), burst_);
    std::vector<std::uint8_t> bytes = {2, static_cast<std::uint8_t>(count)};
    append_be<std::uint32_t>(bytes, address / 4);
    KESTREL_TRY(line_->send(bytes, time_for(bytes.size())));
    bytes.resize(4 * count);
    KESTREL_TRY(line_->receive(bytes, time_for(bytes.size() + 6)));
    for (std::size_t i = 0; i < count; ++i)
      words[i] = load_be<std::uint32_t>(bytes, 4 * i);
    words = words.subspan(count);
    address += static_cast<std::uint32_t>(4 * count);
  }
  return {};
}

Result<void> UartBone::write(std::uint32_t address, std::span<const std::uint32_t> words) {
  while (!words.empty()) {
    KESTREL_TRY(expect_quiet());
    const std::size_t count = std::min(words.size(), burst_);
    std::vector<std::uint8_t> bytes = {1, static_cast<std::uint8_t>(count)};
    append_be<std::uint32_t>(bytes, address / 4);
    for (const std::uint32_t word : words.first(count))
      append_be<std::uint32_t>(bytes, word);
    KESTREL_TRY(line_->send(bytes, time_for(bytes.size())));
    words = words.subspan(count);
    address += static_cast<std::uint32_t>(4 * count);
  }
  return {};
}

Result<void> UartBone::resynchronise() {
  // Longer than the 100 ms after which the bridge gives up; what comes then is not silence for
  // ever.
  const auto dropped = line_->discard(Milliseconds(200), Milliseconds(2000));
  if (!dropped)
    return dropped.error();
  return expect_quiet();
}

// --- Etherbone
// --------------------------------------------------------------------------------------

Etherbone::Etherbone(std::unique_ptr<ByteLine> line, Milliseconds timeout, std::size_t burst)
    : line_(std::move(line)), timeout_(timeout), burst_(burst) {}

namespace {

// Magic number, version 1, addresses and data of 32 bits; four bytes of padding follow.
constexpr std::uint32_t kEtherboneMagic = 0x4E6F'1044;
constexpr std::size_t kEtherboneData = 16; // header, record header, base address

std::vector<std::uint8_t> etherbone_packet(std::size_t writes, std::size_t reads,
                                           std::uint32_t base) {
  std::vector<std::uint8_t> packet;
  append_be<std::uint32_t>(packet, kEtherboneMagic);
  append_be<std::uint32_t>(packet, 0);
  append_be<std::uint32_t>(packet, 0x000F'0000U | static_cast<std::uint32_t>(writes << 8U | reads));
  append_be<std::uint32_t>(packet, base);
  return packet;
}

} // namespace

Result<void> Etherbone::read(std::uint32_t address, std::span<std::uint32_t> words) {
  constexpr int kTries = 4;
  while (!words.empty()) {
    const std::size_t count = std::min(words.size(), burst_);
    bool answered = false;
    for (int i = 0; i < kTries && !answered; ++i) {
      const std::uint32_t serial = ++serial_;
      auto packet = etherbone_packet(0, count, serial);
      for (std::size_t k = 0; k < count; ++k)
        append_be<std::uint32_t>(packet, address + static_cast<std::uint32_t>(4 * k));
      KESTREL_TRY(line_->send(packet, timeout_));
      const auto end = std::chrono::steady_clock::now() + timeout_ / kTries;
      std::array<std::uint8_t, 2048> answer{};
      while (!answered) {
        const auto left = std::chrono::ceil<Milliseconds>(end - std::chrono::steady_clock::now());
        const auto got = line_->receive_some(answer, std::max(left, Milliseconds(0)));
        if (!got && got.error().code == ErrorCode::kTimeout)
          break;
        if (!got)
          return got.error();
        const std::span<const std::uint8_t> bytes(answer.data(), *got);
        if (bytes.size() < kEtherboneData ||
            load_be<std::uint32_t>(bytes) >> 16U != kEtherboneMagic >> 16U)
          return fail(ErrorCode::kParse, "garbage on the line: {} bytes that are not Etherbone",
                      bytes.size());
        if (bytes[10] != count || bytes.size() < kEtherboneData + 4 * count ||
            load_be<std::uint32_t>(bytes, 12) != serial)
          continue; // the late answer to an earlier question
        for (std::size_t k = 0; k < count; ++k)
          words[k] = load_be<std::uint32_t>(bytes, kEtherboneData + 4 * k);
        answered = true;
      }
    }
    if (!answered)
      return fail(ErrorCode::kTimeout,
                  "no answer to {} questions within {} ms (packets of up to {} words, option "
                  "burst; a board stops at one that its buffer does not hold)",
                  kTries, timeout_.count(), burst_);
    words = words.subspan(count);
    address += static_cast<std::uint32_t>(4 * count);
  }
  return {};
}

Result<void> Etherbone::write(std::uint32_t address, std::span<const std::uint32_t> words) {
  while (!words.empty()) {
    const std::size_t count = std::min(words.size(), burst_);
    auto packet = etherbone_packet(count, 0, address);
    for (const std::uint32_t word : words.first(count))
      append_be<std::uint32_t>(packet, word);
    KESTREL_TRY(line_->send(packet, timeout_));
    // The answer says that the write before it was taken: no more than one is on its way.
    std::uint32_t word = 0;
    KESTREL_TRY(read(address, std::span(&word, 1)));
    words = words.subspan(count);
    address += static_cast<std::uint32_t>(4 * count);
  }
  return {};
}

Result<void> Etherbone::resynchronise() {
  const auto dropped = line_->discard(Milliseconds(50), Milliseconds(1000));
  return dropped ? Result<void>() : dropped.error();
}

Result<std::unique_ptr<Bridge>> open_bridge(const BridgeUrl &url) {
  KESTREL_ASSIGN(const std::uint64_t baud, url.number("baud", 1'000'000, 100'000'000));
  KESTREL_ASSIGN(const std::uint64_t time, url.number("timeout", 5000, 3'600'000));
  const Milliseconds timeout(time);
  switch (url.kind) {
  case BridgeUrl::Kind::kSerial: {
    KESTREL_ASSIGN(auto line, ByteLine::open_serial(url.path, static_cast<unsigned>(baud)));
    return std::unique_ptr<Bridge>(
        std::make_unique<UartBone>(std::move(line), static_cast<unsigned>(baud), timeout));
  }
  case BridgeUrl::Kind::kTcp: {
    KESTREL_ASSIGN(auto line, ByteLine::connect_tcp(url.host, url.port, timeout));
    return std::unique_ptr<Bridge>(std::make_unique<UartBone>(std::move(line), 0, timeout));
  }
  case BridgeUrl::Kind::kUdp:
    break;
  }
  KESTREL_ASSIGN(const std::uint64_t burst,
                 url.number("burst", Etherbone::kDefaultBurst, kMaxBurst));
  if (burst == 0)
    return fail(ErrorCode::kInvalidArgument, "option burst=0: at least one word is needed");
  KESTREL_ASSIGN(auto line, ByteLine::connect_udp(url.host, url.port));
  return std::unique_ptr<Bridge>(
      std::make_unique<Etherbone>(std::move(line), timeout, static_cast<std::size_t>(burst)));
}

} // namespace kestrel
