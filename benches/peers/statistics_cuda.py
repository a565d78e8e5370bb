"""Times gradient statistics on a GPU: steadygrad's kernels, PyTorch's operators and its norm.

    python benches/peers/statistics_cuda.py

Each is timed between two waits for the device, over as many calls as take a fifth of a second; the
results are medians of five. It prints a Markdown table.

- `kernels` and `operators` compute norm, largest value and three counts of each tensor, and read
  them back.
- `total norm` is `torch.nn.utils.get_total_norm`: one number that is not read back.
- `clip` is `clip_grad_norm_` with a bound that is never reached.
- `floor` is the time to read the bytes once, at the rate of a large copy. If all bytes fit in the
  device's cache, a result can be below the floor.
"""

import statistics
import time

import torch
from steadygrad._gradients import device
from steadygrad._gradients.reader import READER

GPT2 = [(50257, 768), (1024, 768), (768,), (768,)] + 12 * [
    *[(768,)] * 4,
    *[(2304, 768), (2304,), (768, 768), (768,), (3072, 768), (3072,), (768, 3072), (768,)],
]
LAYOUTS = {
    "GPT-2 small, 148 tensors, 124 M values": GPT2,
    "2,000 tensors of 5,000": [(5000,)] * 2000,
    "100 tensors of 64x64": [(64, 64)] * 100,
    "one tensor of 256 M values": [(1 << 28,)],
}


def seconds(call):
    def once(count):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    once(1)
    count = max(1, int(0.2 / once(2)))
    return statistics.median(once(count) for _ in range(5))


def copied_per_second():
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    into = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: into.copy_(source))


def by_operators(grads):
    kept, device.kernels_for = device.kernels_for, lambda _: None
    try:
        device.measure_tensors(READER, grads)
    finally:
        device.kernels_for = kept


def measure(shapes, dtype, rate):
    parameters = [torch.nn.Parameter(torch.randn(s, device="cuda").to(dtype)) for s in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, device="cuda").to(dtype)
    grads = [parameter.grad for parameter in parameters]
    return [
        seconds(lambda: device.measure_tensors(READER, grads)),
        seconds(lambda: by_operators(grads)),
        seconds(lambda: torch.nn.utils.get_total_norm(grads)),
        seconds(lambda: torch.nn.utils.clip_grad_norm_(parameters, 1e9)),
        sum(grad.nbytes for grad in grads) / rate,
    ]


def main():
    rate = copied_per_second()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__},", end=" ")
    print(f"copies at {rate / 1e12:.2f} TB/s\n")
    print("| gradients | type | kernels, ms | operators | total norm | clip | floor |")
    print("|---|---|---|---|---|---|---|")
    for name, shapes in LAYOUTS.items():
        for dtype in (torch.float32, torch.bfloat16):
            times = measure(shapes, dtype, rate)
            ours = times[0]
            cells = [f"{1e3 * ours:.3f}", *(f"{t / ours:.2f}x" for t in times[1:])]
            print(f"| {name} | {str(dtype)[6:]} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
