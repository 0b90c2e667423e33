#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""What hostile peers, damaged files, full disks and wrong numbers can do to the program.

hostile.py PROGRAM MODELS [CASE ..]; without CASE all of them.
"""
import json
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

PROGRAM = os.path.abspath(sys.argv[1])
MODELS = pathlib.Path(sys.argv[2])
EDGE = MODELS / "edge/fmnist_edge_int8.tflite"
MIB = 1 << 20
# Sanitizers take terabytes of address space and threads of their own: limits are not set under them.
SANITIZED = any(name in pathlib.Path(PROGRAM).read_bytes() for name in (b"__asan_init", b"__tsan_init"))
CONFIG = {"policy": "esa", "slots": 16, "jobs": [{"job": 1, "fan_in": 2, "worker_ports": [0, 1], "ps_port": 7}]}
SCENARIO = {"jobs": [{"model": "ResNet50", "iterations": 1}], "scale": 4096, "variants": [{"policy": "esa"}]}


def run(*args, stdout=subprocess.PIPE, setup=None, timeout=60):
    """Exit status (negative: signal), both outputs as text, peak resident MiB of the children so far."""
    p = subprocess.run([PROGRAM, *map(str, args)], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                       preexec_fn=setup, timeout=timeout)
    p.out = (p.stdout or b"").decode(errors="replace")
    p.err = p.stderr.decode(errors="replace")
    return p


def refused(p, *words):
    """Ended with a status of its own and one sentence that names the thing."""
    assert p.returncode > 0, f"status {p.returncode}: {p.err[-300:]}"
    assert len(p.err) < 2000, f"a message of {len(p.err)} characters"
    for word in words:
        assert word in p.err, f"no '{word}' in: {p.err[-300:]}"


def limited(bytes_):
    return lambda: None if SANITIZED else resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))


def peak_mib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0


class Server:
    """The program as a server, with its ready line."""

    def __init__(self, *args):
        self.process = subprocess.Popen([PROGRAM, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.port = self.ready["port"]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.communicate()

    def end(self, sign=signal.SIGTERM):
        begin = time.monotonic()
        self.process.send_signal(sign)
        self.err = self.process.communicate(timeout=60)[1]
        return self.process.returncode, time.monotonic() - begin

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(self, request):
        with self.connect() as s:
            s.sendall(request)
            answer = b""
            try:
                while chunk := s.recv(65536):
                    answer += chunk
            except OSError:
                pass
            return answer


def infer_request(images=1, extra=b"", close=True):
    body = json.dumps({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [images, 1, 28, 28],
                                   "data": [7] * (784 * images)}]}).encode()
    return post(body, extra, close)


def post(body, extra=b"", close=True):
    return (b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\n" + (b"Connection: close\r\n" if close else b"") + extra +
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


def files(folder, **contents):
    paths = []
    for name, content in contents.items():
        path = folder / name.replace("_", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        paths.append(path)
    return paths if len(paths) > 1 else paths[0]


# --- the world fails -----------------------------------------------------------------------------


def stdout_that_cannot_be_written(folder):
    scenario = files(folder, s_json=SCENARIO)
    commands = [["info"], ["info", EDGE], ["info", "--json", "-"], ["--help"], ["run", "--help"],
                ["esa", "simulate", scenario], ["thc", "solve"], ["thc", "search", "--workers", "8"],
                ["compile", EDGE, "-o", folder / "x.kpkg"]]
    for command in commands:
        with open("/dev/full", "w") as full:
            refused(run(*command, stdout=full), "standard output", "No space left on device")
        refused(run(*command, setup=lambda: os.close(1)), "standard output")
    for server in (["dc", "--port", "0"], ["aggregator", "--port", "0"]):
        with open("/dev/full", "w") as full:
            refused(run(*server, stdout=full), "standard output")


def files_that_cannot_be_written(folder):
    config, scenario = files(folder, c_json=CONFIG, s_json=SCENARIO)
    packet = files(folder, in_jsonl="".join(
        json.dumps({"port": w, "type": "data", "job": 1, "seq": i, "slot": i % 8, "bitmap": 1 << w, "fan_in": 2, "values": [1] * 64}) + "\n"
        for i in range(8) for w in range(2)))
    out = folder / "out"
    commands = {"x.json": ["thc", "solve", "--json"], "x.kpkg": ["compile", EDGE, "-o"],
                "x.jsonl": ["esa", "switch", "--config", config, "--input", packet, "--output"],
                "x.pcapng": ["esa", "switch", "--config", config, "--input", packet, "--output"]}

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    out.mkdir()
    for name, command in commands.items():
        path = out / name
        path.write_bytes(b"what was there")
        refused(run(*command, path, setup=small), name, "File too large")
        assert path.read_bytes() == b"what was there", f"{name} is damaged"
        assert os.listdir(out) == [name], os.listdir(out)
        path.unlink()
        p = run(*command, path)
        assert p.returncode == 0 and path.stat().st_size > 64, p.err
        path.unlink()
    refused(run("thc", "solve", "--json", folder / "no/such.json"), "such.json", "No such file")
    refused(run("thc", "solve", "--json", folder), str(folder), "directory")


def links_and_permissions_stay(folder):
    real = folder / "real.json"
    real.write_text("old")
    real.chmod(0o640)
    link = folder / "link.json"
    link.symlink_to(real)
    assert run("thc", "solve", "--json", link).returncode == 0
    assert link.is_symlink() and json.loads(real.read_text())["bits"] == 4
    assert real.stat().st_mode & 0o777 == 0o640


def no_file_as_input(folder):
    config, scenario = files(folder, c_json=CONFIG, in_jsonl="\n")
    for wrong, word in ((folder, "directory"), ("/dev/zero", "not a regular file"), (folder / "none", "no such file")):
        refused(run("esa", "switch", "--config", wrong, "--input", scenario, "--output", folder / "o.jsonl"), word)
        refused(run("esa", "switch", "--config", config, "--input", wrong, "--output", folder / "o.jsonl"), word)
        refused(run("esa", "simulate", wrong), word)
        refused(run("demo", "--thresholds", wrong), word)
        refused(run("info", wrong), word)
        refused(run("thc", "roundtrip", "--input", wrong), word)
    # A pipe is read to its end.
    reading, writing = os.pipe()
    os.write(writing, json.dumps(SCENARIO).encode())
    os.close(writing)
    p = subprocess.run([PROGRAM, "esa", "simulate", f"/proc/self/fd/{reading}"], pass_fds=[reading], capture_output=True, timeout=60)
    os.close(reading)
    assert p.returncode == 0, p.stderr


def names_that_are_no_text(folder):
    model = os.fsencode(folder) + b"/\xff\xfe.onnx"
    with open(model, "wb") as f:
        f.write((MODELS / "dc/fmnist_dc.onnx").read_bytes())
    p = subprocess.run([PROGRAM.encode(), b"dc", b"--port", b"0", b"--model", model], capture_output=True, timeout=60)
    p.err = p.stderr.decode(errors="replace")
    refused(p, "not UTF-8", "--name")


def too_little_memory(folder):
    if SANITIZED:
        return
    for command in (["dc", "--port", "0"], ["info", EDGE], ["esa", "simulate", files(folder, s_json=SCENARIO)]):
        for megabytes in (100, 140, 180, 220):
            p = run(*command, setup=limited(megabytes * MIB), timeout=30) if command[0] != "dc" else None
            if p is None:
                q = subprocess.Popen([PROGRAM, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     preexec_fn=limited(megabytes * MIB))
                if q.stdout.readline():  # it serves
                    q.terminate()
                err = q.communicate(timeout=30)[1]
                assert q.returncode in (0, 1, 127), f"{megabytes} MiB: status {q.returncode}: {err[-300:]}"
                assert "not an ONNX" not in err, err
            else:
                assert p.returncode in (0, 1, 127), f"{command} {megabytes} MiB: status {p.returncode}: {p.err[-300:]}"


def no_thread_can_be_started(folder):
    if SANITIZED:
        return

    def alone():
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        if os.geteuid() == 0:  # whom the limit does not bind
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

    folder.chmod(0o755)
    # Somebody else may not reach the build folder.
    program = folder / "kestrel"
    program.write_bytes(pathlib.Path(PROGRAM).read_bytes())
    program.chmod(0o755)
    model = folder / "m.onnx"
    model.write_bytes((MODELS / "dc/fmnist_dc.onnx").read_bytes())
    for command in (["dc", "--port", "0", "--model", model], ["aggregator", "--port", "0"]):
        p = subprocess.run([program, *command], capture_output=True, preexec_fn=alone, timeout=30, text=True)
        p.err = p.stderr
        refused(p, "ulimit -u")


# --- numbers without a range ---------------------------------------------------------------------


def numbers_of_a_scenario(folder):
    cases = {"link_gbps": [3e6, 1e-3, 1e-9, 0, -1], "scale": [1e308, 0], "timeout_us": [1e-9, 1e300], "link_delay_us": [1e300, -1],
             "switch_latency_us": [1e300], "reminder_us": [1e300, -1], "jitter": [1, 1e9], "loss": [0.5, 1, -1], "slots": [0, 1e9],
             "layers": [0, 257], "window_max": [5000], "queue_packets": [0], "max_events": [0], "downgrade_shift": [8]}
    for name, values in cases.items():
        for value in values:
            value = int(value) if isinstance(value, float) and value == 1e9 else value
            refused(run("esa", "simulate", files(folder, s_json={**SCENARIO, name: value}), timeout=20), name)
    for name, values in {"start_ms": [1e20, -1], "iterations": [0, 10**9], "workers": [0, 32], "count": [0, 1001]}.items():
        for value in values:
            job = {"model": "ResNet50", "iterations": 1, name: value}
            refused(run("esa", "simulate", files(folder, s_json={**SCENARIO, "jobs": [job]}), timeout=20), name)
    for name, values in {"forward_ms": [1e308, -1], "backward_ms": [1e308], "parameters_m": [0, 1e308]}.items():
        for value in values:
            model = {"parameters_m": 1, "forward_ms": 1, "backward_ms": 1, name: value}
            refused(run("esa", "simulate", files(folder, s_json={**SCENARIO, "jobs": [{"model": model}]}), timeout=20), name)
    # The slowest link of the range: an answer or a refusal, in bounded memory.
    p = run("esa", "simulate", files(folder, s_json={**SCENARIO, "link_gbps": 0.1}), timeout=50, setup=limited(1024 * MIB))
    assert p.returncode in (0, 1), p.err


def numbers_of_options(folder):
    """Every number that any command takes refuses what is none, or is infinite, by its name."""
    commands = [["run"], ["compile"], ["calibrate"], ["dc"], ["demo"], ["info"], ["aggregator"], ["esa", "switch"], ["esa", "simulate"],
                ["esa", "campaign"], ["thc", "roundtrip"], ["thc", "solve"], ["thc", "search"], ["thc", "schemes"]]
    needed = {"run": [EDGE, "--input", "x.npy"], "compile": [EDGE], "info": [EDGE], "switch": ["--config", "c", "--input", "i", "--output", "o"],
              "simulate": ["s.json"], "roundtrip": ["--input", "x.npy"]}
    tried = 0
    for command in commands:
        text = run(*command, "--help").out
        for option, kind in re.findall(r"^\s+(--[a-z0-9-]+) ((?:UINT|INT|FLOAT)\b.*)$", text, re.M):
            for wrong in ("nan", "inf", "-inf", "1e999", "-1e308", "99999999999999999999999"):
                p = run(*command, *needed.get(command[-1], []), option, wrong, timeout=20)
                assert p.returncode > 0, f"{command} {option} {wrong}: status {p.returncode} {p.err[-200:]}"
                assert option in p.err or wrong in p.err, f"{command} {option} {wrong}: {p.err[-200:]}"
                tried += 1
    assert tried > 200, tried
    for wrong in (["--loss", "1"], ["--packets", "0"], ["--damage", "1"], ["--lanes", "1"]):
        refused(run("esa", "campaign", *wrong, timeout=20), wrong[0])


# --- recursion -----------------------------------------------------------------------------------


def brackets_without_end(folder):
    for deep in ("[" * 60000 + "]" * 60000, '{"a":' * 60000 + "1" + "}" * 60000, "[" * 60000):
        config, lines, thresholds = files(folder, c_json=CONFIG, in_jsonl=deep + "\n", t_json=deep)
        for text in (deep, json.dumps(CONFIG).replace("16", deep)):
            bad = files(folder, bad_json=text)
            refused(run("esa", "switch", "--config", bad, "--input", lines, "--output", folder / "o.jsonl"), "deeper")
            refused(run("esa", "simulate", bad), "deeper")
        refused(run("esa", "switch", "--config", config, "--input", lines, "--output", folder / "o.jsonl"), "deeper")
        refused(run("demo", "--thresholds", thresholds), "deeper")


def quotes_are_short(folder):
    long = "x" * 100000
    for change in ({"policy": long}, {"policy": [1] * 20000}, {long: 1}, {"slots": long}, {"slots": [1] * 20000}):
        p = run("esa", "switch", "--config", files(folder, c_json={**CONFIG, **change}), "--input", "i", "--output", "o")
        refused(p)
        assert len(p.err) < 400, len(p.err)
    for change in ({"preempt": long}, {long: 1}, {"variants": [{"policy": long}]}):
        p = run("esa", "simulate", files(folder, s_json={**SCENARIO, **change}))
        refused(p)
        assert len(p.err) < 400, len(p.err)


# --- lengths that are believed -------------------------------------------------------------------


def announced_body(folder):
    """A DC that announces bodies that cannot be: the demo completes with the edge's answers, marked."""
    for length in (b"99999999999999", b"5000000000", b"18446744073709551615"):
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    c, _ = server.accept()
                except OSError:
                    return
                with c:
                    try:
                        c.settimeout(2)
                        c.recv(1 << 20)
                        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + length + b"\r\n\r\n{")
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        out = folder / "demo.json"
        p = run("demo", "--rtl-images", "0", "--images", "300", "--min-accuracy", "0.92", "--dc",
                f"http://127.0.0.1:{server.getsockname()[1]}", "--json", out, timeout=200, setup=limited(3000 * MIB))
        assert p.returncode == 0, p.err
        assert json.loads(out.read_text())["below_target"] > 0
        assert "larger than" in p.out or "HTTP" in p.out, p.out[-600:]
        server.close()


