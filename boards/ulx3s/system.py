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
from litedram.core import bankmachine, controller
from litedram.common import LiteDRAMNativePort
from litedram.core.controller import ControllerSettings
from litedram.core.refresher import Refresher
from litedram.frontend.adapter import LiteDRAMNativePortConverter
from litedram.frontend.axi import LiteDRAMAXI2Native
from litedram.frontend.wishbone import LiteDRAMWishbone2Native
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
from litex.soc.interconnect import axi, stream, wishbone
from litex_boards.platforms import radiona_ulx3s
from migen.fhdl.structure import _Assign, _Operator
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


class BridgeStage(LiteXModule):
    """Registers between the bridge and the bus, both ways; one access at a time, two cycles more each."""

    def __init__(self, master):
        self.bus = bus = wishbone.Interface.like(master)
        request = [(getattr(bus, name), getattr(master, name)) for name in ("adr", "dat_w", "sel", "we")]
        self.sync += [
            master.ack.eq(0),
            If(bus.cyc,
                If(bus.ack | bus.err,
                    bus.cyc.eq(0),
                    bus.stb.eq(0),
                    master.dat_r.eq(bus.dat_r),
                    master.ack.eq(1),
                )
            ).Elif(master.cyc & master.stb & ~master.ack,
                bus.cyc.eq(1),
                bus.stb.eq(1),
                *[to.eq(value) for to, value in request],
            ),
        ]


class StagedRefresher(Refresher):
    """LiteDRAM's refresher with a register before what the bank machines see of it.

    Request and end come a cycle later, together; the commands are long under way by then, or not yet.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        inner = self.cmd
        self.cmd = outer = stream.Endpoint(inner.description)
        self.comb += [outer.payload.eq(inner.payload), inner.ready.eq(outer.ready)]
        self.sync += [outer.valid.eq(inner.valid), outer.last.eq(inner.last)]


class StagedBankMachine(bankmachine.BankMachine):
    """LiteDRAM's bank machine, which compares the row of a command as it takes it and not as it works on it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        # What the base class keeps to itself: the queue of commands and the register behind it, the signals of its
        # row tracking.
        (_, queue), (_, buffer) = self._submodules[:2]
        compare, = [statement for statement in self._fragment.comb if isinstance(statement, _Assign)
                    and isinstance(statement.r, _Operator) and statement.r.op == "=="]
        row, = [side for side in compare.r.operands if isinstance(side, Signal)]
        row_open = self._fragment.sync["sys"][0].f[0].cond
        slicer = bankmachine._AddressSlicer(options["settings"].geom.colbits, options["address_align"])

        hit = Signal()
        self._fragment.comb.remove(compare)
        self.comb += compare.l.eq(hit)
        self.sync += If(row_open, hit.eq(1)).Elif(buffer.sink.valid & buffer.sink.ready,
            hit.eq(row == slicer.row(queue.source.addr)))


class StagedPort(LiteXModule):
    """A port of LiteDRAM's crossbar with registers for its commands, both ways.

    Data to be written may be early, and data read waits for nobody, so both go past.
    """

    def __init__(self, port):
        self.port = user = LiteDRAMNativePort(port.mode, port.address_width, port.data_width)
        self.commands = stream.Buffer(port.cmd.description, pipe_valid=True, pipe_ready=True)
        self.comb += [
            user.cmd.connect(self.commands.sink),
            self.commands.source.connect(port.cmd),
            user.wdata.connect(port.wdata),
            port.rdata.connect(user.rdata),
            port.flush.eq(user.flush),
        ]


class Slot(LiteXModule):
    """A register for a stream: valid, ready and payload without logic between the sides, every second cycle at most."""

    def __init__(self, layout):
        self.sink = sink = stream.Endpoint(layout)
        self.source = source = stream.Endpoint(layout)
        names = [name for part in (source.payload, source.param) for name, *_ in part.layout]
        self.comb += sink.ready.eq(~source.valid)
        self.sync += [
            If(~source.valid,
                source.valid.eq(sink.valid),
                source.first.eq(sink.first),
                source.last.eq(sink.last),
                *[getattr(source, name).eq(getattr(sink, name)) for name in names],
            ).Elif(source.ready,
                source.valid.eq(0),
            ),
        ]


class AxiStage(LiteXModule):
    """Registers in all channels of an AXI bus; the memory moves a beat in four cycles."""

    def __init__(self, master):
        self.bus = bus = axi.AXIInterface(
            data_width=master.data_width, address_width=master.address_width, id_width=master.id_width)
        for channel in ("aw", "w", "b", "ar", "r"):
            source, sink = getattr(master, channel), getattr(bus, channel)
            if channel in ("b", "r"):
                source, sink = sink, source
            stage = Slot(source.description)
            setattr(self, channel, stage)
            self.comb += [source.connect(stage.sink), stage.source.connect(sink)]


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
        self.bridge_stage = BridgeStage(self.uartbone.wishbone)
        self.bus.add_master(name="uartbone", master=self.bridge_stage.bus)

        # SDRAM. No cache: the bridge and the engine see the same memory.
        self.sdrphy = GENSDRPHY(platform.request("sdram"), frequency)
        module = getattr(sdram_modules, sdram)(frequency, "1:1")
        for name, time in SDRAM_TIMES.items():
            setattr(module.timing_settings, name, math.ceil(time * frequency / 1e9))
        module.timing_settings.tREFI = math.floor(SDRAM_REFRESH * frequency / 1e9)
        # LiteDRAM's controller has no setting for it.
        controller.BankMachine = StagedBankMachine
        self.add_sdram("sdram", phy=self.sdrphy, module=module, with_soc_interconnect=False,
                       controller_settings=ControllerSettings(
                           with_auto_precharge=False, refresh_cls=StagedRefresher))
        size = 2 ** (module.geom_settings.bankbits + module.geom_settings.rowbits
                     + module.geom_settings.colbits) * self.sdrphy.settings.databits // 8
        self.bus_port = StagedPort(self.sdram.crossbar.get_port())
        self.bus_memory = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.bus.add_slave("main_ram", self.bus_memory, SoCRegion(origin=MEMORY_BASE, size=size, mode="rwx"))
        self.bus_native = LiteDRAMWishbone2Native(self.bus_memory, self.bus_port.port, base_address=MEMORY_BASE)
        self.sdram_start = SdramStart(self.sdram, self.sdrphy.settings, module.timing_settings, frequency)

        # The engine.
        self.engine = Engine()
        self.bus.add_slave("engine", self.engine.registers,
                           SoCRegion(origin=ENGINE_BASE, size=ENGINE_SIZE, cached=False))
        self.engine_port = StagedPort(self.sdram.crossbar.get_port())
        narrow = self.engine_port.port
        wide = LiteDRAMNativePort(narrow.mode, narrow.address_width - 2, 4 * narrow.data_width)
        self.engine_width = LiteDRAMNativePortConverter(wide, narrow)
        self.engine_stage = AxiStage(self.engine.memory)
        self.engine_memory = LiteDRAMAXI2Native(self.engine_stage.bus, wide, base_address=MEMORY_BASE)

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
