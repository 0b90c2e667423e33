// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The model of the SDRAM chip: data come back at the CAS latency; each rule is broken once, by a
// cycle, and noticed; the same commands a cycle later are none of its business.
#include <cstdint>
#include <map>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "Vtb_sdram_pins.h"
#include "testbench/cpp/simulation.hpp"

namespace kestrel::tb {
namespace {

// cs_n, ras_n, cas_n, we_n
enum Command : std::uint8_t {
  kNop = 0b0111,
  kActive = 0b0011,
  kRead = 0b0101,
  kWrite = 0b0100,
  kPrecharge = 0b0010,
  kRefresh = 0b0001,
  kMode = 0b0000,
};
constexpr std::uint16_t kAll = 1U << 10U; // A10: all banks, or precharge by itself

/// 10 ns a cycle: tRCD 3, tRP 3, tRAS 5 to 500, tRC 7, tRRD 2, tRFC 7, tWR 2, tMRD 2, tREFI 780,
/// start 40.
class Chip {
public:
  Chip() : simulation_(config()) {}

  /// One cycle with that command.
  void give(Command command, unsigned bank = 0, unsigned address = 0, int data = -1,
            unsigned mask = 0) {
    simulation_.step(
        [&](std::uint64_t) {
          auto &m = simulation_.model();
          m.command_i = command;
          m.ba_i = static_cast<std::uint8_t>(bank);
          m.a_i = static_cast<std::uint16_t>(address);
          m.dm_i = static_cast<std::uint8_t>(mask);
          m.write_i = data >= 0 ? 1 : 0;
          m.dq_i = static_cast<std::uint16_t>(data);
        },
        [&](std::uint64_t) { pins_ = simulation_.model().dq_o; });
  }
  void wait(int cycles) {
    for (int i = 0; i < cycles; ++i)
      give(kNop);
  }
  void start(unsigned latency = 2, int quiet = 40) {
    wait(quiet);
    give(kPrecharge, 0, kAll);
    wait(2);
    for (int i = 0; i < 2; ++i) {
      give(kRefresh);
      wait(6);
    }
    give(kMode, 0, latency << 4U);
    wait(1);
  }
  /// What was on the data pins before the last edge.
  [[nodiscard]] unsigned pins() const { return pins_; }
  [[nodiscard]] unsigned violations() { return simulation_.model().violations_o; }

private:
  static SimulationConfig config() {
    SimulationConfig config;
    config.fatal_assertions = false;
    return config;
  }
  Simulation<Vtb_sdram_pins> simulation_;
  unsigned pins_ = 0;
};

TEST(TestbenchSdram, DataComeBackAtTheLatency) {
  for (const unsigned latency : {2U, 3U}) {
    Chip chip;
    chip.start(latency);
    std::mt19937 random(latency);
    std::map<unsigned, unsigned> words;
    int reads = 0;
    for (int i = 0; i < 300; ++i) {
      const unsigned bank = random() % 4, row = random() % 64, column = random() % 32;
      const unsigned at = bank << 11U | row << 5U | column;
      chip.give(kActive, bank, row);
      chip.wait(2);
      if (random() % 2 == 0 || words.count(at) == 0) {
        const unsigned data = random() % 65536;
        chip.give(kWrite, bank, column, static_cast<int>(data));
        words[at] = data;
        if (random() % 4 == 0) { // the lower byte alone
          chip.give(kWrite, bank, column, 0x1234, 2);
          words[at] = (data & 0xFF00U) | 0x34U;
        }
        chip.wait(2);
      }
      chip.give(kRead, bank, column);
      chip.wait(static_cast<int>(latency));
      EXPECT_EQ(chip.pins(), words[at]) << "latency " << latency << ", access " << i;
      ++reads;
      chip.wait(2);
      chip.give(kPrecharge, bank);
      chip.wait(2);
      if (i % 20 == 0) {
        chip.give(kRefresh);
        chip.wait(6);
      }
    }
    EXPECT_EQ(reads, 300);
    EXPECT_EQ(chip.violations(), 0U);
  }
}

/// `commands` in a chip that has started, with bank 0 closed: how many rules it says were broken.
template <class F> unsigned broken(F &&commands) {
  Chip chip;
  chip.start();
  commands(chip);
  chip.wait(2);
  return chip.violations();
}

TEST(TestbenchSdram, EveryRuleIsNoticedAtItsCycle) {
  const auto trcd = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive);
      c.wait(cycles - 1);
      c.give(kRead);
    });
  };
  EXPECT_EQ(trcd(2), 1U);
  EXPECT_EQ(trcd(3), 0U);

  const auto tras = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive);
      c.wait(cycles - 1);
      c.give(kPrecharge);
    });
  };
  EXPECT_EQ(tras(4), 1U);
  EXPECT_EQ(tras(5), 0U);
  const auto open = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive);
      c.wait(cycles);
    });
  };
  EXPECT_EQ(open(500 - 4), 0U);
  EXPECT_EQ(open(500 + 4), 1U);

  const auto trc = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive);
      c.wait(4);
      c.give(kPrecharge);
      c.wait(cycles - 6);
      c.give(kActive);
    });
  };
  EXPECT_EQ(trc(7), 1U); // tRP alone
  EXPECT_EQ(trc(8), 0U);

  const auto trrd = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive, 1);
      c.wait(cycles - 1);
      c.give(kActive, 2);
    });
  };
  EXPECT_EQ(trrd(1), 1U);
  EXPECT_EQ(trrd(2), 0U);

  const auto trp = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive);
      c.wait(9);
      c.give(kPrecharge);
      c.wait(cycles - 1);
      c.give(kActive);
    });
  };
  EXPECT_EQ(trp(2), 1U);
  EXPECT_EQ(trp(3), 0U);
  for (const Command command : {kRefresh, kMode}) {
    const auto after = [=](int cycles) {
      return broken([=](Chip &c) {
        c.give(kActive, 3);
        c.wait(9);
        c.give(kPrecharge, 3);
        c.wait(cycles - 1);
        c.give(command, 0, command == kMode ? 2U << 4U : 0);
      });
    };
    EXPECT_EQ(after(2), 1U) << "command " << int{command};
    EXPECT_EQ(after(3), 0U) << "command " << int{command};
  }

  const auto twr = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kActive);
      c.wait(5);
      c.give(kWrite, 0, 0, 1);
      c.wait(cycles - 1);
      c.give(kPrecharge);
    });
  };
  EXPECT_EQ(twr(1), 1U);
  EXPECT_EQ(twr(2), 0U);

  const auto trfc = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kRefresh);
      c.wait(cycles - 1);
      c.give(kActive);
    });
  };
  EXPECT_EQ(trfc(6), 1U);
  EXPECT_EQ(trfc(7), 0U);

  const auto tmrd = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kMode, 0, 2U << 4U);
      c.wait(cycles - 1);
      c.give(kActive);
    });
  };
  EXPECT_EQ(tmrd(1), 1U);
  EXPECT_EQ(tmrd(2), 0U);

  const auto trefi = [](int cycles) {
    return broken([=](Chip &c) {
      c.give(kRefresh);
      c.wait(cycles);
    });
  };
  EXPECT_EQ(trefi(9 * 780 - 8), 0U);
  EXPECT_GT(trefi(9 * 780 + 8), 0U);
  // On average: no interval is too long, there are too few refreshes.
  const auto average = [](int cycles) {
    return broken([=](Chip &c) {
      for (int i = 0; i < 20; ++i) {
        c.give(kRefresh);
        c.wait(cycles - 1);
      }
    });
  };
  EXPECT_EQ(average(780), 0U);
  EXPECT_EQ(average(1050), 0U);
  EXPECT_EQ(average(1200), 1U);
}

