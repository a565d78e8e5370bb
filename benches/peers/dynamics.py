"""Times Lyapunov spectra against the same algorithm in NumPy and PyTorch.

    python benches/peers/dynamics.py [--rounds 5]

Rounds alternate: NumPy or PyTorch with 1 thread, with 2, then steadygrad with one thread (`cargo
bench --workspace --bench dynamics`). steadygrad runs twice: with its own interval between two
factorisations, and with the peer's. Both sides measure the same kind of network:

- `towel`: all three exponents of the folded-towel map over 10,000 steps, QR at every step.
- `engelken`: all 100 exponents of a random rate network (N=100, g=4, dt=0.1, t=1,000), QR once per
  unit of time (10 steps), as Engelken's demo does.
- `rnn`: the leading 10 exponents of a tanh RNN (N=512, g=4, 1,000 steps), QR at every step.

Before the clock starts, networks are built and each peer has run a tenth of its steps. It prints
JSON: medians in seconds, and ratios to the faster of the peer's two thread counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
import torch


def towel():
    def run(steps):
        x, y, z = 0.085, -0.121, 0.075
        q, sums = np.eye(3), np.zeros(3)
        for _ in range(steps):
            jacobian = np.array(
                [
                    [3.8 * (1 - 2 * x), -0.05 * (1 - 2 * z), 0.1 * (y + 0.35)],
                    [
                        -0.19 * ((y + 0.35) * (1 - 2 * z) - 1),
                        0.1 * (1 - 2 * z) * (1 - 1.9 * x),
                        -0.2 * (y + 0.35) * (1 - 1.9 * x),
                    ],
                    [0, 0.2, 3.78 * (1 - 2 * z)],
                ]
            )
            x, y, z = (
                3.8 * x * (1 - x) - 0.05 * (y + 0.35) * (1 - 2 * z),
                0.1 * ((y + 0.35) * (1 - 2 * z) - 1) * (1 - 1.9 * x),
                3.78 * z * (1 - z) + 0.2 * y,
            )
            q, r = np.linalg.qr(jacobian @ q)
            sums += np.log(np.abs(np.diag(r)))
        return float((sums / steps)[0])

    return run, 10_000


def engelken(n=100, g=4.0, dt=0.1, duration=1_000, qr_time=1.0, seed=1):
    rng = np.random.default_rng(seed)
    coupling = rng.normal(0, g / np.sqrt(n), (n, n))
    start = rng.normal(size=n)
    directions = np.linalg.qr(rng.normal(size=(n, n)))[0]
    every = round(qr_time / dt)

    def run(steps):
        h, q, sums = start, directions, np.zeros(n)
        for step in range(steps):
            rate = np.tanh(h)
            q = (1 - dt) * q + dt * (coupling @ ((1 - rate * rate)[:, None] * q))
            h = (1 - dt) * h + dt * (coupling @ rate)
            if (step + 1) % every == 0:
                q, r = np.linalg.qr(q)
                sums += np.log(np.abs(np.diag(r)))
        return float((sums / (steps * dt))[0])

    return run, round(duration / dt)


def rnn(n=512, k=10, g=4.0, steps=1_000, seed=1):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    coupling = draw(n, n) * (g / n**0.5)
    start, directions = draw(n), torch.linalg.qr(draw(n, k))[0]

    def run(steps):
        h, q, sums = start, directions, torch.zeros(k, dtype=torch.float64)
        for _ in range(steps):
            rate = torch.tanh(h)
            q = coupling @ ((1 - rate * rate)[:, None] * q)
            h = coupling @ rate
            q, r = torch.linalg.qr(q)
            sums += r.diagonal().abs().log()
        return float((sums / steps)[0])

    return run, steps


PEERS = {"towel": towel, "engelken": engelken, "rnn": rnn}


def peer(name, threads):
    """Runs a peer once in its own process, since NumPy fixes its threads when it is loaded."""
    count = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
    command = [sys.executable, __file__, "--peer", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(output.stdout)


def time_peer(name):
    run, steps = PEERS[name]()
    run(steps // 10)
    start = time.perf_counter()
    found = run(steps)
    print(json.dumps([time.perf_counter() - start, found]))


def ours(name):
    """Returns steadygrad's results by interval; None is the interval that it chooses itself."""
    command = ["cargo", "bench", "-q", "--workspace", "--bench", "dynamics", "--", name]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in map(json.loads, filter(lambda line: line.startswith("{"), lines.splitlines())):
        found.setdefault(line["interval"], []).append(line)
    return {
        interval: {**runs[-1], "seconds": statistics.median(run["seconds"] for run in runs)}
        for interval, runs in found.items()
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        time_peer(arguments.peer)
        return
    for name, library in [("towel", "numpy"), ("engelken", "numpy"), ("rnn", "torch")]:
        seconds, own, last = {1: [], 2: []}, {}, {}
        for _ in range(arguments.rounds):
            for threads in (1, 2):
                took, theirs = peer(name, threads)
                seconds[threads].append(took)
            last = ours(name)
            for interval, run in last.items():
                own.setdefault(interval, []).append(run["seconds"])
        medians = {threads: statistics.median(values) for threads, values in seconds.items()}
        best = min(medians.values())
        for interval, values in own.items():
            row = {
                "name": name,
                "interval": interval or "automatic",
                "longest_interval": last[interval]["longest_interval"],
                "digits_lost": last[interval]["digits_lost"],
                "peer": library,
                "peer_seconds_1_thread": medians[1],
                "peer_seconds_2_threads": medians[2],
                "ours_seconds": statistics.median(values),
                "ratio": statistics.median(values) / best,
                "peer_lambda_1": theirs,
                "ours_lambda_1": last[interval]["lambda_1"],
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
