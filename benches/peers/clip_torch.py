"""Times steadygrad's clipping of PyTorch gradients against `torch.nn.utils.clip_grad_norm_`.

    python benches/peers/clip_torch.py [--rounds 15]

Four sets of shapes, 1 and 2 threads, with a norm below `max_norm` ("keep") and above it ("clip").
Rounds of PyTorch and of both steadygrad functions alternate; the results are medians over rounds.
When clipping, the gradients are refilled before every timed call, outside of the timed part, and
the result is checked. `stats` is `Clipper.clip_`, which also returns each parameter's statistics;
`plain` is `clip_grad_norm_`. It prints JSON: microseconds, and ratios to PyTorch's time.
"""

import argparse
import json
import math
import statistics
import sys
import time

import steadygrad.torch
import torch
from torch import nn

GPT2_BLOCK = [
    (768,), (768,), (2304, 768), (2304,), (768, 768), (768,),
    (768,), (768,), (3072, 768), (3072,), (768, 3072), (768,),
]  # fmt: skip
SHAPES = {
    "mlp 3x128": [(128, 128), (128,)] * 3,
    "mlp 100x256": [(256, 256), (256,)] * 100,
    "gpt2 small": [(50257, 768), (1024, 768), *GPT2_BLOCK * 12, (768,), (768,)],
    "mlp 1000x100": [(100, 100), (100,)] * 1000,
}


def parameters(shapes):
    made = [nn.Parameter(torch.empty(shape)) for shape in shapes]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape)
    return made


def timed(call, grads, masters, before):
    if masters is not None:
        torch._foreach_copy_(grads, masters)
    start = time.perf_counter()
    norm = call()
    elapsed = time.perf_counter() - start
    if masters is not None:
        after = torch.nn.utils.get_total_norm(grads).item()
        assert abs(after - 0.5 * before) < 1e-3 * before, (after, before)
    assert abs(float(norm) - before) < 1e-3 * before, (norm, before)
    return elapsed


def measure(params, clipping, rounds):
    grads = [parameter.grad for parameter in params]
    before = torch.nn.utils.get_total_norm(grads).item()
    max_norm = 0.5 * before if clipping else 1e6 * before
    masters = [grad.clone() for grad in grads] if clipping else None
    clipper = steadygrad.torch.Clipper(params, max_norm)
    calls = {
        "torch": lambda: torch.nn.utils.clip_grad_norm_(params, max_norm),
        "stats": lambda: clipper.clip_().global_norm,
        "plain": lambda: steadygrad.torch.clip_grad_norm_(params, max_norm),
    }
    values = sum(grad.numel() for grad in grads)
    repeats = max(1, min(200, 4_000_000 // values))
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(
                statistics.median(timed(call, grads, masters, before) for _ in range(repeats))
            )
    if masters is not None:
        torch._foreach_copy_(grads, masters)
    return {name: 1e6 * statistics.median(each) for name, each in times.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=15)
    rounds = arguments.parse_args().rounds
    torch.manual_seed(0)
    rows, ratios = [], {}
    for name, shapes in SHAPES.items():
        params = parameters(shapes)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for clipping in (False, True):
                times = measure(params, clipping, rounds)
                row = {"set": name, "threads": threads, "mode": "clip" if clipping else "keep"}
                for ours in ("stats", "plain"):
                    ratio = times[ours] / times["torch"]
                    row[f"{ours}/torch"] = round(ratio, 3)
                    ratios.setdefault((row["mode"], threads, ours), []).append(ratio)
                rows.append(row | {f"{call}_us": round(us, 1) for call, us in times.items()})
                print(json.dumps(rows[-1]), file=sys.stderr)
    summary = [
        {
            "mode": mode,
            "threads": threads,
            "call": call,
            "geometric_mean": round(math.exp(statistics.fmean(map(math.log, each))), 3),
            "worst": round(max(each), 3),
        }
        for (mode, threads, call), each in ratios.items()
    ]
    print(json.dumps({"torch": torch.__version__, "rows": rows, "summary": summary}, indent=1))


if __name__ == "__main__":
    main()
