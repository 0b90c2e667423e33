# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Contract of the vision engine: contract/vision.json -> hv_pkg.sv, vision.hpp, vision_contract.md."""

from .common import (bit_range, camel, cell, check, check_enums, check_fields, check_registers,
                     cpp_constants, cpp_enums, cpp_registers, cpp_string, md_enums, md_registers,
                     sv_close, sv_constants, sv_enums, sv_open, sv_registers)

WORD_BITS = 64

# SystemVerilog type, prefix of the SystemVerilog names, bits, C++ type
ENUMS = {
    "desc_op": ("desc_op_e", "OP_", 4, "DescOp"),
    "load_mode": ("load_mode_e", "LM_", 2, "LoadMode"),
    "base_sel": ("base_sel_e", "BASE_", 2, "BaseSel"),
    "error_cause": ("error_cause_e", "ERR_", 8, "ErrorCause"),
}
CONFIG_KEYS = (
    ("lanes", "activation banks = word lanes"),
    ("word_bytes", "bytes per activation word"),
    ("glog_max", "largest log2 of channel groups per tile"),
    ("act_rows", "rows per activation bank"),
    ("ring_words", "words of the weight ring"),
    ("bus_bytes", "bytes per AXI beat"),
    ("dsp_mac_lanes", "multiplier lanes mapped to DSP blocks, the others to logic"),
)


def words_per_desc(spec):
    return spec["desc_bytes"] * 8 // WORD_BITS


def flat_fields(spec, kind):
    """(word, field) of a descriptor kind in order of position."""
    out = []
    for word in spec["descriptors"][kind]:
        for field in word["fields"]:
            out.append((word["word"], field))
    return sorted(out, key=lambda wf: (wf[0], wf[1]["lsb"]))


def validate(spec):
    words = words_per_desc(spec)
    check(spec["desc_bytes"] % 8 == 0, "desc_bytes is not a multiple of 8")
    check_enums(spec["enums"], ENUMS)
    for kind, rows in spec["descriptors"].items():
        check(kind.upper() in spec["enums"]["desc_op"], f"descriptor {kind} is not in desc_op")
        names, seen = set(), set()
        for row in rows:
            word = row["word"]
            check(0 <= word < words, f"{kind}: word {word} of {words}")
            check(word not in seen, f"{kind}: word {word} appears twice")
            seen.add(word)
            check_fields(f"{kind}[{word}]", row["fields"], WORD_BITS)
            for field in row["fields"]:
                check(field["name"] not in names, f"{kind}: field {field['name']} appears twice")
                names.add(field["name"])
        word, first = flat_fields(spec, kind)[0]
        check((word, first["name"], first["lsb"], first["width"]) == (0, "op", 0, 4),
              f"{kind}: bits 3:0 of word 0 are not the field op")
    check(set(k.upper() for k in spec["descriptors"]) == set(spec["enums"]["desc_op"]),
          "desc_op and the descriptors differ")
    exp = spec["exp_table"]
    check_registers(spec["registers"], exp["offset"], "the exp table")
    check(exp["offset"] + 4 * exp["entries"] <= 1 << spec["axil_addr_bits"],
          "the exp table ends outside the register window")
    for name, config in spec["configs"].items():
        for key, _ in CONFIG_KEYS:
            check(key in config, f"configuration {name}: {key} is missing")
        for key in ("lanes", "word_bytes", "act_rows", "ring_words", "bus_bytes"):
            value = config[key]
            check(value > 0 and value & (value - 1) == 0,
                  f"configuration {name}: {key} = {value} is not a power of two")
        check(1 << config["glog_max"] <= config["lanes"], f"configuration {name}: glog_max")


def version(spec):
    return spec["contract_version"]["major"] << 16 | spec["contract_version"]["minor"]


def config_register(spec, config):
    reg = next(r for r in spec["registers"] if r["name"] == "CONFIG")
    value = 0
    for field in reg["fields"]:
        part = config[field["name"]]
        check(part < 1 << field["width"], f"register CONFIG.{field['name']} cannot hold {part}")
        value |= part << field["lsb"]
    return value


