# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""What the contract generators share: checks, names, and the parts that any register map has."""


class ContractError(Exception):
    """The JSON source contradicts itself; the message names the entry."""


def camel(name):
    return "".join(part.capitalize() for part in name.lower().split("_"))


def cpp_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def cell(text):
    """Text as a cell of a Markdown table."""
    return str(text).replace("|", "\\|")


def bit_range(field):
    high = field["lsb"] + field["width"] - 1
    return f"{high}:{field['lsb']}" if high > field["lsb"] else f"{high}"


# ----------------------------------------------------------------------------------------- checks


def check(cond, text):
    if not cond:
        raise ContractError(text)


def check_fields(where, fields, bits):
    end = 0
    for field in sorted(fields, key=lambda f: f["lsb"]):
        name = f"{where}.{field['name']}"
        check(field["width"] >= 1, f"{name}: width {field['width']}")
        check(field["lsb"] >= end, f"{name}: overlaps the field below bit {end}")
        end = field["lsb"] + field["width"]
        check(end <= bits, f"{name}: ends at bit {end} of {bits}")


def check_enums(enums, known):
    """`known`: name -> (SystemVerilog type, prefix of the SystemVerilog names, bits, C++ type)."""
    for enum, values in enums.items():
        check(enum in known, f"enum {enum}: no type is known for it in gen_contract.py")
        bits = known[enum][2]
        check(len(set(values.values())) == len(values), f"enum {enum}: a value appears twice")
        for name, value in values.items():
            check(0 <= value < 1 << bits, f"enum {enum}.{name}: {value} does not fit {bits} bits")


def check_registers(registers, end, beyond):
    """Registers lie below byte `end`; `beyond` says what starts there."""
    names, offsets = set(), set()
    for reg in registers:
        name, offset = reg["name"], reg["offset"]
        check(name not in names, f"register {name} appears twice")
        check(offset not in offsets, f"register {name}: offset {offset} is taken")
        check(offset % 4 == 0, f"register {name}: offset {offset} is not a multiple of 4")
        check(offset < end, f"register {name}: lies in {beyond}")
        check(reg["access"] in ("ro", "rw", "wo", "w1c"), f"register {name}: {reg['access']}")
        check(0 <= reg["reset"] < 1 << 32, f"register {name}: reset value")
        check_fields(f"register {name}", reg.get("fields", []), 32)
        names.add(name)
        offsets.add(offset)


# --------------------------------------------------------------------------------- SystemVerilog


def sv_open(package, lines):
    """Head of a generated package; `lines` say what it is."""
    out = ["// SPDX-License-Identifier: Apache-2.0", "// Copyright The Kestrel Authors", "//"]
    out += [f"// {line}" for line in lines]
    out += ["`default_nettype none", "",
            "// A package states the whole contract; no module needs all of it.",
            "/* verilator lint_off UNUSED */", f"package {package};", ""]
    return out


def sv_close():
    return ["", "endpackage", "/* verilator lint_on UNUSED */", "", "`default_nettype wire"]


def sv_constants(constants):
    """(name, value, doc) -> lines."""
    return [f"  localparam int unsigned {name} = {value};  // {doc}"
            for name, value, doc in constants]


def sv_enums(enums, known):
    out = []
    for enum, values in enums.items():
        sv_type, prefix, width, _ = known[enum]
        out += ["", f"  typedef enum logic [{width - 1}:0] {{"]
        items = list(values.items())
        for i, (name, value) in enumerate(items):
            comma = "," if i + 1 < len(items) else ""
            out.append(f"    {prefix}{name} = {width}'d{value}{comma}")
        out.append(f"  }} {sv_type};")
    return out


def sv_registers(registers, address_bits, reset_of):
    out = ["", "  // Registers: offset, reset value where it is not 0, position of the fields"]
    for reg in registers:
        name = reg["name"]
        out.append(f"  localparam logic [{address_bits - 1}:0] REG_{name} = "
                   f"{address_bits}'h{reg['offset']:04x};  // {reg['access']}: {reg['doc']}")
        reset = reset_of(reg)
        if reset:
            out.append(f"  localparam logic [31:0] RESET_{name} = 32'h{reset:08x};")
        for field in reg.get("fields", []):
            prefix = f"{name}_{field['name'].upper()}"
            out.append(f"  localparam int unsigned {prefix}_LSB = {field['lsb']};")
            out.append(f"  localparam int unsigned {prefix}_W = {field['width']};")
    return out


# -------------------------------------------------------------------------------------------- C++


def cpp_constants(constants):
    """(name, value, doc) -> lines."""
    return [f"inline constexpr std::size_t {name} = {value}; ///< {doc}"
            for name, value, doc in constants]


