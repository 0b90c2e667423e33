#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Writes the test top of hv_pkg: contract_probe.py vision.json OUT.sv OUT.inc

OUT.sv is a module that shows every field of a descriptor and every constant of the package by index;
OUT.inc lists what the C++ header says about the same constants, in the same order. The test compares
the two, so neither file states a value itself.
"""

import json
import sys


def camel(name):
    return "".join(part.capitalize() for part in name.lower().split("_"))


def main():
    spec = json.load(open(sys.argv[1], encoding="utf-8"))
    constants = [("CONTRACT_VERSION", "kVersion")]
    for key in ("lanes", "word_bytes", "glog_max", "act_rows", "ring_words", "bus_bytes",
                "dsp_mac_lanes"):
        constants.append((f"HV_{key.upper()}", f"config.{key}"))
    constants += [
        ("HV_DESC_BYTES", "kDescBytes"), ("HV_DESC_WORDS", "kDescWords"),
        ("HV_ALIGN_BYTES", "kAlignBytes"), ("HV_BURST_BEATS", "kBurstBeats"),
        ("HV_AXIL_ADDR_BITS", "kAxilAddrBits"), ("HV_AXI_ADDR_BITS", "kAxiAddrBits"),
        ("HV_EXP_OFFSET", "kExpTableOffset"), ("HV_EXP_ENTRIES", "kExpTableEntries"),
        ("RESET_CONFIG", "config.config_register()"), ("RESET_VERSION", "kVersion"),
        ("RESET_ACT_ROWS", "config.act_rows"), ("RESET_RING_WORDS", "config.ring_words"),
    ]
    enums = {"desc_op": ("OP_", "DescOp"), "load_mode": ("LM_", "LoadMode"),
             "base_sel": ("BASE_", "BaseSel"), "error_cause": ("ERR_", "ErrorCause")}
    for enum, values in spec["enums"].items():
        prefix, cpp = enums[enum]
        for name in values:
            constants.append((prefix + name, f"{cpp}::k{camel(name)}"))
    for i, reg in enumerate(spec["registers"]):
        constants.append((f"REG_{reg['name']}", f"reg::k{camel(reg['name'])}"))
        if reg["reset"]:
            constants.append((f"RESET_{reg['name']}", f"kRegisters[{i}].reset"))
        for field in reg.get("fields", []):
            sv = f"{reg['name']}_{field['name'].upper()}"
            cpp = f"reg::k{camel(reg['name'])}{camel(field['name'])}"
            constants.append((sv + "_LSB", cpp + ".lsb"))
            constants.append((sv + "_W", cpp + ".width"))

    sv = ["`default_nettype none",
          "module contract_probe", "  import hv_pkg::*;", "(",
          "    input  var logic [1023:0] desc_i,",
          "    input  var logic [3:0] kind_i,",
          "    input  var logic [7:0] field_i,",
          "    input  var logic [11:0] constant_i,",
          "    output var logic [63:0] value_o,",
          "    output var logic reserved_o,",
          "    output var logic [31:0] constant_o", ");"]
    for kind in spec["descriptors"]:
        sv += ["  // verilator lint_off UNUSED", f"  {kind}_desc_t {kind}_desc;",
               "  // verilator lint_on UNUSED", f"  assign {kind}_desc = desc_i;"]
    sv += ["  always_comb begin", "    value_o = '0;", "    reserved_o = 1'b0;",
           "    case (kind_i)"]
    for kind, rows in spec["descriptors"].items():
        sv += [f"      OP_{kind.upper()}: begin",
               f"        reserved_o = (desc_i & {kind.upper()}_RSVD_MASK) != '0;",
               "        case (field_i)"]
        fields = sorted(((r["word"], f["lsb"], f["name"]) for r in rows for f in r["fields"]))
        for i, (_, _, name) in enumerate(fields):
            sv.append(f"          8'd{i}: value_o = 64'({kind}_desc.{name});")
        sv += ["          default: value_o = 64'hDEAD;", "        endcase", "      end"]
    sv += ["      default: ;", "    endcase", "    case (constant_i)"]
    for i, (name, _) in enumerate(constants):
        sv.append(f"      12'd{i}: constant_o = 32'({name});")
    sv += ["      default: constant_o = 32'hDEAD;", "    endcase", "  end", "endmodule",
           "`default_nettype wire"]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write("\n".join(sv) + "\n")
    with open(sys.argv[3], "w", encoding="utf-8") as out:
        for sv_name, cpp in constants:
            out.write(f'{{"{sv_name}", static_cast<std::uint32_t>({cpp})}},\n')


if __name__ == "__main__":
    main()