def reset_of(spec, config, reg):
    return {
        "VERSION": version(spec),
        "CONFIG": config_register(spec, config),
        "ACT_ROWS": config["act_rows"],
        "RING_WORDS": config["ring_words"],
    }.get(reg["name"], reg["reset"])


# --------------------------------------------------------------------------------- SystemVerilog


def sv_members(spec, kind):
    """(word, lsb, width, name, signed) of a whole descriptor, gaps included, lowest bit first."""
    members = []
    fields = flat_fields(spec, kind)
    for word in range(words_per_desc(spec)):
        at = 0
        for _, field in (wf for wf in fields if wf[0] == word):
            if field["lsb"] > at:
                members.append((word, at, field["lsb"] - at, f"rsvd_{word}_{at}", False))
            members.append((word, field["lsb"], field["width"], field["name"], field["signed"]))
            at = field["lsb"] + field["width"]
        if at < WORD_BITS:
            members.append((word, at, WORD_BITS - at, f"rsvd_{word}_{at}", False))
    return members


def reserved_words(spec, kind):
    mask = [0] * words_per_desc(spec)
    for word, lsb, width, name, _ in sv_members(spec, kind):
        if name.startswith("rsvd_"):
            mask[word] |= ((1 << width) - 1) << lsb
    return mask


def gen_sv(spec, config_name):
    config = spec["configs"][config_name]
    bits = spec["desc_bytes"] * 8
    out = sv_open("hv_pkg", (
        f"{spec['title']}, configuration `{config_name}`.",
        "Generated by scripts/gen_contract.py from contract/vision.json: do not edit.",
        "Descriptors are packed structs of whole descriptors: word 0 is the least significant."))
    add = out.append
    add(f"  localparam logic [31:0] CONTRACT_VERSION = 32'h{version(spec):08x};")
    add(f"  // Configuration `{config_name}`: {config['doc']}")
    for key, doc in CONFIG_KEYS:
        add(f"  localparam int unsigned HV_{key.upper()} = {config[key]};  // {doc}")
    add("  // Bus and descriptor geometry")
    out += sv_constants((
        ("HV_DESC_BYTES", spec["desc_bytes"], "bytes of a descriptor"),
        ("HV_DESC_WORDS", words_per_desc(spec), "64-bit words of a descriptor"),
        ("HV_ALIGN_BYTES", spec["align_bytes"], "alignment of every address in a program"),
        ("HV_BURST_BEATS", spec["burst_beats"], "longest AXI burst"),
        ("HV_AXIL_ADDR_BITS", spec["axil_addr_bits"], "bits of a register address"),
        ("HV_AXI_ADDR_BITS", spec["axi_addr_bits"], "bits of a memory address"),
        ("HV_EXP_OFFSET", spec["exp_table"]["offset"], "register window of the exp table"),
        ("HV_EXP_ENTRIES", spec["exp_table"]["entries"], "entries of the exp table"),
    ))
    out += sv_enums(spec["enums"], ENUMS)
    for kind in spec["descriptors"]:
        docs = {f["name"]: f["doc"] for _, f in flat_fields(spec, kind)}
        add("")
        add("  typedef struct packed {")
        for word, _, width, name, signed in reversed(sv_members(spec, kind)):
            sign = " signed" if signed else ""
            note = f"  // [{word}] {docs[name]}" if docs.get(name) else ""
            add(f"    logic{sign} [{width - 1}:0] {name};{note}")
        add(f"  }} {kind}_desc_t;")
    add("")
    add("  // Bits that must be zero, for each kind")
    for kind in spec["descriptors"]:
        text = "_".join(f"{w:016x}" for w in reversed(reserved_words(spec, kind)))
        add(f"  localparam logic [{bits - 1}:0] {kind.upper()}_RSVD_MASK =")
        add(f"      {bits}'h{text};")
    out += sv_registers(spec["registers"], spec["axil_addr_bits"],
                        lambda reg: reset_of(spec, config, reg))
    out += sv_close()
    return "\n".join(out) + "\n"


