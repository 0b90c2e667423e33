# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The engine driven from Python by AXI peers of cocotbext-axi. Walked through in docs/blocks.md.

Reads what to run from the environment: PACKAGE, INPUTS and EXPECTED (.npy, int8), PAUSES (0 or 1), and
CONTRACT, the file contract/vision.json, for the register offsets.
"""

import json
import os
import random

import cocotb
import numpy
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam
from package import SOFTMAX, Package

PKG, IN, OUT, SCRATCH = 0x000000, 0x400000, 0x500000, 0x600000  # regions of an 8 MiB memory

with open(os.environ["CONTRACT"], encoding="utf-8") as file:
    CONTRACT = json.load(file)
REGISTER = {register["name"]: register["offset"] for register in CONTRACT["registers"]}
RESET = {register["name"]: register["reset"] for register in CONTRACT["registers"]}


def pauses(seed):
    """Stops a channel for about a third of the cycles."""
    generator = random.Random(seed)
    while True:
        yield generator.random() < 0.33


@cocotb.test()
async def runs_a_network(dut):
    with open(os.environ["PACKAGE"], "rb") as file:
        package = Package(file.read())
    assert package.output_layout == SOFTMAX, "the example reads the output of a classifier"
    inputs, expected = numpy.load(os.environ["INPUTS"]), numpy.load(os.environ["EXPECTED"])

    cocotb.start_soon(Clock(dut.clk_i, 10, "ns").start())
    registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk_i, dut.rst_ni, reset_active_level=False)
    memory = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk_i, dut.rst_ni, reset_active_level=False, size=1 << 23)
    if os.environ["PAUSES"] == "1":
        channels = [
            memory.read_if.ar_channel,
            memory.read_if.r_channel,
            memory.write_if.aw_channel,
            memory.write_if.w_channel,
            memory.write_if.b_channel,
        ]
        for seed, channel in enumerate(channels):
            channel.set_pause_generator(pauses(seed))

    dut.rst_ni.value = 0
    await ClockCycles(dut.clk_i, 5)
    dut.rst_ni.value = 1
    await RisingEdge(dut.clk_i)

    async def write(name, value):
        await registers.write_dword(REGISTER[name], value)

    async def read(name):
        return await registers.read_dword(REGISTER[name])

    assert await read("ID") == RESET["ID"]
    assert await read("VERSION") == package.contract_version
    memory.write(PKG, package.image)
    await write("DESC_BASE", PKG + package.descriptor_offset)
    await write("DESC_COUNT", package.descriptor_count)
    for name, base in (("PKG_BASE", PKG), ("IN_BASE", IN), ("OUT_BASE", OUT), ("SCRATCH_BASE", SCRATCH)):
        await write(name, base)
    for i, value in enumerate(package.exponentials):
        await registers.write_dword(CONTRACT["exp_table"]["offset"] + 4 * i, value)
    await write("IRQ_ENABLE", 3)

    for i, (x, y) in enumerate(zip(inputs, expected)):
        memory.write(IN, package.input_bytes(x))
        await write("IRQ_STATUS", 3)
        await write("CTRL", 1)
        if not dut.irq_o.value:
            await RisingEdge(dut.irq_o)
        status = await read("STATUS")
        assert status & 7 == 2, f"STATUS {status:#x}, ERROR {await read('ERROR'):#x}"
        got = numpy.frombuffer(memory.read(OUT + package.output_offset, y.size), numpy.int8)
        dut._log.info("input %d: class %d in %d cycles", i, int(got.argmax()), await read("CNT_CYCLES"))
        assert (got == y.reshape(-1)).all(), f"input {i}: {got} instead of {y.reshape(-1)}"
