#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Timing of the board's memory at the engine's port, from the log of an inference on the simulated board.

  kestrel board-sim --port 4321 --bus bus.log &
  kestrel run NET.tflite --input x.npy --device "remote:tcp://127.0.0.1:4321?verify=0"
  boards/ulx3s/measure_memory.py bus.log

Prints, and as settings of --memory:
  latency        cycles from the address of a read that finds the port idle to its first beat (median)
  outstanding    most reads under way, the new one included (95 % of all)
  bytes          from the commonest distance of two beats in a burst
  refresh        every 7.8 us; as many cycles of it as the mean over beats that follow each other without
                 the port being idle is longer than that distance
  write-latency  cycles from the last beat of a write to its response (median)
"""

import collections
import statistics
import sys

BUS_BYTES, INTERVAL = 8, 390   # bytes of a beat, tREFI at 50 MHz


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    requests, beats, last_writes, responses, writes, wanted = [], [], [], [], 0, []
    for line in open(sys.argv[1]):
        cycle, channel, *rest = line.split()
        if channel == "AR":
            requests.append((int(cycle), int(rest[1])))
        elif channel == "R":
            beats.append(int(cycle))
        elif channel == "AW":
            wanted.append(int(rest[1]))
        elif channel == "W":
            writes += 1
            if writes == sum(wanted[:len(last_writes) + 1]):
                last_writes.append(int(cycle))
        else:
            responses.append(int(cycle))
    bursts, at = [], 0
    for cycle, count in requests:
        bursts.append((cycle, beats[at:at + count]))
        at += count
    bursts = [b for b in bursts if b[1]]
    if len(bursts) < 20:
        print(f"{sys.argv[1]}: {len(bursts)} read bursts are too few", file=sys.stderr)
        return 1
    idle, under_way, within = [], [], collections.Counter()
    busy_cycles = busy_beats = 0
    for i, (cycle, data) in enumerate(bursts):
        pending = sum(1 for other in bursts[max(0, i - 64):i] if other[1][-1] >= cycle)
        under_way.append(pending + 1)
        within.update(b - a for a, b in zip(data, data[1:]))
        if pending == 0:
            idle.append(data[0] - cycle)
            busy_cycles += data[-1] - data[0]
            busy_beats += len(data) - 1
        else:
            busy_cycles += data[-1] - bursts[i - 1][1][-1]
            busy_beats += len(data)
    step = within.most_common(1)[0][0]
    mean = busy_cycles / busy_beats
    outstanding = sorted(under_way)[int(0.95 * (len(under_way) - 1))]
    refresh = max(0, round(INTERVAL * (1 - step / mean)))
    latency = round(statistics.median(idle))
    print(f"{len(bursts)} reads, {len(beats)} beats; distance within a burst: "
          + ", ".join(f"{d}: {n}" for d, n in sorted(within.items())))
    print(f"mean distance while the port is busy {mean:.3f} cycles, {BUS_BYTES / mean:.3f} bytes a cycle")
    text = f"latency={latency}"
    pairs = list(zip(last_writes, responses))
    if pairs:
        text += f",write-latency={round(statistics.median(b - w for w, b in pairs))}"
    print(text + f",outstanding={outstanding},bytes={BUS_BYTES / step:.4g},refresh="
          + (f"{INTERVAL}/{refresh}" if refresh else "0"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