# -------------------------------------------------------------------------------------------- C++

CPP_HEAD = """\
// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// @TITLE@: configurations, registers, descriptors.
// Generated by scripts/gen_contract.py from contract/vision.json: do not edit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace kestrel::contract {
"""

REGISTER_DOC = """\
/// One register: its byte offset in the AXI4-Lite window and its value after reset. The reset
/// value of VERSION, CONFIG, ACT_ROWS and RING_WORDS depends on the configuration and is 0 here."""

CPP_CODEC = """
/// Where a descriptor keeps one field; `member` is where the C++ struct has it.
template <class Desc> struct DescField {
  const char *name;
  std::uint8_t word;
  std::uint8_t lsb;
  std::uint8_t width;
  bool is_signed;
  std::int64_t Desc::*member;

  [[nodiscard]] constexpr std::int64_t min() const {
    return is_signed ? -(std::int64_t{1} << (width - 1)) : 0;
  }
  [[nodiscard]] constexpr std::int64_t max() const {
    return (std::int64_t{1} << (is_signed ? width - 1 : width)) - 1;
  }
  [[nodiscard]] constexpr std::uint64_t mask() const { return (std::uint64_t{1} << width) - 1; }
};

/// The fields of a descriptor kind in order of position, and the bits that must be zero.
template <class Desc> inline constexpr auto kFields = nullptr;
template <class Desc> inline constexpr DescWords kReservedMask = {};
"""

CPP_TAIL = """
/// Name of the first field whose value its bits cannot hold, or nullptr: every field fits.
template <class Desc> [[nodiscard]] constexpr const char *fits(const Desc &desc) {
  for (const auto &field : kFields<Desc>) {
    const std::int64_t value = desc.*field.member;
    if (value < field.min() || value > field.max()) {
      return field.name;
    }
  }
  return nullptr;
}

/// The 16 words of a descriptor. Values that do not fit are cut: ask fits() first.
template <class Desc> [[nodiscard]] constexpr DescWords encode(const Desc &desc) {
  DescWords words{};
  for (const auto &field : kFields<Desc>) {
    words[field.word] |= (static_cast<std::uint64_t>(desc.*field.member) & field.mask())
                         << field.lsb;
  }
  return words;
}

/// The opposite of encode(): signed fields are sign-extended, reserved bits ignored.
template <class Desc>
[[nodiscard]] constexpr Desc decode(std::span<const std::uint64_t, kDescWords> words) {
  Desc desc{};
  for (const auto &field : kFields<Desc>) {
    const std::uint64_t raw = (words[field.word] >> field.lsb) & field.mask();
    std::int64_t value = static_cast<std::int64_t>(raw);
    if (field.is_signed && value > field.max()) {
      value -= std::int64_t{1} << field.width;
    }
    desc.*field.member = value;
  }
  return desc;
}

/// True when every bit that must be zero is zero.
template <class Desc>
[[nodiscard]] constexpr bool reserved_clear(std::span<const std::uint64_t, kDescWords> words) {
  for (std::size_t i = 0; i < kDescWords; ++i) {
    if ((words[i] & kReservedMask<Desc>[i]) != 0) {
      return false;
    }
  }
  return true;
}

/// The kind in word 0, or nothing when the code is unknown.
[[nodiscard]] constexpr std::optional<DescOp> desc_op(std::uint64_t word0) {
  switch (word0 & 0xFU) {
@OP_CASES@
  default:
    return std::nullopt;
  }
}

} // namespace kestrel::contract
"""


