# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Reads a package of `kestrel compile` (docs/compiler.md, "Package file")."""

import struct
import zlib

RAW, NHWC = 0, 1  # input layouts
SOFTMAX = 0  # output layout


class Meta:
    """The fields of a META section in order: little-endian numbers, strings and lists with a u32 count."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, kind="I"):
        (value,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        size = self.number()
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def numbers(self):
        return [self.number("i") for _ in range(self.number())]


class Package:
    """What a host needs to run the network: `image` goes to PKG_BASE, `exponentials` to the table."""

    def __init__(self, data):
        if data[:8] != b"KESTRLHV":
            raise ValueError("not a package of a compiled network")
        _, self.contract_version, count = struct.unpack_from("<III", data, 8)
        at, sections = 20, {}
        for _ in range(count):
            tag, crc, size = struct.unpack_from("<4sIQ", data, at)
            sections[tag] = data[at + 16 : at + 16 + size]
            if zlib.crc32(sections[tag]) != crc:
                raise ValueError(f"section {tag.decode()} is damaged")
            at += 16 + size
        self.image = sections[b"IMAG"]
        table = sections.get(b"EXPT", b"")
        self.exponentials = struct.unpack(f"<{len(table) // 4}I", table)
        meta = Meta(sections[b"META"])
        self.config, self.model, self.source_hash = meta.text(), meta.text(), meta.text()
        self.descriptor_offset, self.descriptor_count = meta.number(), meta.number()
        self.in_bytes, self.out_bytes, self.scratch_bytes = (meta.number() for _ in range(3))
        self.input_shape = meta.numbers()
        meta.number("f"), meta.number("i")  # scale, zero point
        self.input_layout = meta.number("B")
        self.input_pixels, self.input_channels, self.input_padded = (meta.number() for _ in range(3))
        self.output_shape = meta.numbers()
        meta.number("f"), meta.number("i")
        self.output_layout, self.output_offset = meta.number("B"), meta.number()

    def input_bytes(self, values):
        """The IN region for int8 NHWC values: pixels padded to `input_padded` channels."""
        flat = values.reshape(self.input_pixels, self.input_channels)
        padding = bytes(self.input_padded - self.input_channels)
        data = b"".join(pixel.tobytes() + padding for pixel in flat)
        return data + bytes(self.in_bytes - len(data))