def regions_of_a_package(folder):
    good = folder / "good.kpkg"
    assert run("compile", EDGE, "-o", good).returncode == 0
    data = bytearray(good.read_bytes())
    length = struct.unpack_from("<Q", data, 28)[0]
    meta = data[36:36 + length]
    at = 0
    for _ in range(3):  # config, model, hash
        at += 4 + struct.unpack_from("<I", meta, at)[0]
    at += 8  # descriptors
    for region in range(3):
        changed = bytearray(meta)
        struct.pack_into("<I", changed, at + 4 * region, 0x7FFFF000)
        package = data[:24] + struct.pack("<I", zlib.crc32(changed)) + data[28:36] + changed + data[36 + length:]
        bad = folder / "bad.kpkg"
        bad.write_bytes(package)
        refused(run("info", bad), "region", "2147479552")


def scenario_that_expands(folder):
    many = {**SCENARIO, "jobs": [{"model": "ResNet50", "count": 1000}] * 20000}
    p = run("esa", "simulate", files(folder, s_json=many), setup=limited(512 * MIB))
    refused(p, "more than 1000")


def nested_bodies(folder):
    body = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":[' + b"[]," * 2700000 + b"[]]}]}"
    numbers = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":[' + b"1," * 4100000 + b"1]}]}"
    with Server("dc", "--port", "0", "--workers", "8", "--threads", "1") as dc:
        before = peak_mib(dc.process.pid)
        for bad in (body, numbers):
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(dc.ask(post(bad)))) for _ in range(8)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            for answer in answers:
                assert answer.split(b" ")[1] in (b"400", b"413"), answer[:200]
        rose = peak_mib(dc.process.pid) - before
        assert SANITIZED or rose < 600, f"{rose} MiB more"
        assert dc.ask(infer_request()).startswith(b"HTTP/1.1 200")