def gen_cpp(spec):
    out = [CPP_HEAD.replace("@TITLE@", spec["title"])]
    add = out.append
    add(f"inline constexpr std::uint32_t kVersionMajor = {spec['contract_version']['major']};")
    add(f"inline constexpr std::uint32_t kVersionMinor = {spec['contract_version']['minor']};")
    add(f"inline constexpr std::uint32_t kVersion = 0x{version(spec):08X}; ///< register VERSION")
    out += cpp_constants((
        ("kDescBytes", spec["desc_bytes"], "bytes of a descriptor"),
        ("kDescWords", words_per_desc(spec), "64-bit words of a descriptor"),
        ("kAlignBytes", spec["align_bytes"], "alignment of every address in a program"),
        ("kBurstBeats", spec["burst_beats"], "longest AXI burst"),
        ("kAxilAddrBits", spec["axil_addr_bits"], "bits of a register address"),
        ("kAxiAddrBits", spec["axi_addr_bits"], "bits of a memory address"),
        ("kExpTableOffset", spec["exp_table"]["offset"], "register window of the exp table"),
        ("kExpTableEntries", spec["exp_table"]["entries"], "entries of the exp table"),
    ))
    add("")
    add("/// The words of one descriptor, word 0 first; little-endian in memory.")
    add("using DescWords = std::array<std::uint64_t, kDescWords>;")
    add("")
    add("/// A synthesized size of the engine.")
    add("struct Config {")
    add("  std::string_view name;")
    for key, doc in CONFIG_KEYS:
        add(f"  std::uint32_t {key}; ///< {doc}")
    add("  std::string_view doc;")
    add("")
    add("  /// int8 multiply-accumulates per cycle.")
    add("  [[nodiscard]] constexpr std::uint32_t macs() const { return lanes * word_bytes; }")
    add("  /// Bytes of one word of the weight ring.")
    add("  [[nodiscard]] constexpr std::uint32_t ring_word_bytes() const { return 4 * word_bytes; }")
    add("  /// What register CONFIG reads.")
    config_reg = next(r for r in spec["registers"] if r["name"] == "CONFIG")
    terms = " | ".join(f"{f['name']} << {f['lsb']}U" for f in config_reg["fields"])
    add("  [[nodiscard]] constexpr std::uint32_t config_register() const {")
    add(f"    return {terms};")
    add("  }")
    add("};")
    add("")
    add(f"inline constexpr std::array<Config, {len(spec['configs'])}> kConfigs = {{{{")
    for name, config in spec["configs"].items():
        values = ", ".join(f".{key} = {config[key]}" for key, _ in CONFIG_KEYS)
        add(f"    {{.name = {cpp_string(name)},")
        add(f"     {values},")
        add(f"     .doc = {cpp_string(config['doc'])}}},")
    add("}};")
    add("")
    add("/// The configuration of that name, or nullptr.")
    add("[[nodiscard]] constexpr const Config *find_config(std::string_view name) {")
    add("  for (const Config &config : kConfigs) {")
    add("    if (config.name == name) {")
    add("      return &config;")
    add("    }")
    add("  }")
    add("  return nullptr;")
    add("}")
    out += cpp_enums(spec["enums"], ENUMS)
    out += cpp_registers(spec["registers"], REGISTER_DOC)
    for kind in spec["descriptors"]:
        add("")
        add(f"/// Descriptor {kind.upper()}. A member holds the value of the field of that name.")
        add(f"struct {camel(kind)}Desc {{")
        add(f"  static constexpr DescOp kOp = DescOp::k{camel(kind)};")
        for _, field in flat_fields(spec, kind):
            init = spec["enums"]["desc_op"][kind.upper()] if field["name"] == "op" else 0
            note = f" ///< {field['doc']}" if field["doc"] else ""
            add(f"  std::int64_t {field['name']} = {init};{note}")
        add(f"  friend constexpr bool operator==(const {camel(kind)}Desc &,")
        add(f"                                   const {camel(kind)}Desc &) = default;")
        add("};")
    add(CPP_CODEC)
    for kind in spec["descriptors"]:
        fields = flat_fields(spec, kind)
        desc = f"{camel(kind)}Desc"
        add("template <>")
        add(f"inline constexpr std::array<DescField<{desc}>, {len(fields)}> kFields<{desc}> = {{{{")
        for word, field in fields:
            add(f"    {{{cpp_string(field['name'])}, {word}, {field['lsb']}, {field['width']}, "
                f"{'true' if field['signed'] else 'false'}, &{desc}::{field['name']}}},")
        add("}};")
        add("template <>")
        add(f"inline constexpr DescWords kReservedMask<{desc}> = {{{{")
        for mask in reserved_words(spec, kind):
            add(f"    0x{mask:016X},")
        add("}};")
    cases = "\n".join(f"  case {value}:\n    return DescOp::k{camel(name)};"
                      for name, value in spec["enums"]["desc_op"].items())
    return "\n".join(out) + "\n" + CPP_TAIL.replace("@OP_CASES@", cases)


