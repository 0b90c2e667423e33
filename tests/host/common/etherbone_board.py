#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""A board with Ethernet for tests/host/common/test_etherbone.cpp: memory behind LiteX's Etherbone.

The packets are decoded and encoded by litex.tools.remote.etherbone. Otherwise it does as LiteEth's core does:
it answers to its own port number of whoever asks, one record in a packet, and a record of more words than its
buffer (address included) stops it for good. A word that was never written reads as its address inverted.

Prints its port, serves until its standard input is closed, then prints one line: packets, words written, the
most words in a record, answers lost, answers that came late. Runs under build/venv; 77 where LiteX is missing.
"""

import argparse
import select
import socket
import sys

try:
    from litex.tools.remote.etherbone import (EtherbonePacket, EtherboneRecord, EtherboneWrites,
                                              etherbone_magic, etherbone_version)
except ImportError:
    sys.exit(77)

HEADERS = 12  # bytes before the words of a record


def answer(packet, memory):
    """What the board sends for this packet; None for a write."""
    record, = packet.records
    if record.writes is not None:  # lists that are always empty, and so false
        for i, word in enumerate(record.writes.get_datas()):
            memory[record.writes.base_addr + 4 * i] = word
    if record.reads is None:
        return None
    words = [memory.get(address, address ^ 0xFFFF_FFFF) for address in record.reads.get_addrs()]
    reply = EtherbonePacket(32)
    reply.records = [EtherboneRecord()]
    reply.records[0].writes = EtherboneWrites(base_addr=record.reads.base_ret_addr, datas=words)
    reply.encode()
    return bytes(reply.bytes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="127.0.0.2")
    parser.add_argument("--buffer", type=int, default=16, help="words of a record (LiteX's default 16)")
    parser.add_argument("--lose", type=int, default=0, help="every so manieth answer is lost")
    parser.add_argument("--late", type=int, default=0, help="every so manieth comes after the next one's question")
    options = parser.parse_args()

    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind((options.address, 0))
    port = line.getsockname()[1]
    print(port, flush=True)

    memory, late, stopped = {}, None, False
    packets = written = longest = answers = lost = delayed = 0
    while True:
        ready, _, _ = select.select([line, sys.stdin], [], [])
        if sys.stdin in ready:
            break
        data, (host, _) = line.recvfrom(4096)
        packets += 1
        words = (len(data) - HEADERS) // 4
        longest = max(longest, words)
        stopped = stopped or words > options.buffer
        if stopped:
            continue
        packet = EtherbonePacket(32, data)
        packet.decode()
        if packet.magic != etherbone_magic or packet.version != etherbone_version or len(packet.records) != 1:
            print(f"not a packet for this board: {data.hex()}", file=sys.stderr)
            return 1
        written += packet.records[0].wcount
        if packet.records[0].reads is not None:  # LiteX's decoder forgets this field
            packet.records[0].reads.base_ret_addr = int.from_bytes(data[HEADERS:HEADERS + 4], "big")
        reply = answer(packet, memory)
        packet.encode()
        theirs = bytes(packet.bytes)
        if theirs != data:
            print(f"LiteX {theirs.hex()}\nours  {data.hex()}", file=sys.stderr)
            return 1
        if late is not None:
            line.sendto(late, (host, port))
            late = None
        if reply is None:
            continue
        answers += 1
        if options.lose and answers % options.lose == 0:
            lost += 1
        elif options.late and answers % options.late == 0:
            late, delayed = reply, delayed + 1
        else:
            line.sendto(reply, (host, port))
    print(packets, written, longest, lost, delayed, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
