// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The whole engine when things go wrong: bus errors, malformed descriptors, random damage of a
// program, resets in mid-program. In every case it ends with an interrupt (or follows a soft reset)
// within a bound, keeps to the AXI rules, breaks none of its own assertions, and afterwards runs an
// undamaged program with the right result.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "Vhv_engine_edge.h"
#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/functional_device.hpp"
#include "testbench/cpp/engine_bench.hpp"
#include "tests/host/vision/random_layers.hpp"

namespace kestrel::hv {
namespace {

namespace reg = contract::reg;
using contract::DescOp;
using contract::ErrorCause;
using tb::AxiDirection;
using tb::AxiResp;

constexpr std::uint32_t kPkgBase = 0x1000'0000;
constexpr std::uint32_t kInBase = 0x2000'0000;
constexpr std::uint32_t kOutBase = 0x3000'0000;
constexpr std::uint32_t kScratchBase = 0x4000'0000;
constexpr std::uint64_t kMemorySize = 0x5000'0000;
constexpr std::uint32_t kOutside = 0x7000'0080; // answers DECERR
constexpr std::uint32_t kBlock = contract::kAlignBytes;

constexpr std::uint32_t kWatchdog = 3000;     // the memory answers much faster
constexpr std::uint64_t kGoodBound = 100'000; // cycles of an undamaged program
constexpr std::uint64_t kStopBound = 4000;    // from an error or soft reset until idle

const contract::Config &edge() { return *contract::find_config("edge"); }

/// A package with an input and what has to be in OUT afterwards.
struct Program {
  std::string name;
  Package package;
  std::vector<std::uint8_t> in;
  std::vector<std::uint8_t> out;

