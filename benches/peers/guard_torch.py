"""Times `steadygrad.torch.Guard.step` against PyTorch's clipping and step, and other monitors.

    python benches/peers/guard_torch.py [--rounds 1.0] [--only mlp] [--device cuda [--fused]]

Six models, AdamW, 1 and 2 threads. Each round times every variant once, in turn, over 20 steps,
which include one snapshot of the guard. The results are medians over rounds. It prints a Markdown
table and the geometric mean.

- `step`: `clip_grad_norm_(1.0)` and `optimizer.step()`, on existing gradients.
- `guard`: `guard.step(loss)`, with its snapshots; `recorded`: also with a run directory.
- Whole training steps (forward, backward, clip, step): plain; with the guard instead of clip and
  step; with `detect_anomaly`; with full backward hooks on every module that keep the gradient's
  norm; with 64-bin histograms of every gradient at every step; and with histograms of weights and
  gradients every 100 steps, as `wandb.watch(log="all")` does.

The guard's share of a training step is the time of its own `step` minus the optimizer's, divided by
the time of the whole step.

On a GPU, batches are larger and each round ends with a wait for the device. There the share is the
extra time of a training step with the guard. `read loss` is a plain step with `loss.item()`: the
cost of waiting for the device at all, which the guard's decision needs.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import steadygrad.torch
import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        out = self.norms[0](self.first(x)).relu()
        return (self.norms[1](self.second(out)) + self.skip(x)).relu()


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(32, 256, num_layers=2, batch_first=True)
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        rows, length, width = x.shape
        parts = self.qkv(self.norms[0](x)).view(rows, length, 3, self.heads, -1)
        queries_keys_values = parts.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*queries_keys_values, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))


class Gpt2(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
        self.blocks = nn.Sequential(*(Block(768, 12) for _ in range(12)))
        self.norm = nn.LayerNorm(768)

    def forward(self, x):
        hidden = self.tokens(x) + self.places.weight[: x.shape[1]]
        return self.norm(self.blocks(hidden))[:, -1] @ self.tokens.weight.T


def mlp(depth, width):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def resnet():
    sizes = [(64, 64, 1)] * 2
    for narrow, wide in ((64, 128), (128, 256), (256, 512)):
        sizes += [(narrow, wide, 2), (wide, wide, 1)]
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*stem, *(Residual(*size) for size in sizes), *head)


# Steps between two snapshots of the guard.
STEPS = 20

# The model, its inputs on a CPU and on a GPU, rounds of `step` alone, rounds of whole training
# steps, and steps in each of those.
MODELS = {
    "mlp 3x128": (lambda: mlp(3, 128), ((32, 128), (1024, 128)), 101, 41, 20),
    "mlp 10x256": (lambda: mlp(10, 256), ((32, 256), (1024, 256)), 41, 21, 20),
    "mlp 50x64": (lambda: mlp(50, 64), ((32, 64), (1024, 64)), 31, 15, 20),
    "resnet-18": (resnet, ((32, 3, 32, 32), (256, 3, 32, 32)), 15, 5, 2),
    "lstm 2x256": (Sequence, ((32, 100, 32), (128, 100, 32)), 41, 5, 4),
    "gpt2 small": (Gpt2, ((2, 64), (8, 512)), 7, 3, 2),
}

DEVICE = torch.device("cpu")
# None leaves the choice to PyTorch.
FUSED = None


def inputs_of(name, shapes):
    shape = shapes[DEVICE.type == "cuda"]
    made = torch.randint(0, 50257, shape) if name.startswith("gpt2") else torch.randn(shape)
    return made.to(DEVICE)


class Bench:
    """One variant with its own model, so that no variant warms another's memory."""

    def __init__(self, make, inputs, guarded, folder=None):
        torch.manual_seed(0)
        self.model, self.inputs = make().to(DEVICE), inputs
        self.targets = torch.randint(0, 10, (len(inputs),)).to(DEVICE)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=FUSED)
        self.parameters = list(self.model.parameters())
        self.guard = None
        if guarded:
            self.guard = steadygrad.torch.Guard(self.model, self.optimizer, run_dir=folder)
        self.loss = self.backward()
        self.spent = 0.0

    def backward(self):
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(self.inputs), self.targets)
        loss.backward()
        return loss.detach()

    def update(self, loss):
        if self.guard is None:
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
        else:
            assert self.guard.step(loss).applied

    def train(self):
        loss = self.backward()
        start = time.perf_counter()
        self.update(loss)
        self.spent += time.perf_counter() - start


def hooked(bench):
    norms = {}

    def hook(name):
        def keep(module, grad_input, grad_output):
            norms[name] = [g.norm() for g in grad_output if g is not None]

        return keep

    for name, module in bench.model.named_modules():
        if not list(module.children()):
            module.register_full_backward_hook(hook(name))
    return bench


