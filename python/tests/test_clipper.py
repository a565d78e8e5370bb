"""`Clipper` with every policy, against the formulas."""

import copy
import json
import math
import multiprocessing
import subprocess
import sys

import pytest
import steadygrad.torch
import torch
from steadygrad import clip
from steadygrad.torch import Clipper
from torch import nn


def model():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    return net


def grads(net):
    return [parameter.grad.clone() for parameter in net.parameters()]


def norm(tensors):
    return torch.nn.utils.get_total_norm([t.double() for t in tensors]).item()


def test_global_norm_and_statistics_from_before():
    net = model()
    before = grads(net)
    stats = Clipper(net, 0.5).clip_()
    assert stats.global_norm == pytest.approx(norm(before), rel=1e-12)
    assert stats.coefficient == pytest.approx(0.5 / norm(before), rel=1e-12)
    assert (list(stats), stats.actions) == (list(dict(net.named_parameters())), ("scale_global",))
    for now, was in zip(grads(net), before):
        torch.testing.assert_close(now, was * stats.coefficient, rtol=1e-6, atol=0.0)
    clipped = grads(net)
    assert Clipper(net, 100.0).clip_().actions == ("keep",)
    assert all(map(torch.equal, grads(net), clipped))


def test_value_tensor_norm_and_a_chain_of_them():
    net = model()
    before = grads(net)
    stats = Clipper(net, clip.Chain(clip.Value(0.5), clip.TensorNorm(0.3))).clip_()
    assert stats.actions == ("clamp", "scale_per_tensor") and math.isnan(stats.coefficient)
    for now, was in zip(grads(net), before):
        was = was.clamp(-0.5, 0.5)
        torch.testing.assert_close(now, was * min(1.0, 0.3 / norm([was])), rtol=1e-6, atol=0.0)


def test_the_largest_value_as_the_norm():
    net = model()
    before = grads(net)
    Clipper(net, clip.GlobalNorm(0.1, norm="l_inf")).clip_()
    largest = max(grad.abs().max() for grad in before)
    for now, was in zip(grads(net), before):
        torch.testing.assert_close(now, was * (0.1 / largest), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_adaptive_gradient_by_output_unit(channels_last):
    net = nn.Conv2d(3, 4, 2)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    net.weight.data[1] = 0.0
    before = grads(net)
    stats = Clipper(net, clip.AdaptiveGradient(clipping=0.1)).clip_()
    assert stats.actions == ("scale_per_unit",)
    for parameter, was in zip(net.parameters(), before):
        rows, weights = was.flatten(1) if was.ndim > 1 else was[None], parameter.detach()
        weights = weights.flatten(1) if was.ndim > 1 else weights[None]
        bound = 0.1 * weights.norm(dim=1).clamp(min=1e-3)
        factor = (bound / rows.norm(dim=1)).clamp(max=1.0)
        expected = (rows * factor[:, None]).reshape(was.shape)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=0.0)


def test_rest_and_missing_gradients_take_part():
    net = nn.Module()
    net.a, net.none, net.table = (nn.Parameter(torch.zeros(3)) for _ in range(3))
    net.a.grad = torch.tensor([3.0, 0.0, 0.0])
    net.table.grad = torch.tensor([0.0, 4.0, 0.0]).to_sparse()
    stats = Clipper(net, 1.0).clip_()
    assert (stats.global_norm, list(stats)) == (5.0, ["a", "table"])
    torch.testing.assert_close(net.a.grad, torch.tensor([0.6, 0.0, 0.0]))
    torch.testing.assert_close(net.table.grad.to_dense(), torch.tensor([0.0, 0.8, 0.0]))
    Clipper(net, clip.TensorNorm(0.7)).clip_()
    torch.testing.assert_close(net.table.grad.to_dense(), torch.tensor([0.0, 0.7, 0.0]))
    torch.testing.assert_close(net.a.grad, torch.tensor([0.6, 0.0, 0.0]))
    with pytest.raises(NotImplementedError, match="1 of 2 are others"):
        Clipper(net, clip.AdaptiveGradient()).clip_()


GRADIENT_POLICIES = [
    clip.Value(0.5),
    clip.TensorNorm(0.5),
    clip.GlobalNorm(0.5),
    clip.AdaptiveGradient(),
    clip.AutoClip(),
    clip.ZClip(warmup_steps=5),
    clip.AdaGC(warmup_steps=5),
    clip.Chain(clip.ZClip(warmup_steps=5), clip.AutoClip(window=7)),
]
ALL_POLICIES = [*GRADIENT_POLICIES, clip.SpikeAware(), clip.UpdateRms(), clip.Clippy()]


