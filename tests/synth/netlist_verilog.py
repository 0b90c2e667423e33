#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Turns an ECP5 netlist, as yosys writes it for nextpnr (JSON), into Verilog that simulates fast.

  netlist_verilog.py NETLIST.json OUT.v [--name MODULE] [--mutants N [--seed S]]

The module has the ports of the netlist's top. LUTs, slice multiplexers, carry cells and flip-flops become
expressions and clocked statements here; LUT RAM, block RAM and multipliers stay instances with a model in
ecp5_models.v. A cell, or a mode of one, that is not known is refused by name: better no simulation than one of
another circuit. Registers start as the device starts them, at their reset value.

--mutants: N further inputs of the simulation, bits of `mutant` (public to C++, 0 at first); bit i, set, inverts
one entry of the table of the i-th chosen LUT. They show that a test sees such a fault.
"""

import argparse
import functools
import json
import pathlib
import random
import sys

TABLES = {"A": 0xAAAA, "B": 0xCCCC, "C": 0xF0F0, "D": 0xFF00}  # of an input itself, as a function of D C B A


class Unknown(Exception):
    pass


def negate(text):
    return text[1:] if text.startswith("!") else f"!{text}"


@functools.lru_cache(maxsize=None)
def expand(table, inputs):
    """(cost, expression) of a 16-bit table over some of the inputs A..D, by the cheapest order of expansion."""
    if table == 0:
        return 0, "0"
    if table == 0xFFFF:
        return 0, "1"
    for name in inputs:
        if table == TABLES[name]:
            return 1, name
        if table == TABLES[name] ^ 0xFFFF:
            return 2, f"!{name}"
    best = None
    for name in inputs:
        high, shift = TABLES[name], 1 << "ABCD".index(name)
        one, zero = table & high, table & ~high & 0xFFFF
        one, zero = one | one >> shift, zero | zero << shift
        rest = tuple(i for i in inputs if i != name)
        cost1, text1 = expand(one, rest)
        cost0, text0 = expand(zero, rest)
        if one == zero:
            found = cost1, text1
        elif zero == 0:
            found = cost1 + 2, f"({name} & {text1})"
        elif one == 0:
            found = cost0 + 3, f"(!{name} & {text0})"
        elif one == 0xFFFF:
            found = cost0 + 2, f"({name} | {text0})"
        elif zero == 0xFFFF:
            found = cost1 + 3, f"(!{name} | {text1})"
        elif one == zero ^ 0xFFFF:
            found = cost0 + 2, f"({name} ^ {text0})"
        else:
            found = cost0 + cost1 + 4, f"({name} ? {text1} : {text0})"
        if best is None or found[0] < best[0]:
            best = found
    return best


def lut(table, inputs):
    """The expression of a table over four nets, some of them constants ("0", "1")."""
    for name, net in zip("ABCD", inputs):
        high, shift = TABLES[name], 1 << "ABCD".index(name)
        if net == "1'b0":
            low = table & ~high & 0xFFFF
            table = low | low << shift
        elif net == "1'b1":
            table = table & high | (table & high) >> shift
    _, text = expand(table, tuple("ABCD"))
    nets = {"0": "1'b0", "1": "1'b1", **dict(zip("ABCD", inputs))}
    return "".join(nets.get(letter, letter) for letter in text)


def number(value):
    return int(value, 2) if isinstance(value, str) else value


class Netlist:
    def __init__(self, module, mutants=0, seed=1):
        self.cells = module["cells"]
        self.ports = module["ports"]
        self.wires, self.body = [], []
        self.registers = {}  # (clock, reset, enable): [(net, value at reset, data)]
        self.mutated = {}
        if mutants:
            names = sorted(name for name, cell in self.cells.items() if cell["type"] == "LUT4")
            chosen = random.Random(seed).sample(names, mutants)
            self.mutated = {name: index for index, name in enumerate(chosen)}
        self.seed = seed
        self.driven = {}

    def net(self, bit):
        if isinstance(bit, int):
            return f"n{bit}"
        return {"0": "1'b0", "1": "1'b1", "x": "1'bx"}[bit]

    def drive(self, bit, by):
        """Declares the net of an output."""
        if not isinstance(bit, int):
            raise Unknown(f"{by} drives a constant")
        if bit in self.driven:
            raise Unknown(f"{by} drives a net that {self.driven[bit]} drives")
        self.driven[bit] = by
        return f"n{bit}"

    def cell(self, name, cell):
        kind = cell["type"]
        emit = getattr(self, f"emit_{kind}", None)
        if emit is None:
            raise Unknown(f"{name}: no model of cell {kind}")
        pins = {
            pin: [bit for bit in bits]
            for pin, bits in cell["connections"].items()
            # An output that nobody reads may be "x" in a netlist for nextpnr.
            if not (cell["port_directions"].get(pin) == "output" and set(bits) <= {"x"})
        }
        self.name = name
        self.where = f"{kind} {name}"
        emit(cell["parameters"], pins)

    def pin(self, pins, name, otherwise="0"):
        return self.net(pins[name][0]) if pins.get(name) else self.net(otherwise)

    def option(self, parameters, name, default, known):
        value = parameters.get(name, default)
        value = value.strip() if isinstance(value, str) else value
        if value not in known:
            raise Unknown(f"{self.where}: {name} = {value}, known: {', '.join(known)}")
        return value

    def only(self, parameters, known):
        extra = sorted(set(parameters) - set(known))
        if extra:
            raise Unknown(f"{self.where}: parameter {extra[0]} is not modelled")

    def assign(self, pins, name, text):
        if pins.get(name):
            self.body.append(f"wire {self.drive(pins[name][0], self.where)} = {text};")

    def emit_LUT4(self, parameters, pins):
        self.only(parameters, ("INIT",))
        inputs = [self.pin(pins, name) for name in "ABCD"]
        text = lut(number(parameters["INIT"]), inputs)
        if self.name in self.mutated:
            index = self.mutated[self.name]
            entry = random.Random(f"{self.seed} {self.name}").choice(
                [e for e in range(16) if all(self.possible(net, e >> i & 1) for i, net in enumerate(inputs))]
            )
            text = f"({text}) ^ (mutant[{index}] & ({lut(1 << entry, inputs)}))"
        self.assign(pins, "Z", text)

    @staticmethod
    def possible(net, value):
        return net not in ("1'b0", "1'b1") or net == f"1'b{value}"

    def emit_PFUMX(self, parameters, pins):
        self.only(parameters, ())
        self.assign(pins, "Z", f"{self.pin(pins, 'C0')} ? {self.pin(pins, 'ALUT')} : {self.pin(pins, 'BLUT')}")

    def emit_L6MUX21(self, parameters, pins):
        self.only(parameters, ())
        self.assign(pins, "Z", f"{self.pin(pins, 'SD')} ? {self.pin(pins, 'D1')} : {self.pin(pins, 'D0')}")

    def emit_CCU2C(self, parameters, pins):
        """Two bits of a carry chain: a LUT propagates, the lower four entries of its table generate."""
        self.only(parameters, ("INIT0", "INIT1", "INJECT1_0", "INJECT1_1"))
        carry = self.pin(pins, "CIN", "x")
        for half in "01":
            self.option(parameters, f"INJECT1_{half}", "YES", ("NO",))
            inputs = [self.pin(pins, name + half) for name in "ABCD"]
            table = number(parameters[f"INIT{half}"])
            propagate = lut(table, inputs)
            generate = lut((table & 15) * 0x1111, inputs)
            stem = f"c{len(self.body)}"
            if propagate not in ("1'b0", "1'b1"):
                self.body.append(f"wire {stem}p = {propagate};")
                propagate = f"{stem}p"
            self.assign(pins, f"S{half}", f"{propagate} ^ {carry}")
            last = half == "1"
            if last and not pins.get("COUT"):
                return
            text = f"{propagate} ? {carry} : {generate}" if propagate != "1'b0" else generate
            if last:
                self.assign(pins, "COUT", text)
            else:
                self.body.append(f"wire {stem} = {text};")
                carry = stem

    def emit_TRELLIS_FF(self, parameters, pins):
        self.only(parameters, ("GSR", "CEMUX", "CLKMUX", "LSRMUX", "SRMODE", "REGSET", "LSRMODE"))
        self.option(parameters, "CLKMUX", "CLK", ("CLK",))
        self.option(parameters, "SRMODE", "LSR_OVER_CE", ("LSR_OVER_CE",))
        self.option(parameters, "LSRMODE", "LSR", ("LSR",))
        inverted = self.option(parameters, "CEMUX", "1", ("1", "CE", "INV"))
        enable = "1'b1" if inverted == "1" else self.pin(pins, "CE")
        enable = negate(enable) if inverted == "INV" else enable
        reset = self.pin(pins, "LSR")
        if self.option(parameters, "LSRMUX", "LSR", ("LSR", "INV")) == "INV":
            reset = negate(reset)
        value = self.option(parameters, "REGSET", "RESET", ("RESET", "SET")) == "SET"
        group = self.registers.setdefault((self.pin(pins, "CLK"), reset, enable), [])
        group.append((self.drive(pins["Q"][0], self.where), int(value), self.pin(pins, "DI")))

    def instance(self, parameters, pins, outputs):
        """An instance of a model in ecp5_models.v."""
        kind = self.cells[self.name]["type"]
        values = []
        for name, value in parameters.items():
            if name.startswith("INITVAL") and set(value) <= ({"0"} if kind == "DP16KD" else {"x"}):
                continue  # as the models have it
            if set(value) <= set("01x") and len(value) > 1:
                value = f"{len(value)}'b{value}"
            else:
                value = f'"{value.strip()}"'
            values.append(f".{name}({value})")
        wires = []
        for name, bits in pins.items():
            nets = [self.drive(bit, self.where) if name.startswith(outputs) else self.net(bit) for bit in bits]
            if name.startswith(outputs):
                self.wires.append(f"wire {', '.join(nets)};")
            text = nets[0] if len(nets) == 1 else "{" + ", ".join(reversed(nets)) + "}"
            wires.append(f".{name}({text})")
        parameters = f"#({', '.join(values)}) " if values else ""
        self.body.append(f"{kind} {parameters}u{len(self.body)} ({', '.join(wires)});")

    def emit_TRELLIS_DPR16X4(self, parameters, pins):
        self.instance(parameters, pins, ("DO",))

    def emit_DP16KD(self, parameters, pins):
        self.instance(parameters, pins, ("DO",))

    def emit_MULT18X18D(self, parameters, pins):
        self.instance(parameters, pins, ("P",))

    def verilog(self, name):
        """The whole module, its statements in lines."""
        for port in self.ports.values():
            if port["direction"] == "input":
                for bit in port["bits"]:
                    self.drive(bit, "an input")
        for cell_name, cell in self.cells.items():
            self.cell(cell_name, cell)
        heads, links = [], []
        for port, what in self.ports.items():
            if what["direction"] not in ("input", "output"):
                raise Unknown(f"port {port}: direction {what['direction']}")
            bits = [self.net(bit) for bit in what["bits"]]
            width = f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""
            heads.append(f"{what['direction']} wire {width}{port}")
            if what["direction"] == "input":
                links += [f"wire {net} = {port}{f'[{i}]' if width else ''};" for i, net in enumerate(bits)]
            else:
                links.append(f"assign {port} = {{{', '.join(reversed(bits))}}};")
        lines = [f"module {name} (", ",\n".join(heads), ");"]
        if self.mutated:
            lines.append(f"reg [{len(self.mutated) - 1}:0] mutant /*verilator public_flat_rw*/ = 0;")
        lines += self.wires
        for group in self.registers.values():
            lines += [f"reg {net} = 1'b{value};" for net, value, _ in group]
        lines += links + self.body
        for (clock, reset, enable), group in self.registers.items():
            loads = "\n".join(f"{net} <= {data};" for net, _, data in group)
            resets = "\n".join(f"{net} <= 1'b{value};" for net, value, _ in group)
            text = f"always @(posedge {clock})"
            if reset != "1'b0":
                text += f" if ({reset}) begin\n{resets}\nend else"
            text += f" if ({enable})" if enable != "1'b1" else ""
            lines.append(f"{text} begin\n{loads}\nend")
        read = {bit for cell in self.cells.values() for pin, bits in cell["connections"].items()
                if cell["port_directions"].get(pin) != "output" for bit in bits if isinstance(bit, int)}  # fmt: skip
        undriven = sorted(read - set(self.driven))
        if undriven:
            raise Unknown(f"{len(undriven)} nets are read and not driven, the first is {undriven[0]}")
        return "\n".join([*lines, "endmodule", ""])


def convert(source, target, name=None, mutants=0, seed=1):
    """Writes the Verilog of a netlist; returns a line that says what it has."""
    design = json.loads(pathlib.Path(source).read_text())["modules"]
    tops = [top for top, module in design.items() if number(module["attributes"].get("top", 0))]
    if len(tops) != 1:
        raise Unknown(f"{len(tops)} top modules")
    netlist = Netlist(design[tops[0]], mutants, seed)
    text = netlist.verilog(name or tops[0])
    pathlib.Path(target).write_text("`default_nettype none\n" + text)
    registers = sum(map(len, netlist.registers.values()))
    chosen = "".join(f"\nmutant {index}: {name}" for name, index in netlist.mutated.items())
    return f"{tops[0]}: {len(netlist.cells)} cells, {registers} of them registers under {len(netlist.registers)} controls{chosen}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("netlist", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--name", help="of the module (default: as in the netlist)")
    parser.add_argument("--mutants", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        print(convert(options.netlist, options.out, options.name, options.mutants, options.seed))
    except Unknown as error:
        print(f"netlist_verilog.py: {options.netlist}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