class Histograms(Bench):
    every, weights = 1, False

    def update(self, loss):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps % self.every == 0:
            for p in self.parameters:
                for tensor in (p.grad, p.detach())[: 2 if self.weights else 1]:
                    torch.histc(tensor, 64).tolist()
        super().update(loss)


class Watched(Histograms):
    every, weights = 100, True


class LossRead(Bench):
    def update(self, loss):
        loss.item()
        super().update(loss)


def seconds(call, count):
    wait()
    start = time.perf_counter()
    for _ in range(count):
        call()
    wait()
    return (time.perf_counter() - start) / count


def wait():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def anomalous(bench):
    def train():
        with torch.autograd.set_detect_anomaly(True):
            bench.train()

    return train


def time_updates(make, inputs, folder, rounds):
    """Times the update alone, along one gradient."""
    plain, guarded = Bench(make, inputs, False), Bench(make, inputs, True)
    recorded = Bench(make, inputs, True, folder)
    variants = {
        "step": lambda: plain.update(plain.loss),
        "guard": lambda: guarded.update(guarded.loss),
        "recorded": lambda: recorded.update(recorded.loss),
    }
    # The guard allocates its snapshots' memory first, and reuses it afterwards.
    for call in variants.values():
        seconds(call, 5 * STEPS)
    times = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, call in variants.items():
            times[variant].append(seconds(call, STEPS))
    return times


def measure(name, scale, folder):
    make, shapes, alone_rounds, whole_rounds, whole = MODELS[name]
    if DEVICE.type == "cuda":
        whole_rounds, whole = alone_rounds, STEPS
    torch.manual_seed(1)
    inputs = inputs_of(name, shapes)
    times = time_updates(make, inputs, folder, max(3, int(scale * alone_rounds)))
    plain, guarded = Bench(make, inputs, False), Bench(make, inputs, True)
    peers = {
        "plain": plain.train,
        "with guard": guarded.train,
        "read loss": LossRead(make, inputs, False).train,
        "detect_anomaly": anomalous(Bench(make, inputs, False)),
        "backward hooks": hooked(Bench(make, inputs, False)).train,
        "histograms": Histograms(make, inputs, False).train,
        "watch": Watched(make, inputs, False).train,
    }
    for call in peers.values():
        seconds(call, 2)
    times |= {variant: [] for variant in peers}
    shares = []
    for _ in range(max(3, int(scale * whole_rounds))):
        for variant, call in peers.items():
            guarded.spent = plain.spent = 0.0
            times[variant].append(seconds(call, whole))
            if variant == "plain":
                plain_update = plain.spent / whole
            elif variant == "with guard":
                base = times["plain"][-1] if DEVICE.type == "cuda" else plain_update
                own = times[variant][-1] if DEVICE.type == "cuda" else guarded.spent / whole
                shares.append((own - base) / times[variant][-1])
    return {v: statistics.median(t) for v, t in times.items()}, statistics.median(shares)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=float, default=1.0, help="factor on the number of rounds")
    parser.add_argument("--only", default="")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--fused", action="store_true", help="AdamW in one kernel")
    arguments = parser.parse_args()
    global DEVICE, FUSED
    DEVICE, FUSED = torch.device(arguments.device), arguments.fused or None
    print(
        "| model | threads | step, ms | guard | recorded | training step, ms | with guard |", end=""
    )
    print(" guard's share | read loss | anomaly | hooks | histograms | watch |\n|" + "---|" * 13)
    for threads in (1, 2) if DEVICE.type == "cpu" else (1,):
        torch.set_num_threads(threads)
        ratios, shares = {"guard": [], "recorded": []}, []
        for name in MODELS:
            if arguments.only not in name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                t, share = measure(name, arguments.rounds, Path(folder) / "run")
            for variant, seen in ratios.items():
                seen.append(t[variant] / t["step"])
            shares.append(share)
            cells = [f"{name}", f"{threads}", f"{1e3 * t['step']:.3f}"]
            cells += [f"{t[v] / t['step']:.3f}x" for v in ("guard", "recorded")]
            cells += [f"{1e3 * t['plain']:.2f}", f"{t['with guard'] / t['plain']:.3f}x"]
            cells += [f"{100 * share:.1f} %"]
            peers = ("read loss", "detect_anomaly", "backward hooks", "histograms", "watch")
            cells += [f"{t[v] / t['plain']:.2f}x" for v in peers]
            print("| " + " | ".join(cells) + " |", flush=True)
        mean = {v: math.exp(statistics.mean(map(math.log, seen))) for v, seen in ratios.items()}
        print(f"\n{threads} threads, geometric mean: guard {mean['guard']:.3f}x,", end=" ")
        print(f"recorded {mean['recorded']:.3f}x;", end=" ")
        print(f"the guard's share: {100 * statistics.mean(shares):.1f} %,", end=" ")
        print(f"worst {100 * max(shares):.1f} %\n")


if __name__ == "__main__":
    main()