# --- draining ------------------------------------------------------------------------------------


def draining_is_not_held_up(folder):
    with Server("dc", "--port", "0", "--drain", "20") as dc:
        half = dc.connect()
        half.sendall(b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        stop = threading.Event()

        def insist():
            while not stop.is_set():
                try:
                    dc.ask(infer_request(close=False)[:-1] + b"}")
                except OSError:
                    time.sleep(0.001)

        def ask_on(s):
            try:
                while not stop.is_set():
                    s.sendall(infer_request(close=False))
                    s.recv(65536)
            except OSError:
                pass

        sockets = [dc.connect() for _ in range(8)]
        threads = [threading.Thread(target=ask_on, args=(s,), daemon=True) for s in sockets]
        threads += [threading.Thread(target=insist, daemon=True) for _ in range(4)]
        [t.start() for t in threads]
        time.sleep(0.5)
        status, seconds = dc.end()
        stop.set()
        assert status == 0, dc.err[-500:]
        assert "dropped" not in dc.err, dc.err[-500:]
        assert seconds < 5, seconds
        half.close()


def draining_is_bounded(folder):
    with Server("dc", "--port", "0", "--drain", "1", "--workers", "1", "--threads", "1") as dc:
        sockets = [dc.connect() for _ in range(16)]
        for s in sockets:
            s.sendall(infer_request(600))
        time.sleep(0.5)
        status, seconds = dc.end()
        assert seconds < 1.8, seconds
        assert status in (0, 1)
        assert status == 0 or "dropped" in dc.err, dc.err[-500:]


# --- HTTP ----------------------------------------------------------------------------------------


def smuggled_requests(folder):
    with Server("dc", "--port", "0") as dc:
        hidden = b"GET /v2/models/fmnist_dc HTTP/1.1\r\nHost: x\r\n\r\n"
        for coding in (b"gzip", b"xchunked", b"chunked, identity", b"identity", b"gzip, chunked", b"chunked\r\nTransfer-Encoding: chunked",
                       b"chunked\r\nTransfer-Encoding: identity", b"\x0bchunked", b'"chunked"', b"chunked;q=1"):
            answer = dc.ask(b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + coding + b"\r\n\r\n" + hidden)
            assert answer.startswith(b"HTTP/1.1 400"), (coding, answer[:100])
            assert answer.count(b"HTTP/1.1 ") == 1, (coding, answer)
        answer = dc.ask(b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden)
        assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1 ") == 1, answer
        close = b"Connection: close\r\n\r\n"
        assert dc.ask(b"GET /v2 HTTP/1.1\r\n" + close).startswith(b"HTTP/1.1 400")
        assert dc.ask(b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + close).startswith(b"HTTP/1.1 400")
        assert dc.ask(b"GET /v2 HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
        for target in (b"http://x/v2", b"HTTP://x:80/v2/health/live"):
            assert dc.ask(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + close).startswith(b"HTTP/1.1 200"), target
        for head in (b"HEAD /none HTTP/1.1\r\nHost: x\r\n" + close, b"HEAD /v2 HTTP/1.1\r\n" + close,
                     b"HEAD /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n" + close):
            answer = dc.ask(head)
            assert answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1, answer
        for behind in (b" x", b"{}", b"\0", b"]"):
            good = infer_request()
            body = good.split(b"\r\n\r\n", 1)[1] + behind
            assert dc.ask(post(body)).startswith(b"HTTP/1.1 400"), behind


def one_client_takes_all_connections(folder):
    with Server("dc", "--port", "0", "--max-connections", "16") as dc:
        hoard = [dc.connect() for _ in range(16)]
        time.sleep(1.2)
        for _ in range(5):
            answer = dc.ask(infer_request())
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        [s.close() for s in hoard]
        half = b"POST /v2/models/fmnist_dc/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        hoard = []
        for _ in range(16):
            hoard.append(dc.connect())
            hoard[-1].sendall(half)
        time.sleep(3.3)
        for _ in range(5):
            answer = dc.ask(infer_request())
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        [s.close() for s in hoard]


# --- state that strangers can fill ---------------------------------------------------------------


def START(job, worker=0, fan_in=2):
    """docs/wire_format.md; a nonce and a run behind the header."""
    return struct.pack(">BBBBBBBBHHIIH", 0x4B, 0, 2 << 4 | 1, 9, 0, fan_in, 0, 0, job, 0, 1, 1 << worker, 0) + struct.pack(">QI", job, 0)


def strangers_at_the_aggregator(folder):
    """70 000 senders of one byte, then 80 forged jobs: a new job is served."""
    with Server("aggregator", "--port", "0", "--address", "127.0.0.1", "--max-jobs", "8", "--json", folder / "a.json") as server:
        address = ("127.0.0.1", server.port)
        sent = 0
        for host in ("127.0.0.2", "127.0.0.3"):
            for source in range(20000, 55000):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    try:
                        s.bind((host, source))
                        s.sendto(b"x", address)
                        sent += 1
                    except OSError:
                        pass
        assert sent > 65536, sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.sendto(b"\x00" * 30, address)
            s.sendto(START(4711), address)
            answer = s.recv(4096)
            assert len(answer) == len(START(4711)), answer
            for job in range(1, 81):
                s.sendto(START(job), address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
            a.settimeout(5)
            b.settimeout(5)
            a.sendto(START(9999, 0), address)
            a.recv(4096)
            b.sendto(START(9999, 1), address)
            b.recv(4096)
        status, _ = server.end()
        assert status == 0
        told = json.loads((folder / "a.json").read_text())
        assert told["starts"] == 1 and told["foreign"] >= 30000 and told["displaced"] >= 70, told
        assert server.err.count("\n") < 60, "the log grows with what strangers send"


# --- somebody else's parser ----------------------------------------------------------------------


def models_that_contradict_themselves(folder):
    """Refused by the project's own reader or by an error of OpenCV's, not by a crash."""
    from damaged_onnx import BAD
    path = folder / "bad.onnx"
    for name, data in BAD.items():
        path.write_bytes(data)
        p = run("dc", "--model", path, "--address", "nowhere", "--workers", "1")
        refused(p)
        assert p.returncode == 1 and ("bad.onnx" in p.err or "nowhere" in p.err), f"{name}: status {p.returncode}: {p.err[-200:]}"
        assert "crashes" not in p.err, f"{name}: {p.err}"
        assert name != "good" or "nowhere" in p.err, p.err


def damaged_models(folder):
    """dc refuses each by name, or serves it; it never dies of it."""
    import random
    good = (MODELS / "dc/fmnist_dc.onnx").read_bytes()
    rng = random.Random(int(os.environ.get("KESTREL_SEED", "5")))
    # Bytes that are structure, not weights: the weights lie in a few long fields.
    places = [i for i in range(len(good)) if i < 3000 or i > len(good) - 3000]
    path = folder / "damaged.onnx"
    refused_, served = 0, 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            data[rng.choice(places)] = rng.randrange(256)
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)):]
        path.write_bytes(data)
        p = subprocess.Popen([PROGRAM, "dc", "--port", "0", "--model", path, "--workers", "1"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors="replace")
        if p.stdout.readline():
            p.terminate()
            p.communicate(timeout=60)
            assert p.returncode == 0, p.returncode
            served += 1
        else:
            err = p.communicate(timeout=60)[1]
            assert p.returncode == 1 and "damaged.onnx" in err, f"status {p.returncode}: {err[-300:]}"
            refused_ += 1
    print(f"{served} served, {refused_} refused")
    assert refused_ > 5


def pages_state_the_ranges(folder):
    root = pathlib.Path(__file__).resolve().parents[2]
    page = (root / "docs/limits.md").read_text()
    rows = 0
    for header, table in (("cluster", "kClusterRanges"), ("campaign", "kCampaignRanges")):
        text = (root / f"host/include/kestrel/esa/{header}.hpp").read_text().replace("kMaxClusterJobs}", "1000}")
        text = text[text.index(table):]
        for name, low, high in re.findall(r'\{"([^"]+)", ([^,]+), ([^}]+)\}', text[:text.index("}};")]):
            assert f"| `{name}` | {low} | {high.replace(chr(39), '')} |" in page, name
            rows += 1
    assert rows > 30, rows


CASES = [f for name, f in list(globals().items()) if callable(f) and getattr(f, "__code__", None) and
         f.__code__.co_varnames[:1] == ("folder",) and f.__code__.co_argcount == 1]

if __name__ == "__main__":
    failed = 0
    for case in CASES:
        if len(sys.argv) > 3 and case.__name__ not in sys.argv[3:]:
            continue
        with tempfile.TemporaryDirectory(prefix="kestrel_hostile_") as name:
            try:
                case(pathlib.Path(name))
                print(f"ok {case.__name__}", flush=True)
            except (AssertionError, subprocess.TimeoutExpired, OSError) as problem:
                print(f"FAILED {case.__name__}: {str(problem)!r}", flush=True)
                failed += 1
    sys.exit(failed != 0)
