"""Injects faults into PyTorch training: guarded, unguarded, and with `clip_grad_norm_(1.0)`.

    pip install scikit-learn          # for its 1,797 handwritten digits
    python benches/survival/survival_torch.py [--seeds 13] [--first 20000] [--processes 2]
        [--models mlp cnn lstm]

Models: an MLP, a CNN and an LSTM (over the rows of an image) on handwritten digits, and an LSTM on
the temporal order task (Hochreiter and Schmidhuber, 1997, task 6a; 10 time steps), on which the
same study in Burn runs its recurrent network.

Training: 600 steps of 64 rows; the learning rate falls to 0 over the second half. Odd seeds use
AdamW, even seeds SGD with momentum. The temporal order task uses AdamW and Adam, since with
momentum the loss jumps above chance in 8 of 10 runs without a fault (rate 0.1; 6 of 10 with 0.05).

Each of eight faults starts between steps 100 and 200. A run has recovered if its weights are finite
and its accuracy on held-out data is within 1 % of the same run without a fault (2 % if weights were
damaged). As many clean runs are done with and without the guard: their accuracies must be equal,
and no step may be skipped or rolled back.

The controls are clean runs with one batch left out, the least that a guard can do, and with twenty,
the possible cost of a rollback. They show how often the criterion calls such a run lost by chance.

It prints Markdown tables. The LSTM on digits has its own: there four of 397 images decide, and
training ends at weights that differ by as many.
"""

import argparse
import collections
import math
import multiprocessing
import random

import steadygrad.torch
import torch
from sklearn.datasets import load_digits
from torch import nn

STEPS, ROWS = 600, 64


class Lstm(nn.Module):
    """Classifies sequences with eight values per time step."""

    def __init__(self, classes):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, classes)

    def forward(self, x):
        return self.head(self.lstm(x.view(len(x), -1, 8))[0][:, -1])


def network(kind):
    if kind == "mlp":
        hidden = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
        return nn.Sequential(*hidden, nn.Linear(64, 10))
    if kind == "cnn":
        first = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
        second = [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(256, 10))
    return Lstm(10 if kind == APART else 4)


class Fault:
    """Changes the batch, the weights or the learning rate before a step."""

    def __init__(self, name, seed):
        generator = random.Random(f"{name} {seed}")
        self.name, self.at, self.generator = name, generator.randint(100, 200), generator

    def __call__(self, step, x, y, model, optimizer):
        since = step - self.at
        if self.name == "none" or since < 0:
            return x, y
        if since == 0 and self.name in ("nan", "inf"):
            x = x.clone()
            row = self.generator.randrange(len(x))
            x[row, self.generator.randrange(x.shape[1])] = float(self.name)
        elif since == 0 and self.name == "batch x1e6":
            x = 1e6 * x
        elif since < 10 and self.name == "labels":
            y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(since))]
        elif since < 40 and self.name == "rate growth":
            self._rate(optimizer, 1.25)
        elif since == 40 and self.name == "rate growth":
            self._rate(optimizer, 1.25**-40)
        elif since in (0, 1) and self.name == "rate x100":
            self._rate(optimizer, 100.0 if since == 0 else 0.01)
        elif since == 0 and self.name == "bit flip":
            self._flip(model)
        elif since == 0 and self.name == "weights x30":
            with torch.no_grad():
                next(model.parameters()).mul_(30.0)
        return x, y

    def _rate(self, optimizer, by):
        for group in optimizer.param_groups:
            group["lr"] *= by

    def _flip(self, model):
        """Flips the highest bit of a weight's exponent: 0.05 becomes 1e37."""
        weight = next(p for p in model.parameters() if p.ndim > 1).data.view(-1)
        at = self.generator.randrange(len(weight))
        bits = weight[at : at + 1].clone().view(torch.int32)
        weight[at : at + 1] = (bits ^ (1 << 30)).view(torch.float32)


FAULTS = [
    "nan",
    "inf",
    "batch x1e6",
    "labels",
    "rate growth",
    "rate x100",
    "bit flip",
    "weights x30",
]
KINDS = ["mlp", "cnn", "lstm"]
APART = "lstm on digits"
# Batches that the controls leave out, from the step at which a fault would start.
LEFT_OUT = {"one left out": 1, "twenty left out": 20}


def falls(step):
    """Returns the factor on the last learning rate: constant, then a linear fall to 0."""
    return 1.0 if step <= STEPS // 2 else (STEPS - step) / (STEPS - step + 1)