# ------------------------------------------------------------------------------------------- docs


def gen_md(spec):
    out = []
    add = out.append
    add("# Vision engine: hardware contract")
    add("")
    add("Generated by `scripts/gen_contract.py` from `contract/vision.json`; a test holds the two")
    add("together. What the fields mean in full is in [vision_engine.md](vision_engine.md).")
    add("")
    add(f"Contract version {spec['contract_version']['major']}.{spec['contract_version']['minor']}.")
    add(f"Descriptors are {spec['desc_bytes']} bytes = {words_per_desc(spec)} little-endian 64-bit")
    add(f"words; addresses in a program are multiples of {spec['align_bytes']} bytes; an AXI burst has")
    add(f"at most {spec['burst_beats']} beats.")
    add("")
    add("## Configurations")
    add("")
    names = list(spec["configs"])
    add("| | " + " | ".join(f"`{n}`" for n in names) + " |")
    add("|---|" + "---|" * len(names))
    for key, doc in CONFIG_KEYS:
        add(f"| `{key}`: {doc} | " + " | ".join(str(spec["configs"][n][key]) for n in names) + " |")
    add("| int8 MAC per cycle | " +
        " | ".join(str(spec["configs"][n]["lanes"] * spec["configs"][n]["word_bytes"])
                   for n in names) + " |")
    add("| class | " + " | ".join(spec["configs"][n]["doc"] for n in names) + " |")
    add("")
    add("## Codes")
    add("")
    out += md_enums(spec["enums"])
    for kind in spec["descriptors"]:
        add("")
        add(f"## Descriptor {kind.upper()}")
        add("")
        add("| word | bits | field | signed | |")
        add("|---|---|---|---|---|")
        for word, field in flat_fields(spec, kind):
            add(f"| {word} | {bit_range(field)} | `{field['name']}` | {'yes' if field['signed'] else ''} | "
                f"{cell(field['doc'])} |")
        add("")
        add("All other bits are reserved and must be zero.")
    add("")
    add("## Registers")
    add("")
    add(f"AXI4-Lite, 32-bit data, {spec['axil_addr_bits']}-bit addresses. ro = read only, rw = read")
    add("and write, wo = write only (reads 0), w1c = a written 1 clears the bit. Any other offset is")
    add("answered with SLVERR.")
    add("")
    by_config = ("VERSION", "CONFIG", "ACT_ROWS", "RING_WORDS")

    def reset_text(reg):
        if reg["name"] == "VERSION":
            return f"0x{version(spec):08x}"
        if reg["name"] in by_config:
            return "of the configuration"
        return f"0x{reg['reset']:x}" if reg["reset"] else "0"

    out += md_registers(spec["registers"], reset_text)
    exp = spec["exp_table"]
    add(f"| 0x{exp['offset']:04x} .. 0x{exp['offset'] + 4 * exp['entries'] - 4:04x} | exp table | wo | "
        f"undefined | | {cell(exp['doc'])} |")
    return "\n".join(out) + "\n"


def outputs(spec, config):
    """Path below the output folder -> text."""
    validate(spec)
    check(config in spec["configs"], f"configuration {config} is not one of "
          + ", ".join(spec["configs"]))
    return {
        "hv_pkg.sv": gen_sv(spec, config),
        "kestrel/contract/vision.hpp": gen_cpp(spec),
        "vision_contract.md": gen_md(spec),
    }
