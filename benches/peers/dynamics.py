"""Times Lyapunov spectra beside the same algorithm in NumPy and PyTorch.

    python benches/peers/dynamics.py [--rounds 5]

Rounds alternate: NumPy or PyTorch with 1 thread, with 2, then ours (`cargo bench -p steadygrad
--bench dynamics`, one thread). Both sides measure the same kind of network: `towel`, all three
exponents of the folded-towel map over 10,000 steps; `engelken`, all 100 exponents of a random rate
network (N=100, g=4, dt=0.1, t=1,000), QR once per unit of time as Engelken's demo does; `rnn`, the
leading 10 exponents of a tanh RNN (N=512, g=4, 1,000 steps), QR at every step. Prints JSON:
medians in seconds and ratios to the faster of the peer's two.
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


def towel(steps=10_000):
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


def engelken(n=100, g=4.0, dt=0.1, duration=1_000, qr_time=1.0, seed=1):
    rng = np.random.default_rng(seed)
    coupling = rng.normal(0, g / np.sqrt(n), (n, n))
    h = rng.normal(size=n)
    q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    sums, every = np.zeros(n), round(qr_time / dt)
    steps = round(duration / dt)
    for step in range(steps):
        rate = np.tanh(h)
        q = (1 - dt) * q + dt * (coupling @ ((1 - rate * rate)[:, None] * q))
        h = (1 - dt) * h + dt * (coupling @ rate)
        if (step + 1) % every == 0:
            q, r = np.linalg.qr(q)
            sums += np.log(np.abs(np.diag(r)))
    return float((sums / duration)[0])


def rnn(n=512, k=10, g=4.0, steps=1_000, seed=1):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    coupling = draw(n, n) * (g / n**0.5)
    h, q = draw(n), torch.linalg.qr(draw(n, k))[0]
    sums = torch.zeros(k, dtype=torch.float64)
    for _ in range(steps):
        rate = torch.tanh(h)
        q = coupling @ ((1 - rate * rate)[:, None] * q)
        h = coupling @ rate
        q, r = torch.linalg.qr(q)
        sums += r.diagonal().abs().log()
    return float((sums / steps)[0])


def ours(name):
    command = ["cargo", "bench", "-q", "-p", "steadygrad", "--bench", "dynamics", "--", name]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return statistics.median(line["seconds"] for line in found), found[-1]["lambda_1"]


PEERS = {"towel": towel, "engelken": engelken, "rnn": rnn}


def peer(name, threads):
    """One timed run in a process of its own: NumPy's threads are fixed when it is loaded."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--peer", name]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(output.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        start = time.perf_counter()
        found = PEERS[arguments.peer]()
        print(json.dumps([time.perf_counter() - start, found]))
        return
    for name, library in [("towel", "numpy"), ("engelken", "numpy"), ("rnn", "torch")]:
        seconds = {1: [], 2: [], "ours": []}
        for _ in range(arguments.rounds):
            for threads in (1, 2):
                took, theirs = peer(name, threads)
                seconds[threads].append(took)
            took, found = ours(name)
            seconds["ours"].append(took)
        medians = {key: statistics.median(values) for key, values in seconds.items()}
        best = min(medians[1], medians[2])
        print(
            json.dumps(
                {
                    "name": name,
                    "peer": library,
                    "peer_seconds_1_thread": medians[1],
                    "peer_seconds_2_threads": medians[2],
                    "ours_seconds": medians["ours"],
                    "ratio": medians["ours"] / best,
                    "peer_lambda_1": float(theirs),
                    "ours_lambda_1": found,
                }
            )
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