/// A read or write that closes its bank does so once tRAS and tWR are over, and tRP begins there.
TEST(TestbenchSdram, ABankClosesByItselfWhenItMay) {
  // `column` so many cycles after the bank was opened, the next row after so many.
  const auto reopened = [](Command column, int at, int cycles, Command next = kActive) {
    return broken([=](Chip &c) {
      c.give(kActive, 1, 5);
      c.wait(at - 1);
      c.give(column, 1, kAll, column == kWrite ? 1 : -1);
      c.wait(cycles - at - 1);
      c.give(next, 1, 6);
    });
  };
  // tRAS decides: open until cycle 5, though the read was over before.
  for (int cycles = 4; cycles <= 5; ++cycles)
    EXPECT_GE(reopened(kRead, 3, cycles), 1U) << cycles;
  EXPECT_EQ(reopened(kRead, 3, 7), 1U);
  EXPECT_EQ(reopened(kRead, 3, 8), 0U);
  EXPECT_EQ(reopened(kRead, 3, 7, kRefresh), 1U);
  EXPECT_EQ(reopened(kRead, 3, 8, kRefresh), 0U);
  // The read decides.
  EXPECT_EQ(reopened(kRead, 9, 12), 1U);
  EXPECT_EQ(reopened(kRead, 9, 13), 0U);
  // tWR decides.
  EXPECT_EQ(reopened(kWrite, 4, 8), 1U);
  EXPECT_EQ(reopened(kWrite, 4, 9), 0U);
}

