"""Faults in PyTorch training, with the guard, without it, and with `clip_grad_norm_(1.0)`.

    pip install scikit-learn          # for its 1,797 handwritten digits
    python benches/survival/survival_torch.py [--seeds 13] [--first 20000] [--processes 2] [--models mlp cnn lstm]

Four models: an MLP, a CNN and an LSTM (over the rows of an image) on handwritten digits, and an LSTM on the temporal
order task (Hochreiter and Schmidhuber, 1997, task 6a; 10 time steps), which the recovery work in Burn has its recurrent
network on. Eight faults between steps 100 and 200, 600 steps of 64, the learning rate falling to 0 over the second half.
Momentum and AdamW by turns; on temporal order Adam and AdamW, for there the loss of momentum alone jumps above chance
in 8 of 10 runs that nobody meddles with (0.1; 6 of 10 with 0.05).

A run is recovered when its weights are finite and its accuracy on held-out data is within 1 % of that of the same run
without a fault (2 % where weights were damaged). As many clean runs are done with and without the guard; their
accuracies have to be the same, and nothing may be skipped or rolled back.

The controls are clean runs with one batch left out, the least that any guard can do, and with twenty, what a rollback
may cost: how often the bar calls those lost is what it cannot tell from chance. Prints Markdown tables, those of the
digits' LSTM apart: four of its 397 images are a loss by the bar, and which weights training ends at is worth as many.
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
    """Of sequences of eight values a time step."""

    def __init__(self, classes):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, classes)

    def forward(self, x):
        return self.head(self.lstm(x.view(len(x), -1, 8))[0][:, -1])


def network(kind):
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if kind == "cnn":
        layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
        return nn.Sequential(*layers, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10))
    return Lstm(10 if kind == APART else 4)


class Fault:
    """Called before each step with the batch; may change it, the weights or the learning rate."""

    def __init__(self, name, seed):
        draw = random.Random(f"{name} {seed}")
        self.name, self.at, self.draw = name, draw.randint(100, 200), draw

    def __call__(self, step, x, y, model, optimizer):
        since = step - self.at
        if self.name == "none" or since < 0:
            return x, y
        if since == 0 and self.name in ("nan", "inf"):
            x = x.clone()
            x[self.draw.randrange(len(x)), self.draw.randrange(x.shape[1])] = math.nan if self.name == "nan" else math.inf
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
        """The highest bit of an exponent: a weight of 0.05 becomes 1e37."""
        weight = next(p for p in model.parameters() if p.ndim > 1).data.view(-1)
        at = self.draw.randrange(len(weight))
        bits = weight[at : at + 1].clone().view(torch.int32)
        weight[at : at + 1] = (bits ^ (1 << 30)).view(torch.float32)


FAULTS = ["nan", "inf", "batch x1e6", "labels", "rate growth", "rate x100", "bit flip", "weights x30"]
KINDS = ["mlp", "cnn", "lstm"]
APART = "lstm on digits"
# The controls' batches, from the step on at which a fault would come.
LEFT_OUT = {"one left out": 1, "twenty left out": 20}


def falls(step):
    """The learning rate's factor: it is constant, and then falls to 0 along a line."""
    return 1.0 if step <= STEPS // 2 else (STEPS - step) / (STEPS - step + 1)


def run(kind, seed, fault, how, data):
    torch.manual_seed(seed)
    model = network(kind)
    if seed % 2:
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    elif kind == "lstm":
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 if kind == APART else 0.03, momentum=0.9)
    # By factors, so that what a fault does to the rate stays.
    schedule = torch.optim.lr_scheduler.MultiplicativeLR(optimizer, falls)
    guard = steadygrad.torch.Guard(model, optimizer) if how == "guard" else None
    (inputs, classes), (held, answers) = data
    order = torch.Generator().manual_seed(seed)
    fault, lost, first = Fault(fault, seed), [], 0
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
    """One-hot sequences and their classes, to train on and to validate with."""
    generator, count, length = torch.Generator().manual_seed(0), 12_000, 10
    draw = lambda *bounds: torch.randint(*bounds, (count,), generator=generator)  # noqa: E731
    symbols = torch.randint(0, 4, (count, length), generator=generator)
    symbols[:, 0], symbols[:, -1] = 6, 7
    first, second = draw(0, 2), draw(0, 2)
    rows = torch.arange(count)
    symbols[rows, draw(1, 3)] = 4 + first
    symbols[rows, draw(4, 6)] = 4 + second
    inputs, classes = nn.functional.one_hot(symbols, 8).float().flatten(1), 2 * first + second
    return (inputs[:10_000], classes[:10_000]), (inputs[10_000:], classes[10_000:])


def digits():
    """Images and classes to train on, and those to validate with."""
    known = load_digits()
    shuffled = torch.randperm(len(known.data), generator=torch.Generator().manual_seed(0))
    inputs = torch.tensor(known.data, dtype=torch.float32)[shuffled] / 16
    classes = torch.tensor(known.target)[shuffled]
    return (inputs[:1400], classes[:1400]), (inputs[1400:], classes[1400:])


class Tally:
    """What became of the runs of one model and seed, or of many."""

    def __init__(self):
        self.recovered, self.runs, self.near = (collections.Counter() for _ in range(3))
        self.rollbacks, self.lost = [], []
        self.clean = self.same = self.interventions = 0

    def add(self, other):
        for name, own in vars(self).items():
            theirs = getattr(other, name)
            if isinstance(own, collections.Counter):
                own.update(theirs)  # `+` would drop what is zero.
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
            cells = [f"{100 * self.recovered[key, how] / self.runs[key]:.1f} %" for how in ("guard", "plain", "clip")]
            print(f"| {key} | {self.runs[key]} | " + " | ".join(cells) + " |")
        self.rollbacks.sort()
        median = self.rollbacks[len(self.rollbacks) // 2] if self.rollbacks else 0
        print(f"\n{len(self.rollbacks)} rollbacks, {median} steps lost in the median.")
        print(f"{self.clean} clean runs: {self.interventions} interventions, the same accuracy in {self.same}.")
        for how in LEFT_OUT:
            each = ", ".join(f"{kind} {self.near[kind, how]}" for kind in kinds)
            share = 100 * self.near["all", how] / self.clean
            print(f"The control, a clean run with {how}: within 1 % of it in {share:.1f} % of {self.clean} ({each}).")
        print("\nNot recovered:\n" + "\n".join(f"- {line}" for line in self.lost or ["none"]))


def case(kind, seed):
    """One model and seed: each fault, and as many clean runs on seeds of their own."""
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
    # The slow ones first, or the last process ends alone.
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
