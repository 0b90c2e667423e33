#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Generates the system of a ULX3S board: the vision engine with SDRAM and a bridge to the serial port.

LiteX writes the Verilog (OUTPUT/gateware/kestrel_ulx3s.v), the pin constraints (.lpf) and the map of the bus
(OUTPUT/csr.json); no other tool runs. docs/board_ulx3s.md describes the system.

  build/venv/bin/python boards/ulx3s/system.py --output build/boards/ulx3s
  build/venv/bin/python boards/ulx3s/system.py --output DIR --simulation    a fast line, for the simulated board
"""

import argparse
import math
import pathlib
import sys

from litedram import modules as sdram_modules
from litedram.frontend.axi import LiteDRAMAXI2Native
from litedram.init import cmds, get_sdr_phy_init_sequence
from litedram.phy import GENSDRPHY
from litex.build.io import DDROutput
from litex.build.lattice.common import lattice_ecp5_special_overrides
from litex.gen import ClockDomain, LiteXModule
from litex.soc.cores import uart
from litex.soc.cores.clock import ECP5PLL
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import axi
from litex_boards.platforms import radiona_ulx3s
from migen import Array, C, Cat, ClockSignal, If, Instance, ResetSignal, Signal

NAME = "kestrel_ulx3s"
DEVICE = "LFE5U-85F"
ENGINE_BASE = 0x3000_0000
ENGINE_SIZE = 0x1_0000
MEMORY_BASE = 0x4000_0000
# Times of the SDRAM in ns, the slowest of AS4C16M16SA-7, AS4C32M16SB-7 and MT48LC16M16A2-75, as in
# testbench/rtl/tb_sdram.sv. LiteDRAM's own are those of a faster grade, and lack tRAS and tRRD of the AS4C
# chips: it would keep neither tRAS nor tRC, and after a refresh close and open a row too soon.
SDRAM_TIMES = {"tRP": 21, "tRCD": 21, "tWR": 15, "tRFC": 66, "tRAS": 44, "tRC": 66, "tRRD": 15}
SDRAM_REFRESH = 7800
SDRAM_START = 200_000
CYCLES_PER_BIT = 4  # of the serial port in simulation, the fewest that its receiver takes; as in sim/board.hpp


class Clocks(LiteXModule):
    """System clock and, a quarter of a period later, the clock of the SDRAM chip."""

    def __init__(self, platform, frequency):
        self.rst = Signal()
        self.cd_sys = ClockDomain()
        self.cd_sys_ps = ClockDomain()
        self.pll = pll = ECP5PLL()
        self.comb += pll.reset.eq(platform.request("rst") | self.rst)
        pll.register_clkin(platform.request("clk25"), 25e6)
        pll.create_clkout(self.cd_sys, frequency)
        pll.create_clkout(self.cd_sys_ps, frequency, phase=90)
        self.specials += DDROutput(1, 0, platform.request("sdram_clock"), ClockSignal("sys_ps"))
        # The ESP32 on the board must not reset the FPGA.
        self.comb += platform.request("wifi_gpio0").eq(1)


class SdramStart(LiteXModule):
    """Initialises the SDRAM after reset, as sdram_phy.h has it: there is no processor to do it.

    Until `done` the commands go past the controller, through the external port of LiteDRAM's injector.
    """

    # Cycles between commands where LiteDRAM's sequence relies on the time that software takes.
    SPACE = 16

    def __init__(self, sdram, phy_settings, timing_settings, frequency):
        self.done = Signal()

        # # #

        sequence, _ = get_sdr_phy_init_sequence(phy_settings, timing_settings)
        steps = []
        for text, address, bank, command, delay in sequence:
            pins = command.split("|")
            is_command = any(pin.startswith("DFII_COMMAND") for pin in pins)
            if command == cmds["MODE_REGISTER"]:
                address &= ~0x100  # the reset of a DLL, which this kind of SDRAM has not: reserved
            if not steps:
                delay = max(delay, math.ceil(SDRAM_START * frequency / 1e9))
            active = [is_command and f"DFII_COMMAND_{pin}" in pins for pin in ("CS", "RAS", "CAS", "WE")]
            steps.append((address, bank, active, max(delay, self.SPACE), text))
        # As data sheets ask for it: eight refreshes, not two.
        refresh = next(i for i, step in enumerate(steps) if step[4] == "Auto Refresh")
        steps[refresh:refresh] = 6 * [steps[refresh]]

        last = len(steps) - 1
        step = Signal(max=len(steps))
        issue = Signal(reset=1)
        wait = Signal(max=max(delay for _, _, _, delay, _ in steps) + 1)
        phase = sdram.dfii.ext_dfi.p0
        selected = {
            "address": Array(C(address, len(phase.address)) for address, _, _, _, _ in steps)[step],
            "bank": Array(C(bank, len(phase.bank)) for _, bank, _, _, _ in steps)[step],
            "pins": Array(C(sum(int(pin) << i for i, pin in enumerate(active)), 4)
                          for _, _, active, _, _ in steps)[step],
            "delay": Array(C(delay, len(wait)) for _, _, _, delay, _ in steps)[step],
        }
        pins = Signal(4)
        self.comb += [
            sdram.dfii.ext_dfi_sel.eq(~self.done),
            phase.cke.eq(1),
            phase.address.eq(selected["address"]),
            phase.bank.eq(selected["bank"]),
            If(issue, pins.eq(selected["pins"])),
            Cat(phase.cs_n, phase.ras_n, phase.cas_n, phase.we_n).eq(~pins),
        ]
        self.sync += If(~self.done,
            issue.eq(0),
            wait.eq(wait + 1),
            If(wait == selected["delay"],
                wait.eq(0),
                If(step == last, self.done.eq(1)).Else(step.eq(step + 1), issue.eq(1)),
            ),
        )


class Engine(LiteXModule):
    """hv_engine: registers as AXI4-Lite slave, memory as AXI4 master of 64 bits."""

    def __init__(self):
        self.registers = registers = axi.AXILiteInterface(data_width=32, address_width=32)
        self.memory = memory = axi.AXIInterface(data_width=64, address_width=32, id_width=1)
        self.irq = Signal()
        ports = {"i_clk_i": ClockSignal("sys"), "i_rst_ni": ~ResetSignal("sys"), "o_irq_o": self.irq}
        # channel: from the bus into the engine (its payload and valid), or out of it
        for prefix, bus, width in (("s_axil_", registers, 16), ("m_axi_", memory, 32)):
            slave = prefix.startswith("s")
            fields = {
                "aw": ["addr"] + ([] if slave else ["len", "size", "burst"]),
                "w": ["data", "strb"],
                "b": ["resp"],
                "ar": ["addr"] + ([] if slave else ["len", "size", "burst"]),
                "r": ["data", "resp"],
            }
            for channel, names in fields.items():
                stream = getattr(bus, channel)
                request = channel in ("aw", "w", "ar")
                into, out = ("i", "o") if slave == request else ("o", "i")
                signals = {name: getattr(stream, name) for name in names}
                if not slave and channel in ("w", "r"):
                    signals["last"] = stream.last
                if slave and "addr" in signals:
                    signals["addr"] = signals["addr"][:width]
                for name, signal in (*signals.items(), ("valid", stream.valid)):
                    ports[f"{into}_{prefix}{channel}{name}"] = signal
                ports[f"{out}_{prefix}{channel}ready"] = stream.ready
        self.specials += Instance("hv_engine", **ports)


class Blink(LiteXModule):
    """Lights for a twentieth of a second after `event`."""

    def __init__(self, event, frequency):
        self.light = Signal()
        count = Signal(max=int(frequency / 20) + 1)
        self.comb += self.light.eq(count != 0)
        self.sync += If(event, count.eq(int(frequency / 20))).Elif(count != 0, count.eq(count - 1))


class System(SoCCore):
    def __init__(self, frequency, baud, sdram, bridge_frequency):
        platform = radiona_ulx3s.Platform(device=DEVICE, revision="2.0", toolchain="trellis")
        # Pins that are both input and output as BB, whose port is one; TRELLIS_IO would be an input.
        platform.toolchain.special_overrides = lattice_ecp5_special_overrides
        self.crg = Clocks(platform, frequency)
        SoCCore.__init__(
            self, platform, int(frequency), cpu_type=None, with_uart=False, with_timer=False,
            integrated_sram_size=0, ident="", ident_version=False,
            # Sooner than the bridge gives up a command of 255 words.
            bus_timeout=10_000,
        )

        # The bridge: the host's words from the serial port, its answers to it.
        serial = platform.request("serial")
        self.uartbone_phy = uart.UARTPHY(serial, frequency, baud)
        self.uartbone = uart.UARTBone(phy=self.uartbone_phy, clk_freq=bridge_frequency)
        self.bus.add_master(name="uartbone", master=self.uartbone.wishbone)

        # SDRAM. No cache: the bridge and the engine see the same memory.
        self.sdrphy = GENSDRPHY(platform.request("sdram"), frequency)
        module = getattr(sdram_modules, sdram)(frequency, "1:1")
        for name, time in SDRAM_TIMES.items():
            setattr(module.timing_settings, name, math.ceil(time * frequency / 1e9))
        module.timing_settings.tREFI = math.floor(SDRAM_REFRESH * frequency / 1e9)
        self.add_sdram("sdram", phy=self.sdrphy, module=module, origin=MEMORY_BASE, l2_cache_size=0)
        self.sdram_start = SdramStart(self.sdram, self.sdrphy.settings, module.timing_settings, frequency)

        # The engine.
        self.engine = Engine()
        self.bus.add_slave("engine", self.engine.registers,
                           SoCRegion(origin=ENGINE_BASE, size=ENGINE_SIZE, cached=False))
        port = self.sdram.crossbar.get_port(data_width=64)
        self.engine_memory = LiteDRAMAXI2Native(
            self.engine.memory, port, base_address=self.bus.regions["main_ram"].origin)

        # LEDs: alive, SDRAM ready, receive, transmit, engine reads, engine writes, interrupt.
        beat = Signal(max(1, int(math.log2(frequency))))
        self.sync += beat.eq(beat + 1)
        self.receive = Blink(~serial.rx, frequency)
        self.transmit = Blink(~serial.tx, frequency)
        self.reading = Blink(self.engine.memory.ar.valid, frequency)
        self.writing = Blink(self.engine.memory.aw.valid, frequency)
        lights = [beat[-1], self.sdram_start.done, self.receive.light, self.transmit.light,
                  self.reading.light, self.writing.light, self.engine.irq, 0]
        for i, light in enumerate(lights):
            self.comb += platform.request("user_led", i).eq(light)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write into")
    parser.add_argument("--clock", type=float, default=50e6, help="system clock in Hz (default 50e6)")
    parser.add_argument("--baud", type=float, default=1e6, help="of the serial port (default 1e6)")
    parser.add_argument("--sdram", default="AS4C16M16", choices=["AS4C16M16", "AS4C32M16", "MT48LC16M16"],
                        help="chip on the board (default AS4C16M16, which 64 MB chips can be used as)")
    parser.add_argument("--simulation", action="store_true",
                        help="four cycles a bit, and a bridge that gives up a command after 100 000 cycles")
    options = parser.parse_args()
    if options.simulation:
        options.baud = options.clock / CYCLES_PER_BIT
    system = System(options.clock, options.baud, options.sdram,
                    bridge_frequency=1e6 if options.simulation else options.clock)
    builder = Builder(system, output_dir=str(options.output), compile_software=False,
                      compile_gateware=False, csr_json=str(options.output / "csr.json"))
    builder.build(run=False, build_name=NAME)
    # Time is none of the system's business, and other modules name no scale.
    verilog = options.output / "gateware" / f"{NAME}.v"
    verilog.write_text(verilog.read_text().replace("`timescale 1ns / 1ps\n", ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
