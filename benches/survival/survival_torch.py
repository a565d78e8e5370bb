"""Faults in PyTorch training, with the guard, without it, and with `clip_grad_norm_(1.0)`.

    pip install scikit-learn          # for its 1,797 handwritten digits
    python benches/survival/survival_torch.py [--seeds 13] [--first 20000] [--processes 2]

Three models (MLP, CNN, LSTM over the rows of an image), eight faults between steps 100 and 200, momentum and AdamW
by turns, 600 steps of 64, the learning rate falling to 0 over the second half. Length and schedule are such that the
control below is within the bar (30 of 30 for each model on seeds 500 to 514; 28 of 30 LSTMs and CNNs at 300 steps of a
constant rate). A run is recovered when its weights are finite and its accuracy on the held-out digits is within 1 % of that of
the same run without a fault (2 % where weights were damaged). As many clean runs are done with and without the
guard; their accuracies have to be the same, and nothing may be skipped or rolled back. The control is a clean run
with one batch left out: what the bar makes of the least that any guard can do. Prints a Markdown table.
"""

import argparse
import collections
import math
import multiprocessing
import random

import torch
from sklearn.datasets import load_digits
from torch import nn

import steadygrad.torch

STEPS, ROWS = 600, 64


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x):
        return self.head(self.lstm(x.view(-1, 8, 8))[0][:, -1])


def network(kind):
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if kind == "cnn":
        layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
        return nn.Sequential(*layers, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10))
    return Lstm()


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
            x[self.draw.randrange(len(x)), self.draw.randrange(64)] = math.nan if self.name == "nan" else math.inf
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


def falls(step):
    """The learning rate's factor: it is constant, and then falls to 0 along a line."""
    return 1.0 if step <= STEPS // 2 else (STEPS - step) / (STEPS - step + 1)


def run(kind, seed, fault, how, data):
    torch.manual_seed(seed)
    model = network(kind)
    if seed % 2:
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 if kind == "lstm" else 0.03, momentum=0.9)
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
            if how != "skip" or step != fault.at:
                optimizer.step()
        schedule.step()
    finite = all(p.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        accuracy = (model(held).argmax(1) == answers).float().mean().item()
    return accuracy if finite else math.nan, lost, guard.counts if guard else {}


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
        self.recovered, self.runs, self.near, self.clean = (collections.Counter() for _ in range(4))
        self.rollbacks, self.lost = [], []
        self.same = self.interventions = 0

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
        left_out, *_ = run(kind, seed, "none", "skip", data)
        guarded, _, counts = run(kind, seed, "none", "guard", data)
        plain, *_ = run(kind, seed, "none", "plain", data)
        self.clean[kind] += 1
        self.same += guarded == plain
        self.near[kind] += left_out >= 0.99 * plain
        self.interventions += sum(counts.values()) - counts["kept"]

    def print(self):
        print("| | runs | guard | unguarded | clip=1 |\n|---|---|---|---|---|")
        for key in [*FAULTS, *KINDS, "all"]:
            cells = [f"{100 * self.recovered[key, how] / self.runs[key]:.1f} %" for how in ("guard", "plain", "clip")]
            print(f"| {key} | {self.runs[key]} | " + " | ".join(cells) + " |")
        self.rollbacks.sort()
        median = self.rollbacks[len(self.rollbacks) // 2] if self.rollbacks else 0
        print(f"\n{len(self.rollbacks)} rollbacks, {median} steps lost in the median.")
        clean, near = self.clean.total(), self.near.total()
        print(f"{clean} clean runs: {self.interventions} interventions, the same accuracy in {self.same}.")
        print("The control, one batch left out of a clean run: within 1 % of it in", end=" ")
        each = ", ".join(f"{kind} {found}" for kind, found in self.near.items())
        print(f"{100 * near / clean:.1f} % of {clean} runs ({each}).")
        print("\nNot recovered:\n" + "\n".join(f"- {line}" for line in self.lost))


def case(kind, seed):
    """One model and seed: each fault, and as many clean runs on seeds of their own."""
    torch.set_num_threads(1)
    tally, data = Tally(), digits()
    tally.faulty(kind, seed, data)
    for other in range(len(FAULTS)):
        tally.without_fault(kind, 1_000_000 + len(FAULTS) * seed + other, data)
    return tally


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=13)
    parser.add_argument("--first", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    # The slow ones first, or the last process ends alone.
    cases = [(kind, seed) for kind in reversed(KINDS) for seed in seeds]
    tally = Tally()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for one in pool.starmap(case, cases, chunksize=1):
            tally.add(one)
    tally.print()


if __name__ == "__main__":
    main()