  template <class Desc> Desc get(std::uint32_t index) const {
    contract::DescWords words;
    std::memcpy(words.data(), package.descriptor(index).data(), Package::kDescriptorBytes);
    return contract::decode<Desc>(words);
  }
  contract::DescWords words(std::uint32_t index) const {
    contract::DescWords words;
    std::memcpy(words.data(), package.descriptor(index).data(), Package::kDescriptorBytes);
    return words;
  }
  void put(std::uint32_t index, const contract::DescWords &words) {
    std::memcpy(package.image.data() + package.descriptor_offset +
                    std::size_t{index} * Package::kDescriptorBytes,
                words.data(), Package::kDescriptorBytes);
  }
  template <class Desc> void put(std::uint32_t index, const Desc &desc) {
    put(index, contract::encode(desc));
  }
  DescOp kind(std::uint32_t index) const { return static_cast<DescOp>(words(index)[0] & 15U); }
  std::uint32_t count() const { return package.descriptor_count; }
  /// The descriptors of one kind.
  std::vector<std::uint32_t> all(DescOp wanted) const {
    std::vector<std::uint32_t> found;
    for (std::uint32_t i = 0; i < count(); ++i)
      if (kind(i) == wanted)
        found.push_back(i);
    return found;
  }
};

Program make_program(const std::string &name, const Graph &graph, const CompileOptions &options) {
  auto package = compile(graph, edge(), options);
  EXPECT_TRUE(package) << package.error().message;
  Program p{name, std::move(*package), {}, {}};
  const auto input = test::random_input(graph, 77);
  p.in = *pack_input(p.package, input);
  FunctionalDevice device(edge(), {});
  EXPECT_TRUE(device.load(p.package));
  EXPECT_TRUE(device.run(input));
  const auto out = device.out_region();
  p.out.assign(out.begin(), out.end());
  return p;
}

constexpr test::RandomLimits kSmall{
    .max_side = 10, .max_channels = 24, .max_kernel = 3, .max_macs = 40'000};

std::size_t distinct_values(const Program &p) {
  std::vector<std::uint8_t> values = p.out;
  std::sort(values.begin(), values.end());
  return static_cast<std::size_t>(std::unique(values.begin(), values.end()) - values.begin());
}

/// Input in stripes, dense and depthwise layers, residual, classifier, softmax: LOAD, COMPUTE,
/// CONF.
const Program &classifier() {
  static const Program program = [] {
    CompileOptions options;
    options.input_stripes = 3;
    for (std::uint64_t seed = 5;; ++seed) { // until the result tells much
      test::RandomNetwork net(seed, kSmall, 18, 16, 4);
      net.conv();
      const TensorId start = net.now();
      net.relu();
      net.add(start);
      net.depthwise();
      net.fully_connected(10);
      net.softmax();
      Program p = make_program("classifier", net.finish(), options);
      if (distinct_values(p) >= 5 || testing::Test::HasFailure())
        return p;
    }
  }();
  return program;
}

/// A map of several bursts as output: LOAD, COMPUTE, STORE.
const Program &mapper() {
  static const Program program = [] {
    for (std::uint64_t seed = 3;; ++seed) {
      test::RandomNetwork net(seed, kSmall, 9, 11, 12);
      net.relu();
      net.depthwise();
      net.quantize();
      Program p = make_program("mapper", net.finish(), {});
      if ((distinct_values(p) >= 32 && p.out.size() >= 640) || testing::Test::HasFailure())
        return p;
    }
  }();
  return program;
}

struct Outcome {
  bool ended = false; // interrupt within the bound
  std::uint32_t status = 0;
  ErrorCause cause = ErrorCause::kNone;
  std::uint32_t info = 0;
};

class Engine {
public:
  using Bench = tb::EngineBench<Vhv_engine_edge>;

  explicit Engine(std::uint64_t seed, double stall = 0.0, std::uint32_t write_latency = 8,
                  std::uint32_t outstanding = 16)
      : bench(config(seed, stall, write_latency, outstanding)) {}

  std::uint32_t read(std::uint32_t offset) {
    const auto result = bench.registers.read32(offset);
    EXPECT_TRUE(result.ok()) << fmt::format("read of {:#x}", offset);
    return result.value;
  }
  void write(std::uint32_t offset, std::uint32_t value) {
    EXPECT_TRUE(bench.registers.write32(offset, value).ok())
        << fmt::format("write of {:#x}", offset);
  }

  /// Memory and registers for `p`; OUT is cleared, as the functional device does.
  void load(const Program &p) {
    EXPECT_TRUE(bench.memory.store(kPkgBase, p.package.image));
    EXPECT_TRUE(bench.memory.store(kInBase, p.in));
    EXPECT_TRUE(bench.memory.fill(kOutBase, p.out.size(), 0));
    write(reg::kDescBase, kPkgBase + p.package.descriptor_offset);
    write(reg::kDescCount, p.count());
    write(reg::kPkgBase, kPkgBase);
    write(reg::kInBase, kInBase);
    write(reg::kOutBase, kOutBase);
    write(reg::kScratchBase, kScratchBase);
    write(reg::kSoftmaxShift, 0);
    write(reg::kWatchdog, kWatchdog);
    write(reg::kIrqEnable, 3);
    write(reg::kIrqStatus, 3);
    if (p.package.has_confidence && exp_of_ != &p)
      write_exp_table(p);
  }
  void write_exp_table(const Program &p) {
    for (std::uint32_t i = 0; i < contract::kExpTableEntries; ++i)
      write(static_cast<std::uint32_t>(contract::kExpTableOffset) + 4 * i,
            static_cast<std::uint32_t>(p.package.exp_table[i]));
    exp_of_ = &p;
  }
  void forget_exp_table() { exp_of_ = nullptr; }

  void start() { write(reg::kCtrl, reg::kCtrlStart.put(1)); }

  /// Until the interrupt, which is cleared; checks what holds whatever the program was.
  Outcome finish(std::uint64_t bound) {
    const auto status = bench.run_to_irq(bound);
    Outcome o;
    o.ended = status == decltype(bench.simulation)::Status::done;
    EXPECT_FALSE(bench.simulation.failed()) << "an assertion of the RTL failed";
    check_bus();
    if (!o.ended)
      return o;
    o.status = read(reg::kStatus);
    const std::uint32_t error = read(reg::kError);
    o.cause = static_cast<ErrorCause>(reg::kErrorCause.get(error));
    o.info = reg::kErrorInfo.get(error);
    const bool failed = o.status == reg::kStatusError.put(1);
    EXPECT_TRUE(failed || o.status == reg::kStatusDone.put(1)) << o.status;
    EXPECT_EQ(failed, o.cause != ErrorCause::kNone);
    EXPECT_FALSE(bench.memory.busy()) << "interrupt with bus transfers under way";
    EXPECT_EQ(read(reg::kIrqStatus), failed ? 2U : 1U);
    write(reg::kIrqStatus, 3);
    EXPECT_FALSE(bench.irq());
    return o;
  }

  /// AXI rules. Hazards between a damaged program's own reads and writes are the program's fault.
  void check_bus() {
    const auto &log = bench.memory.checker().log();
    const std::uint64_t hazards =
        log.count(tb::AxiRule::mem_read_hazard) + log.count(tb::AxiRule::mem_write_hazard);
    EXPECT_EQ(log.total(), hazards) << log.report("m_axi");
    EXPECT_EQ(bench.registers.violations(), "");
  }

  /// An undamaged program: ends without error, with the right output.
  void run_good(const Program &p) {
    bench.memory.clear_faults();
    load(p);
    const auto hazards = bench.memory.checker().log().total();
    start();
    const Outcome o = finish(kGoodBound);
    ASSERT_TRUE(o.ended) << "the undamaged program does not end";
    ASSERT_EQ(o.status, reg::kStatusDone.put(1))
        << "the undamaged program ends with error " << static_cast<int>(o.cause) << ", information "
        << o.info;
    std::vector<std::uint8_t> out(p.out.size());
    ASSERT_TRUE(bench.memory.load(kOutBase, out));
    ASSERT_EQ(out, p.out) << "the undamaged program gives a wrong result";
    ASSERT_EQ(bench.memory.checker().log().total(), hazards);
  }

  /// Soft reset and the wait for its end. No interrupt comes from it.
  void soft_reset() {
    write(reg::kCtrl, reg::kCtrlSoftReset.put(1));
    const auto idle = bench.registers.poll32(reg::kStatus, 0xF, 0, kStopBound);
    ASSERT_TRUE(idle.ok()) << "soft reset does not end; STATUS " << read(reg::kStatus);
    ASSERT_FALSE(bench.memory.busy());
    ASSERT_FALSE(bench.simulation.failed()) << "an assertion of the RTL failed";
    ASSERT_EQ(read(reg::kError), 0U);
    check_bus();
    write(reg::kIrqStatus, 3);
  }

  void steps(std::uint64_t cycles) {
    for (std::uint64_t i = 0; i < cycles; ++i)
      ASSERT_TRUE(bench.step());
  }

  /// Sum of the counters of everything that the watchdog calls progress, but for activation writes.
  std::uint64_t progress() {
    return std::uint64_t{read(reg::kCntMac)} + read(reg::kCntRes) + read(reg::kCntRdBeats) +
           read(reg::kCntWrBeats) + read(reg::kCntDesc);
  }

  Bench bench;

private:
  static Bench::Config config(std::uint64_t seed, double stall, std::uint32_t write_latency,
                              std::uint32_t outstanding) {
    Bench::Config c;
    c.memory.max_outstanding = outstanding;
    c.memory.size = kMemorySize;
    c.memory.write_latency = write_latency;
    c.memory.back_pressure = tb::AxiBackPressure::all(stall);
    c.memory.seed = seed + 1;
    c.simulation.seed = seed;
    c.simulation.max_cycles = ~std::uint64_t{0};
    c.simulation.fatal_assertions = false;
    return c;
  }

  const Program *exp_of_ = nullptr; // whose exp table the engine has
};

void expect_error(const Outcome &o, ErrorCause cause, std::optional<std::uint32_t> info) {
  ASSERT_TRUE(o.ended) << "no interrupt";
  EXPECT_EQ(contract::to_string(o.cause), contract::to_string(cause)) << "information " << o.info;
  if (info) {
    EXPECT_EQ(o.info, *info);
  }
}

// --- Undamaged
// -------------------------------------------------------------------------------------

TEST(EngineErrors, UndamagedProgramsEndWithoutError) {
  Engine engine(1);
  for (const Program *p : {&classifier(), &mapper(), &classifier()}) {
    engine.run_good(*p);
    std::printf("%s: %u descriptors (LOAD %zu, COMPUTE %zu, STORE %zu, CONF %zu), %zu bytes, %u "
                "cycles\n",
                p->name.c_str(), p->count(), p->all(DescOp::kLoad).size(),
                p->all(DescOp::kCompute).size(), p->all(DescOp::kStore).size(),
                p->all(DescOp::kConf).size(), p->package.image.size(),
                engine.read(reg::kCntCycles));
  }
  // What the cases below rely on.
  EXPECT_GE(classifier().all(DescOp::kLoad).size(), 2U);
  EXPECT_GE(classifier().all(DescOp::kCompute).size(), 4U);
  EXPECT_EQ(classifier().all(DescOp::kConf).size(), 1U);
  EXPECT_EQ(mapper().all(DescOp::kStore).size(), 1U);
  EXPECT_GE(mapper().out.size(), 4 * kBlock);
}

// --- Bus errors
// ------------------------------------------------------------------------------------

// 128-byte blocks that a program reads, each once: descriptors, input, weights.
void read_errors(const Program &p, double stall) {
  Engine engine(17, stall);
  engine.run_good(p);
  std::vector<std::uint32_t> blocks;
  // Of the weights every third block; descriptors and input whole.
  for (std::uint32_t offset = 0; offset < p.package.image.size();
       offset +=
       offset < p.package.descriptor_offset && offset + 3 * kBlock < p.package.descriptor_offset
           ? 3 * kBlock
           : kBlock)
    blocks.push_back(kPkgBase + offset);
  for (std::uint32_t offset = 0; offset < p.in.size(); offset += kBlock)
    blocks.push_back(kInBase + offset);
  test::Random random(test::seed_or(171));
  for (const std::uint32_t block : blocks) {
    SCOPED_TRACE(fmt::format("{}: block {:#x}", p.name, block));
    engine.load(p);
    // Some fail in every beat; descriptors are read whole, so any beat of them will do.
    const bool descriptor = block >= kPkgBase + p.package.descriptor_offset && block < kInBase;
    const std::uint32_t offset = descriptor ? 8 * static_cast<std::uint32_t>(random.in(0, 15)) : 0;
    engine.bench.memory.inject_range(AxiDirection::read, block + offset, descriptor ? 8 : kBlock,
                                     random.chance(0.5) ? AxiResp::slverr : AxiResp::decerr);
    engine.start();
    expect_error(engine.finish(kGoodBound), ErrorCause::kReadResp, block >> 8U);
    ASSERT_NO_FATAL_FAILURE(engine.run_good(p));
  }
  std::printf("%s: %zu blocks\n", p.name.c_str(), blocks.size());
}

TEST(EngineErrors, ReadErrorsOfAClassifier) { read_errors(classifier(), 0.0); }
TEST(EngineErrors, ReadErrorsOfAMapper) { read_errors(mapper(), 0.3); }

// Every block of the output, with so long a latency that the bursts behind it are announced before
// the response comes.
TEST(EngineErrors, WriteErrorInEveryBlock) {
  for (const std::uint32_t latency : {1U, 120U}) {
    for (const Program *p : {&mapper(), &classifier()}) {
      Engine engine(18, 0.0, latency);
      for (std::uint32_t offset = 0; offset < p->out.size(); offset += kBlock) {
        SCOPED_TRACE(fmt::format("{}: block {:#x}, latency {}", p->name, offset, latency));
        engine.load(*p);
        engine.bench.memory.inject_range(AxiDirection::write, kOutBase + offset, kBlock,
                                         offset % (2 * kBlock) == 0 ? AxiResp::slverr
                                                                    : AxiResp::decerr);
        engine.start();
        expect_error(engine.finish(kGoodBound), ErrorCause::kWriteResp, (kOutBase + offset) >> 8U);
        ASSERT_NO_FATAL_FAILURE(engine.run_good(*p));
      }
    }
  }
}

// A memory that takes more bursts than the engine can count waits for none of them.
TEST(EngineErrors, MoreWritesThanTheEngineCounts) {
  test::RandomNetwork net(1, kSmall, 20, 20, 24);
  net.quantize();
  const Program p = make_program("75 bursts", net.finish(), {});
  EXPECT_GT(p.out.size(), 70 * kBlock);
  Engine engine(31, 0.0, 2500, 128);
  for (int i = 0; i < 2; ++i)
    ASSERT_NO_FATAL_FAILURE(engine.run_good(p));
}

TEST(EngineErrors, BasesOutsideTheMemoryAnswerDecerr) {
  Engine engine(19);
  struct Case {
    std::uint32_t offset;
    ErrorCause cause;
  };
  for (const Program *p : {&mapper(), &classifier()}) {
    for (const Case c :
         {Case{reg::kDescBase, ErrorCause::kReadResp}, Case{reg::kPkgBase, ErrorCause::kReadResp},
          Case{reg::kInBase, ErrorCause::kReadResp}, Case{reg::kOutBase, ErrorCause::kWriteResp}}) {
      SCOPED_TRACE(fmt::format("{}: register {:#x}", p->name, c.offset));
      engine.load(*p);
      engine.write(c.offset, kOutside);
      engine.start();
      // PKG: the first weight segment need not be at the start of the image.
      const bool exact = c.offset != reg::kPkgBase;
      expect_error(engine.finish(kGoodBound), c.cause,
                   exact ? std::optional(kOutside >> 8U) : std::nullopt);
      ASSERT_NO_FATAL_FAILURE(engine.run_good(*p));
    }
  }
}

TEST(EngineErrors, ProgramsThatCannotStart) {
  Engine engine(20);
  const Program &p = mapper();
  struct Case {
    std::uint32_t offset, value;
  };
  for (const Case c : {Case{reg::kDescCount, 0}, Case{reg::kDescCount, 65536},
                       Case{reg::kDescBase, kPkgBase + 64}, Case{reg::kPkgBase, kPkgBase + 8},
                       Case{reg::kInBase, kInBase + 1}, Case{reg::kOutBase, kOutBase + 127},
                       Case{reg::kScratchBase, kScratchBase + 2}, Case{reg::kSoftmaxShift, 1}}) {
    SCOPED_TRACE(fmt::format("register {:#x} = {:#x}", c.offset, c.value));
    engine.load(p);
    engine.write(c.offset, c.value);
    engine.start();
    expect_error(engine.finish(50), ErrorCause::kBadStart, c.offset);
    ASSERT_NO_FATAL_FAILURE(engine.run_good(p));
  }
}

// --- Malformed descriptors
// -------------------------------------------------------------------------

struct Malformed {
  std::string name;
  Program program;
  ErrorCause cause;
  std::optional<std::uint32_t> info;
};

template <class Desc>
void change(std::vector<Malformed> &cases, const Program &p, std::uint32_t index,
            const std::string &name, ErrorCause cause, std::optional<std::uint32_t> info,
            const std::function<void(Desc &)> &edit) {
  Malformed m{fmt::format("{}: descriptor {}: {}", p.name, index, name), p, cause, info};
  Desc desc = m.program.get<Desc>(index);
  edit(desc);
  m.program.put(index, desc);
  cases.push_back(std::move(m));
}

/// `info` is the index for what the front end finds.
template <class Desc>
void bad_field(std::vector<Malformed> &cases, const Program &p, std::uint32_t index,
               const std::string &name, const std::function<void(Desc &)> &edit) {
  change<Desc>(cases, p, index, name, ErrorCause::kBadField, index, edit);
}

void run_malformed(const std::vector<Malformed> &cases, std::uint64_t seed, double stall = 0.0) {
  ASSERT_FALSE(cases.empty());
  Engine engine(seed, stall);
  for (const Malformed &m : cases) {
    SCOPED_TRACE(m.name);
    engine.load(m.program);
    engine.start();
    expect_error(engine.finish(kGoodBound + kWatchdog), m.cause, m.info);
    ASSERT_NO_FATAL_FAILURE(engine.run_good(m.program.name == "mapper" ? mapper() : classifier()));
    if (testing::Test::HasFailure())
      return;
  }
  std::printf("%zu malformed programs\n", cases.size());
}

TEST(EngineErrors, UnknownOpcodes) {
  std::vector<Malformed> cases;
  for (const Program *p : {&classifier(), &mapper()}) {
    for (std::uint32_t index = 0; index < p->count(); ++index) {
      const auto op =
          static_cast<unsigned>(std::array{0, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}[index % 11]);
      Malformed m{fmt::format("{}: descriptor {}: opcode {}", p->name, index, op), *p,
                  ErrorCause::kBadOpcode, index};
      auto words = p->words(index);
      words[0] = (words[0] & ~std::uint64_t{15}) | op;
      m.program.put(index, words);
      cases.push_back(std::move(m));
    }
  }
  run_malformed(cases, 21);
}

template <class Desc>
void reserved_bits(std::vector<Malformed> &cases, const Program &p, std::uint32_t index) {
  const contract::DescWords &mask = contract::kReservedMask<Desc>;
  for (std::size_t word = 0; word < contract::kDescWords; ++word) {
    if (mask[word] == 0)
      continue;
    const unsigned low = static_cast<unsigned>(std::countr_zero(mask[word]));
    const unsigned high = 63U - static_cast<unsigned>(std::countl_zero(mask[word]));
    for (const unsigned bit : {low, high}) {
      Malformed m{
          fmt::format("{}: descriptor {}: reserved bit {} of word {}", p.name, index, bit, word), p,
          ErrorCause::kBadField, index};
      auto words = p.words(index);
      words[word] |= std::uint64_t{1} << bit;
      m.program.put(index, words);
      cases.push_back(std::move(m));
    }
  }
}

TEST(EngineErrors, ReservedBits) {
  std::vector<Malformed> cases;
  const Program &c = classifier();
  const Program &m = mapper();
  reserved_bits<contract::ComputeDesc>(cases, c, c.all(DescOp::kCompute).back());
  reserved_bits<contract::LoadDesc>(cases, c, c.all(DescOp::kLoad).front());
  reserved_bits<contract::ConfDesc>(cases, c, c.all(DescOp::kConf).front());
  reserved_bits<contract::StoreDesc>(cases, m, m.all(DescOp::kStore).front());
  reserved_bits<contract::EndDesc>(cases, m, m.count() - 1);
  run_malformed(cases, 22);
}

TEST(EngineErrors, BadFields) {
  using Compute = contract::ComputeDesc;
  using Load = contract::LoadDesc;
  using Store = contract::StoreDesc;
  using Conf = contract::ConfDesc;
  std::vector<Malformed> cases;
  for (const Program *p : {&classifier(), &mapper()}) {
    const auto loads = static_cast<std::int64_t>(p->all(DescOp::kLoad).size());
    const auto computes = static_cast<std::int64_t>(p->all(DescOp::kCompute).size());
    for (const std::uint32_t i : p->all(DescOp::kCompute)) {
      bad_field<Compute>(cases, *p, i, "glog 3", [](Compute &d) { d.glog = 3; });
      bad_field<Compute>(cases, *p, i, "waits for a LOAD that never comes",
                         [&](Compute &d) { d.wait_load = loads + 1; });
      bad_field<Compute>(cases, *p, i, "waits for 65535 outputs",
                         [](Compute &d) { d.wait_out = 65535; });
      if (p->get<Compute>(i).wnew != 0) {
        bad_field<Compute>(cases, *p, i, "no weights", [](Compute &d) { d.wwords = 0; });
        bad_field<Compute>(cases, *p, i, "weights off alignment",
                           [](Compute &d) { d.waddr += 64; });
      }
    }
    bad_field<Compute>(cases, *p, p->all(DescOp::kCompute).front(), "reuses weights of none",
                       [](Compute &d) { d.wnew = 0; });
    for (const std::uint32_t i : p->all(DescOp::kLoad)) {
      bad_field<Load>(cases, *p, i, "mode 3", [](Load &d) { d.mode = 3; });
      bad_field<Load>(cases, *p, i, "no beats", [](Load &d) { d.beats = 0; });
      bad_field<Load>(cases, *p, i, "no words", [](Load &d) { d.count = 0; });
      bad_field<Load>(cases, *p, i, "no channels", [](Load &d) { d.chans = 0; });
      bad_field<Load>(cases, *p, i, "off alignment", [](Load &d) { d.addr += 8; });
      bad_field<Load>(cases, *p, i, "9 channels RAW", [](Load &d) {
        d.mode = static_cast<std::int64_t>(contract::LoadMode::kRaw);
        d.chans = 9;
      });
      bad_field<Load>(cases, *p, i, "planes of no words", [](Load &d) {
        d.mode = static_cast<std::int64_t>(contract::LoadMode::kPlanar);
        d.chans = 0;
        d.n = 0;
      });
      bad_field<Load>(cases, *p, i, "waits for a later layer",
                      [&](Load &d) { d.wait_compute = computes; });
      bad_field<Load>(cases, *p, i, "waits for an output", [](Load &d) { d.wait_out = 1; });
    }
    for (const std::uint32_t i : p->all(DescOp::kStore)) {
      bad_field<Store>(cases, *p, i, "no groups", [](Store &d) { d.groups = 0; });
      bad_field<Store>(cases, *p, i, "no pixels", [](Store &d) { d.n = 0; });
      bad_field<Store>(cases, *p, i, "off alignment", [](Store &d) { d.addr = 1; });
      bad_field<Store>(cases, *p, i, "waits for a layer that never comes",
                       [&](Store &d) { d.wait_compute = computes + 1; });
      bad_field<Store>(cases, *p, i, "waits for a LOAD that never comes",
                       [&](Store &d) { d.wait_load = loads + 1; });
    }
    for (const std::uint32_t i : p->all(DescOp::kConf)) {
      bad_field<Conf>(cases, *p, i, "no classes", [](Conf &d) { d.classes = 0; });
      bad_field<Conf>(cases, *p, i, "1025 classes", [](Conf &d) { d.classes = 1025; });
      bad_field<Conf>(cases, *p, i, "off alignment", [](Conf &d) { d.addr = 8; });
      bad_field<Conf>(cases, *p, i, "waits for a layer that never comes",
                      [&](Conf &d) { d.wait_compute = computes + 1; });
      bad_field<Conf>(cases, *p, i, "waits for a LOAD that never comes",
                      [&](Conf &d) { d.wait_load = loads + 1; });
    }
  }
  run_malformed(cases, 23);
}

TEST(EngineErrors, EndInTheWrongPlace) {
  std::vector<Malformed> cases;
  for (const Program *p : {&classifier(), &mapper()}) {
    for (std::uint32_t index = 0; index + 1 < p->count(); ++index) {
      Malformed early{fmt::format("{}: END at {}", p->name, index), *p, ErrorCause::kBadOpcode,
                      index};
      early.program.put(index, contract::EndDesc{});
      cases.push_back(std::move(early));
      Malformed missing{fmt::format("{}: only {} descriptors", p->name, index + 1), *p,
                        ErrorCause::kBadOpcode, index};
      missing.program.package.descriptor_count = index + 1;
      cases.push_back(std::move(missing));
    }
    // The program goes on behind its END.
    Malformed behind{fmt::format("{}: END and then another", p->name), *p, ErrorCause::kBadOpcode,
                     p->count() - 1};
    behind.program.package.descriptor_count += 1;
    cases.push_back(std::move(behind));
  }
  run_malformed(cases, 24, 0.2);
}

TEST(EngineErrors, RowsBeyondTheMemory) {
  using Compute = contract::ComputeDesc;
  using Load = contract::LoadDesc;
  std::vector<Malformed> cases;
  const auto rows = static_cast<std::int64_t>(edge().act_rows);
  for (const Program *p : {&classifier(), &mapper()}) {
    for (const std::int64_t base : {rows, std::int64_t{40'000}}) {
      for (const std::uint32_t i : p->all(DescOp::kCompute)) {
        change<Compute>(cases, *p, i, "input", ErrorCause::kActRange, 0,
                        [&](Compute &d) { d.in_base = base; });
        change<Compute>(cases, *p, i, "output", ErrorCause::kActRange, 0,
                        [&](Compute &d) { d.out_base = base; });
        if (p->get<Compute>(i).add != 0)
          change<Compute>(cases, *p, i, "residual", ErrorCause::kActRange, 0,
                          [&](Compute &d) { d.res_base = base; });
      }
      for (const std::uint32_t i : p->all(DescOp::kLoad))
        change<Load>(cases, *p, i, "load", ErrorCause::kActRange, 1,
                     [&](Load &d) { d.dst_base = base; });
      for (const std::uint32_t i : p->all(DescOp::kStore))
        change<contract::StoreDesc>(cases, *p, i, "store", ErrorCause::kActRange, 2,
                                    [&](contract::StoreDesc &d) { d.src_base = base; });
      for (const std::uint32_t i : p->all(DescOp::kConf))
        change<contract::ConfDesc>(cases, *p, i, "logits", ErrorCause::kActRange, 2,
                                   [&](contract::ConfDesc &d) { d.src_base = base; });
    }
    // The first rows are in the memory, the last ones are not.
    for (const std::uint32_t i : p->all(DescOp::kLoad))
      change<Load>(cases, *p, i, "load to the end", ErrorCause::kActRange, 1,
                   [&](Load &d) { d.dst_base = rows - 1 - d.p0 / 16; });
    for (const std::uint32_t i : p->all(DescOp::kStore))
      change<contract::StoreDesc>(cases, *p, i, "store of many planes", ErrorCause::kActRange, 2,
                                  [](contract::StoreDesc &d) { d.groups = 4095; });
  }
  run_malformed(cases, 25);
}

TEST(EngineErrors, ProgramsThatStandStill) {
  using Compute = contract::ComputeDesc;
  using Load = contract::LoadDesc;
  std::vector<Malformed> cases;
  for (const Program *p : {&classifier(), &mapper()}) {
    for (const std::uint32_t i : p->all(DescOp::kLoad))
      change<Load>(cases, *p, i, "one beat", ErrorCause::kWatchdog, 0,
                   [](Load &d) { d.beats = 1; });
    const std::uint32_t last = p->all(DescOp::kCompute).back();
    for (const std::uint32_t i : p->all(DescOp::kCompute))
      if (p->get<Compute>(i).wnew != 0 && (i == last || p->get<Compute>(i + 1).wnew != 0))
        change<Compute>(cases, *p, i, "weight words left over", ErrorCause::kWatchdog, 0,
                        [](Compute &d) { d.kwords += 3000; });
    change<Compute>(cases, *p, last, "segment of one word", ErrorCause::kWatchdog, 0,
                    [](Compute &d) { d.wwords = 1; });
    change<Compute>(cases, *p, last, "segment cut by a word", ErrorCause::kWatchdog, 0,
                    [](Compute &d) { d.wwords -= 1; });
    change<Compute>(cases, *p, last, "kept segment larger than the ring", ErrorCause::kWatchdog, 0,
                    [](Compute &d) {
                      d.wrel = 0;
                      d.wwords = 5000;
                    });
  }
  run_malformed(cases, 26);

  // Without the watchdog it stays like that until a soft reset.
  Engine engine(27);
  for (const Malformed &m : cases) {
    SCOPED_TRACE(m.name);
    engine.load(m.program);
    engine.write(reg::kWatchdog, 0);
    engine.start();
    EXPECT_FALSE(engine.finish(2 * kWatchdog).ended);
    ASSERT_NO_FATAL_FAILURE(engine.soft_reset());
    ASSERT_NO_FATAL_FAILURE(engine.run_good(m.program.name == "mapper" ? mapper() : classifier()));
  }
}

// The table of exponentials is data: whatever it holds, the confidence unit comes to an end.
TEST(EngineErrors, AnyExpTableEnds) {
  Engine engine(28);
  const Program &p = classifier();
  test::Random random(test::seed_or(281));
  for (int i = 0; i < 6; ++i) {
    Program odd = p;
    for (std::int32_t &e : odd.package.exp_table)
      e = i == 0 ? 0 : i == 1 ? -1 : static_cast<std::int32_t>(random.bits());
    engine.load(odd);
    engine.write_exp_table(odd);
    engine.start();
    EXPECT_TRUE(engine.finish(kGoodBound).ended);
    engine.forget_exp_table();
    ASSERT_NO_FATAL_FAILURE(engine.run_good(p));
  }
}

// --- Random damage
// ---------------------------------------------------------------------------------

struct Tally {
  std::map<std::string, int> outcomes;
  void print() const {
    for (const auto &[name, count] : outcomes)
      std::printf("  %-12s %d\n", name.c_str(), count);
  }
};

// Bits that a field has.
std::uint64_t used_bits(const Program &p, std::uint32_t index, std::size_t word) {
  switch (p.kind(index)) {
  case DescOp::kCompute:
    return ~contract::kReservedMask<contract::ComputeDesc>[word];
  case DescOp::kLoad:
    return ~contract::kReservedMask<contract::LoadDesc>[word];
  case DescOp::kStore:
    return ~contract::kReservedMask<contract::StoreDesc>[word];
  case DescOp::kConf:
    return ~contract::kReservedMask<contract::ConfDesc>[word];
  default:
    return ~contract::kReservedMask<contract::EndDesc>[word];
  }
}

void damage(Program &p, test::Random &random) {
  const int last = static_cast<int>(p.count()) - 1;
  const auto any_descriptor = [&] { return static_cast<std::uint32_t>(random.in(0, last)); };
  const int changes = random.chance(0.7) ? 1 : random.in(2, 4);
  for (int i = 0; i < changes; ++i) {
    const std::uint32_t index = any_descriptor();
    auto words = p.words(index);
    // Mostly a word that has fields, and in it mostly the fields.
    auto word = static_cast<std::size_t>(random.in(0, 15));
    while (used_bits(p, index, word) == 0 && random.chance(0.95))
      word = static_cast<std::size_t>(random.in(0, 15));
    const std::uint64_t bits = random.chance(0.9) ? used_bits(p, index, word) : ~std::uint64_t{0};
    switch (random.in(0, 7)) {
    case 0: // any word, but for the opcode
      words[word] = (random.bits() & bits & ~std::uint64_t{15}) | (words[word] & 15U);
      break;
    case 1: // a word of another descriptor
      words[word] = p.words(any_descriptor())[word];
      break;
    case 2: // another descriptor
      words = p.words(any_descriptor());
      break;
    case 3: // some bits
      words[word] ^= random.bits() & random.bits() & random.bits() & bits;
      break;
    default: { // one bit
      std::uint64_t bit = 0;
      while (bits != 0 && (bit & bits) == 0)
        bit = std::uint64_t{1} << random.in(0, 63);
      words[word] ^= bit;
      break;
    }
    }
    p.put(index, words);
  }
}

void random_damage(std::uint64_t first, int count, double stall) {
  std::printf("KESTREL_SEED=%llu (%d cases, back-pressure %.2f)\n",
              static_cast<unsigned long long>(first), count, stall);
  constexpr std::uint64_t kBound = 15'000;
  Engine engine(first, stall);
  Tally tally;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
    SCOPED_TRACE(fmt::format("seed {}", seed));
    test::Random random(seed * 0x9E3779B97F4A7C15U);
    const Program &good = random.chance(0.6) ? classifier() : mapper();
    Program bad = good;
    damage(bad, random);
    engine.load(bad);
    engine.start();
    const Outcome o = engine.finish(kBound);
    if (o.ended) {
      ++tally.outcomes[std::string(contract::to_string(o.cause))];
      if (random.chance(0.2)) {
        ASSERT_NO_FATAL_FAILURE(engine.soft_reset());
      }
    } else {
      // Long but alive: the watchdog has seen progress all the time.
      ++tally.outcomes["long"];
      const std::uint64_t before = engine.progress();
      const Outcome later = engine.finish(2 * kWatchdog);
      if (!later.ended) {
        EXPECT_NE(engine.progress(), before) << "stands still without a watchdog error";
      }
      ASSERT_NO_FATAL_FAILURE(engine.soft_reset());
    }
    ASSERT_NO_FATAL_FAILURE(engine.run_good(good));
    if (testing::Test::HasFailure())
      break;
  }
  tally.print();
  EXPECT_GT(tally.outcomes["BAD_FIELD"], 0);
  EXPECT_GT(tally.outcomes["ACT_RANGE"], 0);
  EXPECT_GT(tally.outcomes["WATCHDOG"], 0);
  EXPECT_GT(tally.outcomes["NONE"], 0);
}

TEST(EngineDamage, RandomDamageOnAQuietBus) { random_damage(test::seed_or(71'000), 250, 0.0); }
TEST(EngineDamage, RandomDamageUnderBackPressure) {
  random_damage(test::seed_or(82'000), 200, 0.3);
}

// --- Resets in mid-program
// -------------------------------------------------------------------------

TEST(EngineReset, SoftResetAtRandomCycles) {
  const std::uint64_t seed = test::seed_or(91);
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(seed));
  test::Random random(seed);
  for (const double stall : {0.0, 0.4}) {
    Engine engine(seed, stall, stall > 0 ? 90 : 8);
    for (const Program *p : {&classifier(), &mapper()}) {
      engine.run_good(*p);
      const int cycles = static_cast<int>(engine.read(reg::kCntCycles));
      for (int i = 0; i < 30; ++i) {
        engine.load(*p);
        engine.start();
        const int at = random.in(0, cycles + 20);
        SCOPED_TRACE(
            fmt::format("{}: soft reset {} cycles after the start, stall {}", p->name, at, stall));
        ASSERT_NO_FATAL_FAILURE(engine.steps(static_cast<std::uint64_t>(at)));
        if (random.chance(0.3)) // twice; the second is absorbed or done again
          engine.write(reg::kCtrl, reg::kCtrlSoftReset.put(1));
        ASSERT_NO_FATAL_FAILURE(engine.soft_reset());
        ASSERT_NO_FATAL_FAILURE(engine.run_good(*p));
      }
    }
  }
}

TEST(EngineReset, HardResetAtRandomCycles) {
  const std::uint64_t seed = test::seed_or(92);
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(seed));
  test::Random random(seed);
  for (const double stall : {0.0, 0.4}) {
    Engine engine(seed, stall);
    for (const Program *p : {&classifier(), &mapper()}) {
      engine.run_good(*p);
      const int cycles = static_cast<int>(engine.read(reg::kCntCycles));
      for (int i = 0; i < 12; ++i) {
        engine.load(*p);
        engine.start();
        const int at = random.in(0, cycles);
        SCOPED_TRACE(
            fmt::format("{}: hard reset {} cycles after the start, stall {}", p->name, at, stall));
        ASSERT_NO_FATAL_FAILURE(engine.steps(static_cast<std::uint64_t>(at)));
        engine.bench.reset();
        engine.forget_exp_table();
        EXPECT_EQ(engine.read(reg::kStatus), 0U);
        EXPECT_EQ(engine.read(reg::kDescCount), 0U);
        ASSERT_NO_FATAL_FAILURE(engine.run_good(*p));
      }
    }
  }
}

TEST(EngineReset, CommandsWhileBusyAreRefused) {
  Engine engine(93);
  const Program &p = classifier();
  engine.load(p);
  engine.start();
  for (int i = 0; i < 10; ++i) {
    ASSERT_NO_FATAL_FAILURE(engine.steps(20));
    EXPECT_EQ(engine.bench.registers.write32(reg::kCtrl, reg::kCtrlStart.put(1)).resp,
              AxiResp::slverr);
    EXPECT_EQ(engine.bench.registers.write32(reg::kPkgBase, kOutside).resp, AxiResp::slverr);
    EXPECT_EQ(engine.bench.registers.write32(contract::kExpTableOffset, 0).resp, AxiResp::slverr);
  }
  const Outcome o = engine.finish(kGoodBound);
  ASSERT_TRUE(o.ended);
  EXPECT_EQ(o.cause, ErrorCause::kNone);
  std::vector<std::uint8_t> out(p.out.size());
  ASSERT_TRUE(engine.bench.memory.load(kOutBase, out));
  EXPECT_EQ(out, p.out);
  ASSERT_NO_FATAL_FAILURE(engine.run_good(p));
}

} // namespace
} // namespace kestrel::hv