def run(kind, seed, fault, how, data):
    torch.manual_seed(seed)
    model = network(kind)
    if seed % 2:
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    elif kind == "lstm":
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    else:
        rate = 0.1 if kind == APART else 0.03
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    # Factors, so that a fault's change of the rate stays.
    schedule = torch.optim.lr_scheduler.MultiplicativeLR(optimizer, falls)
    guard = steadygrad.torch.Guard(model, optimizer) if how == "guard" else None
    (inputs, classes), (held, answers) = data
    order = torch.Generator().manual_seed(seed)
    fault, lost = Fault(fault, seed), []
    for step in range(STEPS):
        rows = torch.randint(0, len(inputs), (ROWS,), generator=order)
        x, y = fault(step, inputs[rows], classes[rows], model, optimizer)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if guard is not None:
            try:
                seen = guard.step(loss)
            except steadygrad.torch.GuardStopped:
                return math.nan, lost, guard.counts
            if seen.rolled_back_to is not None:
                lost.append(step - seen.rolled_back_to)
        else:
            if how == "clip":
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not fault.at <= step < fault.at + LEFT_OUT.get(how, 0):
                optimizer.step()
        schedule.step()
    finite = all(p.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        accuracy = (model(held).argmax(1) == answers).float().mean().item()
    return accuracy if finite else math.nan, lost, guard.counts if guard else {}


def temporal_order():
    """Returns one-hot sequences and their classes, for training and for validation."""
    generator, count, length = torch.Generator().manual_seed(0), 12_000, 10
    draw = lambda *bounds: torch.randint(*bounds, (count,), generator=generator)
    symbols = torch.randint(0, 4, (count, length), generator=generator)
    symbols[:, 0], symbols[:, -1] = 6, 7
    first, second = draw(0, 2), draw(0, 2)
    rows = torch.arange(count)
    symbols[rows, draw(1, 3)] = 4 + first
    symbols[rows, draw(4, 6)] = 4 + second
    inputs = nn.functional.one_hot(symbols, 8).float().flatten(1)
    classes = 2 * first + second
    return (inputs[:10_000], classes[:10_000]), (inputs[10_000:], classes[10_000:])


def digits():
    """Returns images and their classes, for training and for validation."""
    known = load_digits()
    shuffled = torch.randperm(len(known.data), generator=torch.Generator().manual_seed(0))
    inputs = torch.tensor(known.data, dtype=torch.float32)[shuffled] / 16
    classes = torch.tensor(known.target)[shuffled]
    return (inputs[:1400], classes[:1400]), (inputs[1400:], classes[1400:])


class Tally:
    """Counts the outcomes of runs, of one model and seed or of many."""

    def __init__(self):
        self.recovered, self.runs, self.near = (collections.Counter() for _ in range(3))
        self.rollbacks, self.lost = [], []
        self.clean = self.same = self.interventions = 0

    def add(self, other):
        for name, own in vars(self).items():
            theirs = getattr(other, name)
            if isinstance(own, collections.Counter):
                own.update(theirs)  # `+` would drop zeros.
            else:
                setattr(self, name, own + theirs)

    def faulty(self, kind, seed, data):
        clean, *_ = run(kind, seed, "none", "plain", data)
        for fault in FAULTS:
            bar = 0.02 if fault in ("bit flip", "weights x30") else 0.01
            for how in ("guard", "plain", "clip"):
                accuracy, lost, _ = run(kind, seed, fault, how, data)
                well = accuracy >= (1 - bar) * clean
                for key in (fault, kind, "all"):
                    self.recovered[key, how] += well
                    self.runs[key] += how == "guard"
                if how == "guard":
                    self.rollbacks += lost
                    if not well:
                        self.lost.append(f"{kind} {seed} {fault}: {accuracy:.4f} of {clean:.4f}")

    def without_fault(self, kind, seed, data):
        guarded, _, counts = run(kind, seed, "none", "guard", data)
        plain, *_ = run(kind, seed, "none", "plain", data)
        self.clean += 1
        self.same += guarded == plain
        self.interventions += sum(counts.values()) - counts["kept"]
        for how in LEFT_OUT:
            accuracy, *_ = run(kind, seed, "none", how, data)
            for key in (kind, "all"):
                self.near[key, how] += accuracy >= 0.99 * plain

    def print(self, kinds):
        print("| | runs | guard | unguarded | clip=1 |\n|---|---|---|---|---|")
        for key in [*FAULTS, *kinds, "all"]:
            counts = [self.recovered[key, how] for how in ("guard", "plain", "clip")]
            cells = [f"{100 * count / self.runs[key]:.1f} %" for count in counts]
            print(f"| {key} | {self.runs[key]} | " + " | ".join(cells) + " |")
        self.rollbacks.sort()
        median = self.rollbacks[len(self.rollbacks) // 2] if self.rollbacks else 0
        print(f"\n{len(self.rollbacks)} rollbacks, {median} steps lost in the median.")
        print(f"{self.clean} clean runs: {self.interventions} interventions,", end=" ")
        print(f"the same accuracy in {self.same}.")
        for how in LEFT_OUT:
            each = ", ".join(f"{kind} {self.near[kind, how]}" for kind in kinds)
            share = 100 * self.near["all", how] / self.clean
            print(f"Control, a clean run with {how}: within 1 % of the clean run", end=" ")
            print(f"in {share:.1f} % of {self.clean} ({each}).")
        print("\nNot recovered:\n" + "\n".join(f"- {line}" for line in self.lost or ["none"]))


def case(kind, seed):
    """Runs one model at one seed with each fault, and as many clean runs on other seeds."""
    torch.set_num_threads(1)
    tally, data = Tally(), temporal_order() if kind == "lstm" else digits()
    tally.faulty(kind, seed, data)
    for other in range(len(FAULTS)):
        tally.without_fault(kind, 1_000_000 + len(FAULTS) * seed + other, data)
    return kind, tally


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=13)
    parser.add_argument("--first", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=[*KINDS, APART], default=[*KINDS, APART])
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    # The slow models first, or one process would end long after the others.
    models = [kind for kind in [APART, *reversed(KINDS)] if kind in arguments.models]
    cases = [(kind, seed) for kind in models for seed in seeds]
    whole, apart = Tally(), Tally()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for kind, one in pool.starmap(case, cases, chunksize=1):
            (apart if kind == APART else whole).add(one)
    if whole.clean:
        whole.print([kind for kind in KINDS if kind in models])
    if apart.clean:
        print(f"\n## {APART}\n")
        apart.print([APART])


if __name__ == "__main__":
    main()