def cpp_enums(enums, known):
    out = []
    for enum, values in enums.items():
        _, _, bits, cpp = known[enum]
        out += ["", f"enum class {cpp} : std::uint8_t {{"]
        out += [f"  k{camel(name)} = {value}," for name, value in values.items()]
        out += ["};", f"inline constexpr unsigned k{cpp}Bits = {bits};", "",
                "/// The name in the contract, \"?\" for a code that is none.",
                f"[[nodiscard]] constexpr std::string_view to_string({cpp} value) {{",
                "  switch (value) {"]
        for name in values:
            out += [f"  case {cpp}::k{camel(name)}:", f"    return {cpp_string(name)};"]
        out += ["  }", "  return \"?\";", "}"]
    return out


CPP_REGISTER_TYPES = """
enum class Access : std::uint8_t { kReadOnly, kReadWrite, kWriteOnly, kWriteOneToClear };

@REGISTER_DOC@
struct Register {
  std::string_view name;
  std::uint32_t offset;
  Access access;
  std::uint32_t reset;
};

/// Some bits of a register.
struct RegisterField {
  std::uint32_t lsb;
  std::uint32_t width;

  [[nodiscard]] constexpr std::uint32_t mask() const {
    return static_cast<std::uint32_t>(((std::uint64_t{1} << width) - 1) << lsb);
  }
  [[nodiscard]] constexpr std::uint32_t get(std::uint32_t value) const {
    return (value & mask()) >> lsb;
  }
  /// The bits for `value` in place, the others zero; bits of `value` that do not fit are cut.
  [[nodiscard]] constexpr std::uint32_t put(std::uint32_t value) const {
    return (value << lsb) & mask();
  }
};
"""


def cpp_registers(registers, register_doc):
    """Types, offsets, fields and the list of all registers; `register_doc` documents the type."""
    out = CPP_REGISTER_TYPES.replace("@REGISTER_DOC@", register_doc).splitlines()
    access = {"ro": "kReadOnly", "rw": "kReadWrite", "wo": "kWriteOnly", "w1c": "kWriteOneToClear"}
    out += ["", "/// Register offsets, `reg::kCtrl`, and their fields, `reg::kCtrlStart`.",
            "namespace reg {"]
    for reg in registers:
        if reg["doc"]:
            out.append(f"/// {reg['doc']}")
        out.append(f"inline constexpr std::uint32_t k{camel(reg['name'])} = 0x{reg['offset']:X};")
        for field in reg.get("fields", []):
            note = f" ///< {field['doc']}" if field["doc"] else ""
            out.append(f"inline constexpr RegisterField k{camel(reg['name'])}{camel(field['name'])}"
                       f"{{{field['lsb']}, {field['width']}}};{note}")
    out += ["} // namespace reg", "",
            f"inline constexpr std::array<Register, {len(registers)}> kRegisters = {{{{"]
    for reg in registers:
        out.append(f"    {{{cpp_string(reg['name'])}, 0x{reg['offset']:X}, "
                   f"Access::{access[reg['access']]}, 0x{reg['reset']:X}}},")
    out.append("}};")
    return out


# ------------------------------------------------------------------------------------------- docs


def cpp_windows(windows):
    """Struct Window, and one constant for each in the namespace `window`."""
    out = ["", "/// Words of the register space that belong together.", "struct Window {",
           "  std::string_view name;", "  std::uint32_t offset;", "  std::uint32_t words;", "",
           "  /// Byte offset of word `i`.",
           "  [[nodiscard]] constexpr std::uint32_t word(std::size_t i) const {",
           "    return offset + 4 * static_cast<std::uint32_t>(i);", "  }", "};", "",
           "namespace window {"]
    for window in windows:
        out.append(f"/// {window['doc']}")
        out.append(f"inline constexpr Window k{camel(window['name'])}{{"
                   f"{cpp_string(window['name'])}, 0x{window['offset']:X}, {window['words']}}};")
    return out + ["} // namespace window"]


def md_enums(enums):
    out = ["| enum | codes |", "|---|---|"]
    for enum, values in enums.items():
        out.append(f"| `{enum}` | " + ", ".join(f"{v} = {n}" for n, v in values.items()) + " |")
    return out


def md_registers(registers, reset_text):
    """Rows of all registers below the heading; `reset_text` gives the text of a reset value."""
    out = ["| offset | register | access | reset | bits | |", "|---|---|---|---|---|---|"]
    for reg in registers:
        out.append(f"| 0x{reg['offset']:04x} | `{reg['name']}` | {reg['access']} | "
                   f"{reset_text(reg)} | | {cell(reg['doc'])} |")
        for field in reg.get("fields", []):
            out.append(f"| | `.{field['name']}` | | | {bit_range(field)} | {cell(field['doc'])} |")
    return out


def md_windows(windows):
    """Table of the windows."""
    out = ["| first word | last word | window | |", "|---|---|---|---|"]
    for window in windows:
        last = window["offset"] + 4 * window["words"] - 4
        out.append(f"| 0x{window['offset']:04x} | 0x{last:04x} | `{window['name']}` | "
                   f"{cell(window['doc'])} |")
    return out
