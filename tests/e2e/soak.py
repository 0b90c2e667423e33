#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Mixed good and bad traffic on the DC server and the aggregator while a job runs.

soak.py PROGRAM SECONDS (kestrel_thc on PYTHONPATH). A job of two workers runs on the aggregator under attack and, with the same
tensors, on one that nobody disturbs: the means must be equal, bit for bit. So must the DC's answers to the same request be. Resident
memory must not grow after a third of the time (KESTREL_SOAK_MEMORY=0: that is not judged, for sanitizers keep what is freed). Both servers must end with status 0.
"""
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np

import kestrel_thc

PROGRAM, SECONDS = sys.argv[1], float(sys.argv[2])
SEED = int(os.environ.get("KESTREL_SEED", time.time_ns() % (1 << 31)))
JOB = 4711
CORPUS = pathlib.Path(__file__).resolve().parents[1] / "fuzz/corpus"
print(f"KESTREL_SEED={SEED}, {SECONDS:.0f} s", flush=True)


class Server:
    def __init__(self, *args):
        self.log = open(os.devnull, "w") if not os.environ.get("KESTREL_SOAK_LOG") else None
        self.process = subprocess.Popen([PROGRAM, *args], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.samples = []

    def sample(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                self.samples.append(int(line.split()[1]) / 1024)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


dc = Server("dc", "--port", "0", "--workers", "2", "--drain", "20")
attacked = Server("aggregator", "--port", "0")
quiet = Server("aggregator", "--port", "0")
stop = threading.Event()
counts = {"good": 0, "refused as full": 0, "bad": 0, "datagrams": 0, "rounds": 0}
wrong = []


def request(rng, images):
    body = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [images, 1, 28, 28],
                                   "data": [rng.randrange(256) for _ in range(784 * images)]}]}).encode()
    return b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def ask(data, patience=20):
    with socket.create_connection(("127.0.0.1", dc.ready["port"]), timeout=patience) as s:
        s.sendall(data)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
        return answer


def good_client(number):
    rng = random.Random(SEED + number)
    mine = [request(rng, n) for n in (1, 3, 17)]
    first = {}
    while not stop.is_set():
        i = rng.randrange(len(mine))
        try:
            answer = ask(mine[i])
        except OSError as e:
            wrong.append(f"a good request failed after {time.monotonic() - begin:.0f} s of traffic: {e}")
            continue
        if answer.startswith(b"HTTP/1.1 503"):
            counts["refused as full"] += 1
            time.sleep(0.05)
            continue
        body = answer.split(b"\r\n\r\n", 1)[-1]
        if not answer.startswith(b"HTTP/1.1 200") or first.setdefault(i, body) != body:
            wrong.append(f"a good request is answered {answer[:200]!r}")
        counts["good"] += 1
        time.sleep(0.02)


def bad_client(number):
    rng = random.Random(SEED + 100 + number)
    seeds = [p.read_bytes() for p in (CORPUS / "http").iterdir()]
    held = []
    while not stop.is_set():
        kind = rng.randrange(8)
        data = bytearray(rng.choice(seeds).replace(b"/fake/", b"/fmnist_dc/"))
        for _ in range(rng.randrange(6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if kind == 0:
            data = b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n{"
        elif kind == 1:
            body = b"[" * rng.randrange(1, 3000000)
            data = b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        elif kind == 2:
            body = b'{"inputs":[' + b"[]," * rng.randrange(1, 1500000) + b"[]]}"
            data = b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        try:
            s = socket.create_connection(("127.0.0.1", dc.ready["port"]), timeout=2)
            s.sendall(data)
            if kind == 3:  # keeps it
                held.append(s)
                if len(held) > 20:
                    held.pop(0).close()
                continue
            if kind < 6:
                s.settimeout(1)
                s.recv(65536)
            s.close()
        except OSError:
            pass
        counts["bad"] += 1
        time.sleep(0.05)


def start(job, worker, fan_in, nonce):
    return struct.pack(">BBBBBBBBHHIIH", 0x4B, 0, 33, 9, 0, fan_in, 0, 0, job, 0, 1, 1 << worker, 0) + struct.pack(">QI", nonce, 0)


def bad_sender():
    rng = random.Random(SEED + 200)
    address = ("127.0.0.1", attacked.ready["port"])
    while not stop.is_set():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for _ in range(20):
                job = rng.choice([n for n in (rng.randrange(1, 65536), 5, 6) if n != JOB])
                kind = rng.randrange(4)
                if kind == 0:
                    data = rng.randbytes(rng.randrange(1, 100))
                elif kind == 1:
                    data = start(job, 0, rng.randrange(1, 33), rng.getrandbits(64))
                else:
                    data = bytearray(start(job, rng.randrange(3), 3, 1) + rng.randbytes(rng.randrange(0, 600)))
                    data[1] = rng.randrange(256)
                    data[3] = rng.randrange(12)
                    data[2] = 2 << 4 | rng.randrange(7)
                    data[7] = rng.randrange(2)
                s.sendto(bytes(data), address)
                counts["datagrams"] += 1
        time.sleep(0.01)


def job():
    pairs = [[kestrel_thc.Worker(e.ready["endpoint"], rank, 2, job=JOB, timeout_ms=30000) for rank in range(2)] for e in (attacked, quiet)]
    rng = np.random.default_rng(SEED)
    feedback = [[np.zeros(20000, np.float32) for _ in range(2)] for _ in range(2)]
    while not stop.is_set():
        g = rng.normal(size=(2, 20000)).astype(np.float32)
        means = [[None, None], [None, None]]

        def one(place, rank):
            x = g[rank].copy()
            try:
                pairs[place][rank].all_reduce_mean(x, feedback[place][rank])
                means[place][rank] = x
            except kestrel_thc.ThcError as e:
                wrong.append(f"the job failed in round {counts['rounds']}: {e}")

        threads = [threading.Thread(target=one, args=(p, r)) for p in range(2) for r in range(2)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        flat = [m for pair in means for m in pair]
        if any(m is None for m in flat) or any(not np.array_equal(flat[0].view(np.uint32), m.view(np.uint32)) for m in flat[1:]):
            wrong.append(f"round {counts['rounds']} differs")
            return
        counts["rounds"] += 1
        time.sleep(0.02)


begin = time.monotonic()
threads = [threading.Thread(target=good_client, args=(i,)) for i in range(3)] + [threading.Thread(target=bad_client, args=(i,)) for i in range(4)]
threads += [threading.Thread(target=bad_sender), threading.Thread(target=job)]
[t.start() for t in threads]
servers = {"dc": dc, "aggregator": attacked}
while time.monotonic() - begin < SECONDS and len(wrong) < 20 and all(s.process.poll() is None for s in servers.values()):
    time.sleep(min(1.0, SECONDS / 60))
    for server in servers.values():
        try:
            server.sample()
        except (OSError, ProcessLookupError):
            pass
stop.set()
[t.join(timeout=60) for t in threads]
for name, server in servers.items():
    if server.process.poll() is not None:
        wrong.append(f"{name} has ended with {server.process.returncode}")
        continue
    third = len(server.samples) // 3
    before, after = max(server.samples[:third] or [0]), max(server.samples[third:] or [0])
    last = sum(server.samples[-5:]) / 5
    print(f"{name}: {before:.0f} MiB at most in the first third, {after:.0f} MiB after, {last:.0f} MiB at the end")
    if os.environ.get("KESTREL_SOAK_MEMORY", "1") != "0" and after > 1.25 * before + 64 and last > 1.25 * before:
        wrong.append(f"{name} grows")
    if (status := server.end()) != 0:
        wrong.append(f"{name} ends with {status}")
quiet.end()
print(counts)
for line in wrong[:10]:
    print("WRONG:", line)
if min(counts[k] for k in ("good", "bad", "datagrams", "rounds")) == 0:
    wrong.append("idle")
    print("WRONG: something did not run")
print("passed" if not wrong else "FAILED")
sys.exit(bool(wrong))