def steps(net, clipper, count, seed):
    """Clips so many steps of one stream with spikes; what came out."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for step in range(count):
        for parameter in net.parameters():
            spike = 100.0 if step % 9 == 8 else 1.0
            parameter.grad = torch.randn(parameter.shape, generator=generator) * spike
        clipper.clip_()
        out.append(grads(net))
    return out


@pytest.mark.parametrize("policy", GRADIENT_POLICIES, ids=lambda policy: type(policy).__name__)
def test_saved_and_loaded_it_goes_on_to_the_bit(policy):
    net = model()
    clipper = Clipper(net, policy)
    steps(net, clipper, 25, seed=1)
    saved = json.loads(json.dumps(clipper.state_dict()))
    on = steps(net, clipper, 25, seed=2)
    resumed = Clipper(net, policy)
    resumed.load_state_dict(saved)
    for one, other in zip(on, steps(net, resumed, 25, seed=2)):
        assert all(map(torch.equal, one, other))


def test_a_state_of_another_policy_is_refused():
    saved = Clipper(model(), clip.ZClip()).state_dict()
    for policy in (clip.AdaGC(), clip.ZClip(alpha=0.5)):
        with pytest.raises(ValueError, match="of another policy"):
            Clipper(model(), policy).load_state_dict(saved)
    with pytest.raises(ValueError, match="missing field"):
        Clipper(model(), clip.ZClip()).load_state_dict({})


@pytest.mark.parametrize("policy", GRADIENT_POLICIES[1:], ids=lambda policy: type(policy).__name__)
def test_a_nan_is_neither_spread_nor_remembered(policy):
    net = model()
    clipper, untouched = Clipper(net, policy), Clipper(net, policy)
    for each in (clipper, untouched):
        steps(net, each, 8, seed=1)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    clipper.clip_()
    assert all(grad.isnan().all() for grad in grads(net))
    for one, other in zip(steps(net, clipper, 9, seed=2), steps(net, untouched, 9, seed=2)):
        if not isinstance(policy, clip.AdaGC):
            assert all(map(torch.equal, one, other))
        assert all(grad.isfinite().all() for grad in one)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (clip.Value(0.0), "value.max_abs"),
        (clip.GlobalNorm(math.inf), None),
        (clip.ZClip(alpha=1.5), "zclip.alpha"),
        (-1.0, "global_norm.max_norm"),
        (clip.Chain(clip.Clippy()), "chain"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(policy, field):
    with pytest.raises(ValueError, match=field):
        Clipper(model(), policy)


@pytest.mark.parametrize("policy", ALL_POLICIES, ids=lambda policy: type(policy).__name__)
def test_step_with_an_optimizer(policy):
    net, twin = model(), model()
    optimizer, plain = (torch.optim.AdamW(m.parameters(), lr=1e-3) for m in (net, twin))
    clipper = Clipper(net, policy)
    for _ in range(3):
        stats = clipper.step(optimizer)
        plain.step()
    assert len(stats) == 4
    assert all(parameter.isfinite().all() for parameter in net.parameters())
    assert optimizer.state[net[0].weight]["step"] == 3


def test_keeping_leaves_the_step_to_the_bit():
    for policy in (clip.GlobalNorm(1e6), clip.SpikeAware(), clip.UpdateRms(eps=1e3)):
        net, twin = model(), model()
        optimizer, plain = (torch.optim.AdamW(m.parameters(), lr=0.1) for m in (net, twin))
        clipper = Clipper(net, policy)
        for _ in range(25):
            assert clipper.step(optimizer).actions == ("keep",)
            plain.step()
        assert all(map(torch.equal, net.parameters(), twin.parameters()))


def test_spike_aware_clamps_to_the_second_moment():
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    clipper = Clipper(net, clip.SpikeAware(ratio=4.0, grace_steps=1))
    clipper.step(optimizer)
    v = [optimizer.state[p]["exp_avg_sq"].clone() for p in net.parameters()]
    before = grads(net)
    for parameter in net.parameters():
        parameter.grad *= 50.0
    assert clipper.step(optimizer).actions == ("clamp_to_second_moment",)
    for now, was, moment in zip(grads(net), before, v):
        bound = (4.0 * moment).sqrt()
        expected = torch.minimum((50.0 * was).abs(), bound).copysign(was)
        torch.testing.assert_close(now, expected, rtol=1e-6, atol=0.0)


def test_update_rms_is_stable_adamw():
    net = model()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    clipper = Clipper(net, clip.UpdateRms())
    clipper.step(optimizer)
    for parameter in net.parameters():
        parameter.grad *= 50.0
    twin, state = copy.deepcopy(net), copy.deepcopy(optimizer.state_dict())
    for parameter, source in zip(twin.parameters(), net.parameters()):
        parameter.grad = source.grad.clone()
    plain = torch.optim.Adam(twin.parameters(), lr=1e-2)
    plain.load_state_dict(state)
    start = [p.detach().clone() for p in net.parameters()]
    clipper.step(optimizer)
    plain.step()
    for p, q, was in zip(net.parameters(), twin.parameters(), start):
        v = plain.state[q]["exp_avg_sq"] / (1 - 0.999**2)
        rms = (q.grad.square() / v.clamp(min=1e-16)).mean().sqrt()
        assert rms > 1
        torch.testing.assert_close(p - was, (q - was) / rms, rtol=1e-3, atol=1e-7)


def test_clippy_bounds_each_weights_change():
    net = model()
    start = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    stats = Clipper(net, clip.Clippy(relative=0.1, absolute=1e-3)).step(optimizer)
    assert stats.actions == ("scale_per_tensor",)
    for p, was in zip(net.parameters(), start):
        assert ((p - was).abs() <= (0.1 * was.abs() + 1e-3) * (1 + 1e-3)).all()
        assert (p != was).any()


def test_what_a_policy_lacks_is_said():
    for policy in (clip.SpikeAware(), clip.UpdateRms(), clip.Clippy()):
        with pytest.raises(RuntimeError, match="call `step"):
            Clipper(model(), policy).clip_()
    for policy in (clip.SpikeAware(), clip.UpdateRms()):
        net = model()
        with pytest.raises(TypeError, match="SGD keeps none"):
            Clipper(net, policy).step(torch.optim.SGD(net.parameters(), lr=0.1))


@pytest.mark.skipif(sys.platform != "linux", reason="only there are PyTorch's threads borrowed")
def test_gradients_are_read_by_pytorchs_own_threads():
    script = """
