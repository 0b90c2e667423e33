#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Trains a Fashion-MNIST network with DistributedDataParallel in several worker processes, once for
each way of exchanging gradients and each state of the network, and compares accuracy, bytes and time.

  PYTHONPATH=build/release/python /usr/bin/python3 bench/thc_training/train.py --out build/thc_training
  ... train.py --quick          the part that continuous integration runs; fails when THC is not as good

What is real: the processes, DDP, the gradients, and for THC and UHC the packets: they go over UDP
sockets to an aggregator (a thread of the starting process), with loss injected in both directions,
and are counted with all their headers. What is computed: the bytes of the other schemes (indices and
scales, without headers). Those exchange decompressed gradients over gloo, and their losses are drawn
for packets of 1024 coordinates on the way up. What is modelled: time, see --link-mbit, --compute-ms.
"""

import argparse
import ctypes
import gzip
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

import kestrel_thc

DATA = "/usr/share/datasets/fashion-mnist"
PACKET = 1024  # coordinates
HEADERS = 64  # Ethernet, IPv4, UDP and the aggregation header
STRAGGLER_EVERY, STRAGGLER_MS = 10, 100
QUORUM_MS, STRAGGLER_QUORUM_MS, PATIENT_MS = 10, 40, 2000
BASELINE = "uncompressed"
# A short training varies more from run to run.
QUICK_ROUNDS, QUICK_GAP = 200, 1.5


# --- data and model ---


def read_idx(name):
    with gzip.open(os.path.join(DATA, name + "-ubyte.gz")) as file:
        bytes_ = file.read()
    rank = bytes_[3]
    shape = np.frombuffer(bytes_, ">u4", rank, 4)
    return np.frombuffer(bytes_, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(split):
    images = torch.from_numpy(read_idx(split + "-images-idx3").copy()).unsqueeze(1)
    return images, torch.from_numpy(read_idx(split + "-labels-idx1").astype(np.int64))


def as_input(images):
    return (images.float() - 73.0) / 90.0  # mean and deviation of the training set, rounded


def make_model(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, stride=2, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 7 * 7, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    )


# --- the other schemes: y -> (what the receiver makes of it, bytes up, bytes down) ---


def no_compression(y, random):
    return y, 4 * y.numel(), 4 * y.numel()


def qsgd(y, random, levels=7):
    """Alistarh et al. 2017: norm of a bucket of 1024, sign and 0..7: 4 bits."""
    padded = F.pad(y, (0, -len(y) % PACKET)).view(-1, PACKET)
    norm = padded.norm(dim=1, keepdim=True).clamp_min(1e-30)
    position = padded.abs() / norm * levels
    level = (position + torch.rand(position.shape, generator=random)).floor()
    estimate = (padded.sign() * level / levels * norm).flatten()[: len(y)]
    return estimate, len(y) / 2 + 4 * len(padded), 4 * len(y)


def terngrad(y, random):
    """Wen et al. 2017: -s, 0, s with clipping at 2.5 deviations: 2 bits."""
    clipped = y.clamp(-2.5 * y.std(), 2.5 * y.std())
    scale = clipped.abs().max().clamp_min(1e-30)
    one = torch.rand(y.shape, generator=random) < clipped.abs() / scale
    return clipped.sign() * one * scale, len(y) / 4 + 4, 4 * len(y)


def signsgd(y, random):
    """Karimireddy et al. 2019: the sign times the mean magnitude of a block of 1024: 1 bit, with error
    feedback."""
    padded = F.pad(y, (0, -len(y) % PACKET)).view(-1, PACKET)
    estimate = padded.sign() * padded.abs().mean(dim=1, keepdim=True)
    return estimate.flatten()[: len(y)], len(y) / 8 + 4 * len(padded), 4 * len(y)


def topk(y, random, share=16):
    """The largest 1/16 of the coordinates, value and number: 8 bytes each, with error feedback."""
    k = max(1, len(y) // share)
    keep = y.abs().topk(k).indices
    estimate = torch.zeros_like(y)
    estimate[keep] = y[keep]
    return estimate, 8 * k, 4 * len(y)


def drive(y, random):
    """Vargaftik et al. 2021: sign of the rotated gradient and one scale: 1 bit, biased scale."""
    size = 1 << math.ceil(math.log2(len(y)))
    signs = torch.randint(2, (size,), generator=random) * 2.0 - 1.0
    z = hadamard(F.pad(y, (0, size - len(y))) * signs)
    estimate = hadamard(z.sign() * z.abs().mean()) * signs
    return estimate[: len(y)], size / 8 + 4, 4 * len(y)


def hadamard(x):
    n = len(x)
    stride = 1
    while stride < n:
        pairs = x.view(-1, 2, stride)
        x = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), 1).reshape(n)
        stride *= 2
    return x / math.sqrt(n)


# name: (function, error feedback, bits up, sums stay compressed)
PEERS = {
    BASELINE: (no_compression, False, "32", "-"),
    "QSGD": (qsgd, False, "4", "no"),
    "TernGrad": (terngrad, False, "2", "no"),
    "signSGD+EF": (signsgd, True, "1", "no"),
    "top-1/16+EF": (topk, True, "4", "no"),
    "DRIVE+EF": (drive, True, "1", "no"),
}
TABLES = {
    "THC": lambda: kestrel_thc.Table(),
    "UHC": lambda: kestrel_thc.Table(4, 15, 1 / 32, list(range(16))),
}
SCHEMES = [BASELINE, "THC", "UHC", *list(PEERS)[1:]]


class PeerState:
    """Exchange of decompressed gradients, with loss on the way up and error feedback."""

    def __init__(self, scheme, rank, size, loss, seed):
        self.compress, self.feedback, _, _ = PEERS[scheme]
        self.size, self.loss = size, loss
        self.random = torch.Generator().manual_seed(1000 * seed + rank)
        self.error = None
        self.calls = 0
        self.up = self.down = 0
        self.lost = self.packets = 0


def peer_hook(state, bucket):
    x = bucket.buffer()
    state.calls += 1
    future = torch.futures.Future()
    if state.calls == 1 or (state.loss == 0 and state.compress is no_compression):
        # DDP orders its buckets anew after the first iteration: it goes uncompressed for all.
        dist.all_reduce(x.div_(state.size))
        state.up += 4 * len(x)
        state.down += 4 * len(x)
        future.set_result(x)
        return future
    y = x + state.error if state.error is not None else x
    estimate, up, down = state.compress(y, state.random)
    packets = -(-len(x) // PACKET)
    heard = (torch.rand(packets, generator=state.random) >= state.loss).float()
    mask = heard.repeat_interleave(PACKET)[: len(x)]
    said = estimate * mask
    if state.feedback:
        state.error = y - said
    both = torch.cat((said, heard))
    dist.all_reduce(both)
    count = both[len(x) :].repeat_interleave(PACKET)[: len(x)]
    state.up += up
    state.down += down
    state.packets += packets
    state.lost += packets - int(heard.sum())
    x.copy_(both[: len(x)] / count.clamp_min(1))
    future.set_result(x)
    return future


# --- one run ---


class Run:
    def __init__(self, scheme, network, seed, settings):
        self.key = [scheme, network, seed, settings]
        self.scheme, self.network, self.seed = scheme, network, seed
        self.loss = {"0.1 %": 0.001, "1 %": 0.01}.get(network, 0.0)
        self.straggler = network == "straggler"


class Job:
    """What a worker process keeps for all runs."""

    def __init__(self, rank, args):
        self.rank, self.args = rank, args
        images, labels = load("train")
        self.images = images[rank :: args.workers]
        self.labels = labels[rank :: args.workers]
        images, labels = load("t10k")
        self.test = as_input(images[rank :: args.workers]), labels[rank :: args.workers]

    def accuracy(self, net):
        with torch.no_grad():
            right = sum(
                int((net(x).argmax(1) == y).sum())
                for x, y in zip(self.test[0].split(500), self.test[1].split(500))
            )
        counts = torch.tensor([right, len(self.test[1])], dtype=torch.int64)
        dist.all_reduce(counts)
        return 100.0 * int(counts[0]) / int(counts[1])

    def state(self, run, model, endpoint):
        args = self.args
        if run.scheme in PEERS:
            state = PeerState(run.scheme, self.rank, args.workers, run.loss, run.seed)
            model.register_comm_hook(state, peer_hook)
            return state
        faults = {}
        if run.loss:
            faults = {
                "loss_up": run.loss,
                "loss_down": run.loss,
                "seed": 100 * run.seed + self.rank,
            }
        state = kestrel_thc.ThcState(
            model,
            aggregator=endpoint,
            table=TABLES[run.scheme](),
            seed=run.seed,
            warmup_rounds=1,
            faults=faults,
            reminder_ms=2 * QUORUM_MS,
            timeout_ms=60000,
        )
        model.register_comm_hook(state, kestrel_thc.thc_hook)
        return state

    def traffic(self, run, state):
        if run.scheme in PEERS:
            return state.up, state.down
        stats = state.stats()
        return (
            stats["bytes_up"] + stats["warmup_bytes"],
            stats["bytes_down"] + stats["warmup_bytes"],
        )

    def train(self, run, endpoint):
        args = self.args
        net = make_model(run.seed)
        model = DistributedDataParallel(net)
        state = self.state(run, model, endpoint)
        optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1, (step + 1) / 20) * (1 - step / args.rounds)
        )
        random = torch.Generator().manual_seed(7919 * run.seed + self.rank)
        order = torch.empty(0, dtype=torch.int64)
        curve = []
        begin = time.perf_counter()
        for step in range(args.rounds):
            if len(order) < args.batch:
                order = torch.randperm(len(self.images), generator=random)
            batch, order = order[: args.batch], order[args.batch :]
            if run.straggler and self.rank == args.workers - 1 and step % STRAGGLER_EVERY == 5:
                time.sleep(STRAGGLER_MS / 1000)
            optimizer.zero_grad()
            F.cross_entropy(model(as_input(self.images[batch])), self.labels[batch]).backward()
            optimizer.step()
            schedule.step()
            if (step + 1) % args.eval_every == 0 or step + 1 == args.rounds:
                up, down = self.traffic(run, state)
                curve.append(
                    {"round": step + 1, "accuracy": self.accuracy(net), "up": up, "down": down}
                )
        seconds = time.perf_counter() - begin
        result = {
            "key": run.key,
            "scheme": run.scheme,
            "network": run.network,
            "seed": run.seed,
            "curve": curve,
            "accuracy": curve[-1]["accuracy"],
            "bytes_up": curve[-1]["up"],
            "bytes_down": curve[-1]["down"],
            "parameters": sum(p.numel() for p in net.parameters()),
            "seconds": seconds,
        }
        # Contributions that were not counted, of all workers.
        if run.scheme in PEERS:
            lost, packets = state.lost, max(1, state.packets)
            result["abstained"] = 0
        else:
            worker = state.stats()["worker"]
            lost, packets = worker["lost"], worker["packets"]
            abstained = torch.tensor([worker["abstained"]])
            dist.all_reduce(abstained)
            result["abstained"] = int(abstained)
        counts = torch.tensor([lost, packets])
        dist.all_reduce(counts)
        result["lost_share"] = int(counts[0]) / int(counts[1])
        # Replicas must be equal, whatever got lost.
        mine = torch.cat([p.detach().flatten() for p in net.parameters()])
        highest, lowest = mine.clone(), mine.clone()
        dist.all_reduce(highest, op=dist.ReduceOp.MAX)
        dist.all_reduce(lowest, op=dist.ReduceOp.MIN)
        result["replicas_equal"] = torch.equal(highest, lowest)
        return result


def worker_process(rank, args, runs, endpoints, port):
    # Ends with its parent, however that ends (Linux: PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=args.workers)
    job = Job(rank, args)
    for number, run in enumerate(runs):
        result = job.train(run, endpoints[number])
        if rank == 0:
            store(args, load_results(args) + [result])
            print(
                f"[{number + 1}/{len(runs)}] {run.scheme:12s} loss/network {run.network:9s} "
                f"seed {run.seed}: {result['accuracy']:.2f} %, {result['seconds']:.1f} s",
                file=sys.stderr,
                flush=True,
            )


def load_results(args):
    try:
        with open(os.path.join(args.out, "runs.json")) as file:
            return json.load(file)
    except FileNotFoundError:
        return []


def store(args, results):
    path = os.path.join(args.out, "runs.json")
    with open(path + ".new", "w") as file:
        json.dump(results, file, indent=1)
    os.replace(path + ".new", path)


def run_all(args, runs):
    # Workers inherit it: freed memory is not given back to the system at every step.
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1000000000")
    os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
    servers, endpoints = [], []
    for run in runs:
        if run.scheme in PEERS:
            endpoints.append(None)
            continue
        # With a quorum, a packet that is lost on the way up is left out after QUORUM_MS; a round
        # begins without a straggler after STRAGGLER_QUORUM_MS.
        partial = run.loss > 0 or run.straggler
        servers.append(
            kestrel_thc.Aggregator(
                table=TABLES[run.scheme](),
                quorum=args.workers - 1 if partial else 0,
                quorum_timeout_ms=QUORUM_MS if run.loss > 0 else PATIENT_MS,
                norm_timeout_ms=STRAGGLER_QUORUM_MS if run.straggler else PATIENT_MS,
            )
        )
        endpoints.append(servers[-1].endpoint)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker_process, (args, runs, endpoints, port), nprocs=args.workers)


# --- figures ---


def modelled_time(args, result, point):
    """Seconds until a point of the curve: compute, then up and down at once (full duplex)."""
    rounds = point["round"]
    transfer = max(point["up"], point["down"]) * 8 / (args.link_mbit * 1e6)
    wait = 0.0
    if result["network"] == "straggler":
        own = result["scheme"] in TABLES
        wait = (STRAGGLER_QUORUM_MS if own else STRAGGLER_MS) / 1000 * (rounds / STRAGGLER_EVERY)
    return rounds * args.compute_ms / 1000 + transfer + wait


def group(results):
    groups = {}
    for result in results:
        groups.setdefault((result["scheme"], result["network"]), []).append(result)
    return groups


def mean(values):
    return sum(values) / len(values)


def mean_curve(args, runs):
    """(rounds, MB up, modelled seconds, accuracy) averaged over the seeds."""
    return [
        (
            points[0]["round"],
            mean([p["up"] for p in points]) / 1e6,
            mean([modelled_time(args, r, p) for r, p in zip(runs, points)]),
            mean([p["accuracy"] for p in points]),
        )
        for points in zip(*(r["curve"] for r in runs))
    ]


def summarise(args, results):
    groups = group(results)
    base = groups[(BASELINE, "0 %")]
    base_accuracy = mean([r["accuracy"] for r in base])
    target = base_accuracy - 1.0
    rows = []
    for (scheme, network), runs in groups.items():
        curve = mean_curve(args, runs)
        reached = next((t for _, _, t, accuracy in curve if accuracy >= target), None)
        rows.append(
            {
                "scheme": scheme,
                "network": network,
                "seeds": len(runs),
                "accuracy": mean([r["accuracy"] for r in runs]),
                "gap": base_accuracy - mean([r["accuracy"] for r in runs]),
                "up_share": mean([r["bytes_up"] for r in runs])
                / mean([r["bytes_up"] for r in base]),
                "down_share": mean([r["bytes_down"] for r in runs])
                / mean([r["bytes_down"] for r in base]),
                "lost_share": mean([r["lost_share"] for r in runs]),
                "abstained": mean([r["abstained"] for r in runs]),
                "time_to_target": reached,
                "seconds": mean([r["seconds"] for r in runs]),
                "replicas_equal": all(r["replicas_equal"] for r in runs),
                "sums": "yes" if scheme in TABLES else PEERS[scheme][3],
            }
        )
    return rows, target


def print_table(args, rows, target, parameters):
    print(
        f"Fashion-MNIST, {parameters} parameters, {args.workers} workers of batch {args.batch}, "
        f"{args.rounds} rounds, DDP over gloo.\n"
        "seeds: runs that are averaged.\n"
        "accuracy: measured on the 10 000 test images at the end. gap: points below "
        f"{BASELINE} without loss.\n"
        "bytes: up and down of one worker, as a share of the uncompressed gradients; THC and UHC "
        "measured on\n"
        "  their sockets with 64 bytes of headers a packet, the others computed without headers.\n"
        "lost: contributions that were not in the sum, measured. Straggler: worker "
        f"{args.workers - 1} comes {STRAGGLER_MS} ms late every {STRAGGLER_EVERY}th round.\n"
        f"time to {target:.2f} %: MODELLED, {args.compute_ms:g} ms of computation a round and a "
        f"full-duplex link of {args.link_mbit:g} Mbit/s for each worker.\n"
    )
    head = ("scheme", "network", "seeds", "accuracy", "gap", "bytes up", "down", "lost", "sums", "time")
    print("{:13s}{:10s}{:>6s}{:>10s}{:>7s}{:>10s}{:>8s}{:>8s}{:>6s}{:>9s}".format(*head))
    for r in rows:
        time_text = "-" if r["time_to_target"] is None else f"{r['time_to_target']:.1f} s"
        print(
            f"{r['scheme']:13s}{r['network']:10s}{r['seeds']:6d}{r['accuracy']:9.2f}%{r['gap']:7.2f}"
            f"{'1/%.1f' % (1 / r['up_share']):>10s}{'1/%.1f' % (1 / r['down_share']):>8s}"
            f"{100 * r['lost_share']:7.2f}%{r['sums']:>6s}{time_text:>9s}"
        )
    print("sums: whether the aggregator can add what is sent without decompressing it.")


def draw(args, results):
    """accuracy over rounds, bytes and modelled time, for schemes and for networks."""
    groups = group(results)
    pictures = {
        "schemes": [key for key in groups if key[1] == "0 %"],
        "networks": [key for key in groups if key[0] in (BASELINE, "THC")],
    }
    axes = [("rounds", 1, "rounds"), ("bytes", 2, "MB sent by one worker"),
            ("time", 3, f"modelled seconds at {args.link_mbit:g} Mbit/s")]
    for name, keys in pictures.items():
        data = os.path.join(args.out, f"{name}.dat")
        with open(data, "w") as file:
            for key in keys:
                file.write(f'"{key[0]}, {key[1]}"\n')
                for rounds, up, seconds, accuracy in mean_curve(args, groups[key]):
                    file.write(f"{rounds} {up:.4f} {seconds:.3f} {accuracy:.3f}\n")
                file.write("\n\n")
        for axis, column, label in axes:
            picture = os.path.join(args.out, f"accuracy_over_{axis}_{name}.svg")
            log_scale = "set logscale x\n" if axis != "rounds" else ""
            script = (
                f'set terminal svg size 720,440 background "white"\nset output "{picture}"\n'
                f'set xlabel "{label}"\nset ylabel "test accuracy, %"\nset key bottom right\n'
                f"set grid\n{log_scale}"
                f'plot for [i=0:{len(keys) - 1}] "{data}" index i using {column}:4 '
                "with linespoints pointsize 0.5 title columnheader(1)\n"
            )
            try:
                subprocess.run(["gnuplot"], input=script, text=True, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"train.py: {picture} was not drawn: {error}", file=sys.stderr)
                return


def check(args, rows):
    """What THC has to reach; the list of what it misses."""
    problems = []
    seen = 0
    for r in rows:
        if not r["replicas_equal"]:
            problems.append(f"{r['scheme']}, {r['network']}: replicas differ")
        if r["scheme"] != "THC" or r["network"] not in ("0 %", "0.1 %", "1 %"):
            continue
        seen += 1
        if r["gap"] > args.max_gap:
            problems.append(f"THC, {r['network']}: {r['gap']:.2f} points below uncompressed")
        if r["up_share"] > 1 / 6:
            problems.append(f"THC, {r['network']}: 1/{1 / r['up_share']:.2f} of the bytes up")
        if r["network"] == "1 %" and r["lost_share"] < 0.005:
            problems.append("THC, 1 %: nothing got lost")
    if seen < 2:
        problems.append("THC was not run with and without loss")
    return problems


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=4, help="worker processes")
    parser.add_argument("--rounds", type=int, default=600, help="iterations of each run")
    parser.add_argument("--batch", type=int, default=32, help="images of a worker and round")
    parser.add_argument("--lr", type=float, default=0.05, help="largest learning rate")
    parser.add_argument(
        "--seeds", type=int, default=2, help="runs of uncompressed and THC, averaged"
    )
    parser.add_argument("--eval-every", type=int, default=50, help="rounds between two accuracies")
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="which, comma-separated")
    parser.add_argument(
        "--networks", default="0 %,0.1 %,1 %,straggler", help="which, comma-separated"
    )
    parser.add_argument("--link-mbit", type=float, default=100, help="of the modelled link")
    parser.add_argument("--compute-ms", type=float, default=10, help="of a modelled round")
    parser.add_argument("--max-gap", type=float, default=0.5, help="points allowed to THC")
    parser.add_argument("--out", default="build/thc_training", help="folder for what is written")
    parser.add_argument("--quick", action="store_true", help="a few short runs, and the check")
    parser.add_argument("--resume", action="store_true", help="keep the runs that are in --out")
    args = parser.parse_args()
    schemes, networks = args.schemes.split(","), args.networks.split(",")
    if args.quick:
        schemes, networks, args.seeds = [BASELINE, "THC"], ["0 %", "1 %"], 1
        args.rounds, args.max_gap = min(args.rounds, QUICK_ROUNDS), QUICK_GAP
    for scheme in schemes:
        if scheme not in SCHEMES:
            parser.error(f"unknown scheme '{scheme}'; known: {', '.join(SCHEMES)}")
    if BASELINE not in schemes or "0 %" not in networks:
        parser.error(f"everything is compared with '{BASELINE}' at '0 %': both are needed")
    if not 2 <= args.workers <= kestrel_thc.MAX_WORKERS:
        parser.error(f"--workers must be 2 to {kestrel_thc.MAX_WORKERS}")
    settings = [args.workers, args.rounds, args.batch, args.lr, args.eval_every]
    runs = [
        Run(scheme, network, seed, settings)
        for network in networks
        for scheme in schemes
        for seed in range(1, (args.seeds if scheme in (BASELINE, "THC") else 1) + 1)
        # Only these have an answer to a straggler, or are what it is compared with. The quick
        # version needs the loss of the uncompressed gradients no more.
        if (network != "straggler" or scheme in (BASELINE, "THC"))
        and not (args.quick and network == "1 %" and scheme == BASELINE)
    ]
    os.makedirs(args.out, exist_ok=True)
    begin = time.perf_counter()
    if not args.resume:
        store(args, [])
    done = [result["key"] for result in load_results(args)]
    missing = [run for run in runs if run.key not in done]
    if missing:
        run_all(args, missing)
    by_key = {json.dumps(result["key"]): result for result in load_results(args)}
    results = [by_key[json.dumps(run.key)] for run in runs]
    rows, target = summarise(args, results)
    print_table(args, rows, target, results[0]["parameters"])
    with open(os.path.join(args.out, "table.json"), "w") as file:
        json.dump({"target": target, "rows": rows}, file, indent=1)
    if not args.quick:
        draw(args, results)
    print(
        f"{len(missing)} of {len(results)} runs made now, in {time.perf_counter() - begin:.0f} s; "
        f"data and pictures: {args.out}"
    )
    problems = check(args, rows)
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print(
            f"THC is within {args.max_gap} points of the uncompressed accuracy with at most 1/6 of "
            "the bytes up"
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
