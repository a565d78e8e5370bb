"""The laws of the Rust suite (`crates/steadygrad/tests/clip_conformance.rs`), through Python.

For the policies that act on the gradient; `test_clipper.py` has those that act on the update.
"""

import math

import pytest
import torch
from steadygrad import clip
from steadygrad.torch import Clipper

# Relative rounding of one operation.
EPS = {torch.float32: 1.2e-7, torch.float64: 2.3e-16, torch.float16: 9.8e-4, torch.bfloat16: 7.9e-3}
BOUND = 0.7


def policies(bound):
    return [
        clip.Value(bound),
        clip.TensorNorm(bound),
        clip.GlobalNorm(bound),
        clip.GlobalNorm(bound, norm="l_inf"),
        clip.AdaptiveGradient(),
        clip.AutoClip(percentile=50.0, window=7),
        clip.ZClip(warmup_steps=4, max_norm=None),
        clip.AdaGC(warmup_steps=3, warmup_max_norm=bound),
        clip.SpikeAware(grace_steps=2, ratio=3.0),
        clip.Chain(clip.Value(2 * bound), clip.GlobalNorm(bound)),
    ]


every_policy = pytest.mark.parametrize(
    "index", range(len(policies(BOUND))), ids=lambda index: repr(policies(BOUND)[index])[:40]
)
every_type = pytest.mark.parametrize("dtype", EPS, ids=str)


def weights_of(dtype):
    first = torch.linspace(0.5, 1.0, 6, dtype=torch.float64).to(dtype).view(2, 3)
    return [torch.nn.Parameter(first), torch.nn.Parameter(torch.ones(2, dtype=dtype))]


def run(policy, gradients, dtype):
    """Each step's gradients before and after clipping."""
    weights = weights_of(dtype)
    adam = isinstance(policy, clip.SpikeAware)
    optimizer = (torch.optim.Adam if adam else torch.optim.SGD)(weights, lr=1e-3)
    clipper = Clipper(weights, policy)
    for gradient in gradients:
        given = [gradient[:6].view(2, 3).to(dtype), gradient[6:].to(dtype)]
        for weight, value in zip(weights, given):
            weight.grad = value.clone()
        stats = clipper.step(optimizer)
        for weight in weights:
            assert weight.grad.dtype == weight.dtype == dtype
        yield given, [weight.grad for weight in weights], stats


def stream(seed):
    generator = torch.Generator().manual_seed(seed)
    for step in range(30):
        scale = 30.0 if step % 7 == 3 else 0.0 if step % 11 == 5 else 0.3
        yield torch.randn(8, generator=generator, dtype=torch.float64) * scale


def norm(values):
    return torch.cat([value.double().flatten() for value in values]).norm().item()


@every_type
@every_policy
def test_kept_to_the_bit_or_brought_within_the_bound(index, dtype):
    policy = policies(BOUND)[index]
    acted = 0
    slack = 1 + 3 * EPS[dtype]
    for before, after, stats in run(policy, stream(index), dtype):
        acted += any(action != "keep" for action in stats.actions)
        if all(action == "keep" for action in stats.actions):
            assert all(map(torch.equal, before, after))
        # No value grows, or turns around.
        for was, now in zip(before, after):
            assert (now.double().abs() <= was.double().abs() * (1 + EPS[dtype])).all()
            assert (now.double() * was.double() >= 0).all()
        largest = max(value.abs().max().item() for value in after)
        if isinstance(policy, clip.Value):
            assert largest <= BOUND
        elif isinstance(policy, clip.TensorNorm):
            assert all(norm([value]) <= BOUND * slack for value in after)
        elif isinstance(policy, clip.GlobalNorm):
            assert (largest if policy.norm == "l_inf" else norm(after)) <= BOUND * slack
        elif isinstance(policy, clip.Chain):
            assert norm(after) <= BOUND * slack
    assert acted, "a policy that never acts proves nothing"


@every_type
@every_policy
def test_what_is_broken_stays_where_it_is(index, dtype):
    def broken():
        for step, gradient in enumerate(stream(index)):
            if step % 5 == 2:
                gradient[step % 8] = (math.nan, math.inf, -math.inf)[step % 3]
            yield gradient

    for before, after, _ in run(policies(BOUND)[index], broken(), dtype):
        for was, now in zip(before, after):
            assert torch.equal(was.isnan(), now.isnan())
            assert now.isfinite()[was.isfinite()].all()


@pytest.mark.parametrize("power", [-20, -3, 7, 20])
def test_fixed_and_relative_bounds_are_scale_equivariant(power):
    factor = 2.0**power
    for one, other in zip(policies(BOUND), policies(BOUND * factor)):
        if not isinstance(
            one, (clip.Value, clip.TensorNorm, clip.GlobalNorm, clip.AutoClip, clip.AdaGC)
        ):
            continue
        plain = run(one, stream(1), torch.float64)
        large = run(other, (gradient * factor for gradient in stream(1)), torch.float64)
        for (_, a, _), (_, b, _) in zip(plain, large):
            assert all(torch.equal(x * factor, y) for x, y in zip(a, b)), one