import numpy, torch, steadygrad.torch
from pathlib import Path

torch.set_num_threads(2)
parameter = torch.nn.Parameter(torch.empty(1 << 23))
parameter.grad = torch.from_numpy(numpy.ones(1 << 23, dtype=numpy.float32))
threads = lambda: len(list(Path("/proc/self/task").iterdir()))
counts = [threads()]
norm = steadygrad.torch.gradient_stats(parameter).global_norm
counts.append(threads())
parameter.grad.exp()
print(norm, *counts, threads())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    norm, before, read, computed = map(float, ran.stdout.split())
    assert norm == pytest.approx((1 << 23) ** 0.5)
    # The helper that reading starts is the one that PyTorch's next operation finds.
    assert (read - before, computed - read) == (1, 0)


def clip_in_child(parameter, queue):
    # Nothing here starts PyTorch's own threads, which do not survive a fork.
    queue.put(steadygrad.torch.clip_grad_norm_([parameter], math.inf).item())


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    parameter = nn.Parameter(torch.zeros(1 << 23))
    parameter.grad = torch.ones(1 << 23)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        steadygrad.torch.gradient_stats(parameter)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=clip_in_child, args=(parameter, queue))
        child.start()
    finally:
        torch.set_num_threads(threads)
    child.join(60)
    if child.is_alive():
        child.kill()
        pytest.fail("the child is stuck")
    assert queue.get() == pytest.approx((1 << 23) ** 0.5)


def test_a_chain_is_shown_what_any_of_its_policies_needs():
    weight = nn.Parameter(torch.full((2, 3), 1e-3))
    optimizer = torch.optim.Adam([weight])
    clipper = Clipper([weight], clip.Chain(clip.SpikeAware(), clip.AdaptiveGradient()))
    weight.grad = torch.full((2, 3), 100.0)
    assert clipper.step(optimizer).actions == ("keep", "scale_per_unit")
    assert weight.grad.norm(dim=1).max() < 2e-5


def test_clippy_takes_adagrads_own_accumulator():
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.Adagrad([weight], lr=10.0)
    weight.grad = torch.full((4,), 2.0)
    Clipper([weight], clip.Clippy(accumulator=0.5)).step(optimizer)
    # Adagrad would move by 10; allowed are 0.1 |w| + 0.5 / sqrt(2^2).
    torch.testing.assert_close(weight.detach(), torch.full((4,), 1.0 - 0.35), rtol=1e-5, atol=0.0)


def test_an_update_that_cannot_be_bounded_is_taken_back():
    weight = nn.Parameter(torch.ones(4))
    weight.grad = torch.ones(4)
    with pytest.raises(TypeError, match="keeps none"):
        Clipper([weight], clip.UpdateRms()).step(torch.optim.SGD([weight], lr=1.0))
    assert torch.equal(weight.detach(), torch.ones(4))


def test_a_transposed_weight_has_its_update_bounded():
    weight = nn.Parameter(torch.ones(3, 2).t())
    weight.grad = torch.ones(3, 2).t()
    Clipper([weight], clip.Clippy()).step(torch.optim.SGD([weight], lr=1.0))
    torch.testing.assert_close(weight.detach(), torch.full((2, 3), 0.9), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: clip.GlobalNorm(math.inf), ValueError, "global_norm.max_norm is inf"),
        (lambda: clip.Chain(clip.Value(math.nan)), ValueError, "value.max_abs is nan"),
        (lambda: clip.Chain([clip.Value(1.0)]), TypeError, "takes policies"),
    ],
)
def test_settings_that_json_cannot_hold_are_named(make, error, message):
    with pytest.raises(error, match=message):
        Clipper([nn.Parameter(torch.ones(1))], make())


def test_settings_of_other_number_types():
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    Clipper([weight], clip.Value(torch.tensor(0.5))).clip_()
    assert weight.grad.tolist() == [0.5, 0.5]
