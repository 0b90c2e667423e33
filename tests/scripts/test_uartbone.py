#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The bytes of the remote device against LiteX's own client.

litex.tools.remote.comm_uart makes the accesses that the remote device makes when it opens a board, into a
port that records them; tests/rtl/vision/test_remote_device.cpp (BytesOnTheWire) holds the device to the same
bytes. Runs under build/venv; skipped (77) where LiteX is missing.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

try:
    from litex.tools.remote.comm_uart import CommUART
except ImportError:
    print("skipped: LiteX is missing; scripts/setup.sh installs it into build/venv")
    sys.exit(77)


class Recorder:
    """A serial port that answers every question with zeros."""

    def __init__(self):
        self.bytes = b""

    def write(self, data):
        self.bytes += bytes(data)
        return len(data)

    def read(self, count):
        return bytes(count)

    def inWaiting(self):  # as pyserial has it
        return 0


def main():
    client = CommUART.__new__(CommUART)
    client.port, client.debug, client.addr_bytes = Recorder(), False, 4
    client.read(0x3000_0000, 5)
    client.write(0x3000_0014, 2)
    client.read(0x3000_0018)
    client.write(0x3000_0020, 0)
    client.write(0x3000_0044, 0)
    client.write(0x4000_0000, [0x5EED0001, 0xA5A55A5A, 0x0000FFFF, 0x12345678])
    client.write(0x41FF_FFF0, [0x5EED0002, 0x5A5AA5A5, 0xFFFF0000, 0x87654321])
    client.read(0x4000_0000, 4)
    client.read(0x41FF_FFF0, 4)
    theirs = client.port.bytes.hex()

    source = (ROOT / "tests" / "rtl" / "vision" / "test_remote_device.cpp").read_text()
    expected = source[source.index("EXPECT_EQ(hex,"):]
    expected = expected[:expected.index(";\n")]
    ours = "".join(re.findall(r'"([0-9a-f]+)"', expected))
    print(f"{len(theirs) // 2} bytes of LiteX's client, {len(ours) // 2} of the device's test")
    if theirs != ours or len(ours) < 100:
        print(f"LiteX {theirs}\nours  {ours}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