TEST(TestbenchSdram, ThePinsHaveOneDriver) {
  for (const unsigned latency : {2U, 3U}) {
    // What the controller drives and masks, so many cycles after the read.
    const auto during = [&](unsigned cycles, int data, unsigned mask) {
      Chip chip;
      chip.start(latency);
      chip.give(kActive);
      chip.wait(2);
      chip.give(kWrite, 0, 0, 0x00FF);
      chip.wait(3);
      chip.give(kRead, 0, 0, -1, cycles == 0 ? mask : 0);
      for (unsigned i = 1; i <= 5; ++i) {
        if (i == cycles)
          chip.give(kNop, 0, 0, data, mask);
        else
          chip.wait(1);
      }
      return chip.violations();
    };
    for (unsigned cycles = 1; cycles <= 5; ++cycles)
      EXPECT_EQ(during(cycles, 0xFF00, 0), cycles == latency ? 1U : 0U) << cycles;
    for (unsigned cycles = 0; cycles <= 5; ++cycles)
      EXPECT_EQ(during(cycles, -1, 2), cycles + 2 == latency ? 1U : 0U) << cycles;
  }
}

TEST(TestbenchSdram, BanksAreOpenWhereTheyHaveToBe) {
  EXPECT_EQ(broken([](Chip &c) { c.give(kRead); }), 1U);
  EXPECT_EQ(broken([](Chip &c) {
              c.give(kActive);
              c.wait(7);
              c.give(kActive);
            }),
            1U);
  EXPECT_EQ(broken([](Chip &c) {
              c.give(kActive);
              c.wait(7);
              c.give(kRefresh);
            }),
            1U);
  // A read that closes its bank.
  EXPECT_EQ(broken([](Chip &c) {
              c.give(kActive);
              c.wait(5);
              c.give(kRead, 0, kAll);
              c.wait(5);
              c.give(kRead);
            }),
            1U);
  EXPECT_EQ(broken([](Chip &c) {
              c.give(kActive);
              c.wait(2);
              c.give(kRead);
              c.wait(1);
              c.give(kWrite, 0, 0, 1); // the read drives the pins
            }),
            1U);
}

TEST(TestbenchSdram, TheStartHasAnOrder) {
  Chip early;
  early.start(2, 30);
  EXPECT_EQ(early.violations(), 1U);
  Chip not_started;
  not_started.wait(50);
  not_started.give(kActive);
  not_started.wait(2);
  EXPECT_EQ(not_started.violations(), 1U);
  Chip latency;
  latency.start(1);
  EXPECT_EQ(latency.violations(), 1U);
  Chip reserved; // the reset of a DLL, on later kinds of SDRAM
  reserved.start(2U | 1U << 4U);
  EXPECT_EQ(reserved.violations(), 1U);
}

} // namespace
} // namespace kestrel::tb
