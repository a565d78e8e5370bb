"""The guard leaves healthy runs alone to the bit, and keeps broken ones alive."""

import copy
import functools
import io
import json
import math
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import time

import pyarrow.ipc
import pytest
import torch
from steadygrad import clip
from steadygrad.clip import (
    AdaGC,
    AdaptiveGradient,
    AutoClip,
    Chain,
    Clippy,
    SpikeAware,
    TensorNorm,
    UpdateRms,
    Value,
    ZClip,
)
from steadygrad.torch import Clipper, Guard, GuardStopped
from torch import nn


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 16, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, inputs):
        return self.head(self.lstm(inputs.reshape(-1, 4, 2))[0][:, -1])


def network(kind, seed=0):
    torch.manual_seed(seed)
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
        )
    if kind == "cnn":
        layers = [
            nn.Unflatten(1, (1, 8)),
            nn.Conv1d(1, 8, 3, padding=1),
            nn.BatchNorm1d(8),
            nn.ReLU(),
        ]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 1))
    return Lstm()


def optimizer_of(name, parameters):
    return {
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.05),
        "momentum": lambda: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
        "adam": lambda: torch.optim.Adam(parameters, lr=3e-3),
        "adamw": lambda: torch.optim.AdamW(parameters, lr=3e-3),
    }[name]()


def batches(count, seed=0):
    # The target function is the same for all batches.
    weight = torch.randn(8, 1, generator=torch.Generator().manual_seed(7)) / 3
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        inputs = torch.randn(32, 8, generator=generator)
        yield inputs, torch.tanh(inputs @ weight)


class Plain:
    """Steps without a guard, for comparison."""

    def __init__(self, model, optimizer):
        self.optimizer = optimizer

    def step(self, loss):
        self.optimizer.step()


def train(
    model, optimizer, guard, steps, fault=lambda step, inputs, model, optimizer: inputs, seed=0
):
    losses = []
    for step, (inputs, targets) in enumerate(batches(steps, seed)):
        inputs = fault(step, inputs, model, optimizer)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        guard.step(loss)
        losses.append(loss.item())
    return losses


def final_loss(model):
    model.eval()
    with torch.no_grad():
        losses = [nn.functional.mse_loss(model(x), y).item() for x, y in batches(20, seed=99)]
    model.train()
    return sum(losses) / len(losses)


def recovered(loss, clean):
    """Losses are mean squares: that of the targets is about 0.2."""
    return loss < 1.5 * clean + 0.005


def weights(model):
    return [tensor.detach().clone() for tensor in model.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_a_healthy_run_is_the_same_to_the_bit(kind, name):
    guarded, plain = network(kind), network(kind)
    optimizer = optimizer_of(name, guarded.parameters())
    guard = Guard(guarded, optimizer)
    losses = train(guarded, optimizer, guard, 150)
    optimizer = optimizer_of(name, plain.parameters())
    assert losses == train(plain, optimizer, Plain(plain, optimizer), 150)
    assert same(weights(guarded), weights(plain))
    assert guard.counts == {"kept": 150, "clipped": 0, "skipped": 0, "lowered": 0, "rolled_back": 0}


def nan_batch(step, inputs, model, optimizer):
    return torch.full_like(inputs, math.nan) if step == 100 else inputs


def huge_batch(step, inputs, model, optimizer):
    return inputs * 1e6 if step == 100 else inputs


def rate_spike(step, inputs, model, optimizer):
    if step in (100, 101):
        factor = 1e4 if step == 100 else 1e-4
        for group in optimizer.param_groups:
            group["lr"] *= factor
    return inputs


def damaged_weights(step, inputs, model, optimizer):
    if step == 100:
        with torch.no_grad():
            next(iter(model.parameters())).mul_(1e8)
    return inputs


FAULTS = [nan_batch, huge_batch, rate_spike, damaged_weights]


@functools.cache
def loss_after(kind, name, guarded, fault):
    """Returns the final loss of a run; several tests share it."""
    model = network(kind)
    optimizer = optimizer_of(name, model.parameters())
    guard = Guard(model, optimizer) if guarded else Plain(model, optimizer)
    train(model, optimizer, guard, 250, *([] if fault is None else [fault]))
    return final_loss(model)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm"])
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_a_run_survives_what_goes_wrong(kind, name, fault):
    clean = loss_after(kind, name, False, None)
    broken, guarded = loss_after(kind, name, False, fault), loss_after(kind, name, True, fault)
    if (kind, fault) == ("cnn", huge_batch):
        # The guard cannot see it: batch normalisation rescales the batch, and its means keep it.
        assert guarded == broken
        return
    assert recovered(guarded, clean), (clean, broken, guarded)
    if fault is nan_batch:
        assert math.isnan(broken)


def test_the_faults_break_runs_that_nobody_guards():
    """The control: without a guard most of them are lost."""
    lost = 0
    for fault in FAULTS:
        for kind in ("mlp", "cnn", "lstm"):
            clean = loss_after(kind, "momentum", False, None)
            lost += not loss_after(kind, "momentum", False, fault) < 2 * clean + 0.01
    assert lost >= 8, lost


def test_a_skipped_step_changes_neither_weights_nor_optimizer():
    model = network("mlp")
    optimizer = optimizer_of("adam", model.parameters())
    guard = Guard(model, optimizer)
    train(model, optimizer, guard, 50)
    before, state = weights(model), copy.deepcopy(optimizer.state_dict())
    optimizer.zero_grad()
    loss = model(torch.full((4, 8), math.inf)).sum()
    loss.backward()
    done = guard.step(loss)
    assert (done.decision, done.applied, done.grad_norm_clipped) == ("skip", False, 0.0)
    assert "NaN or infinite" in done.reason
    assert same(weights(model), before)
    for key, entry in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, state["state"][key][name]) for name, value in entry.items())


def test_buffers_that_a_bad_batch_wrote_to_are_put_back():
    model = network("cnn")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer)
    train(model, optimizer, guard, 50)
    before = weights(model)
    loss = model(torch.full((4, 8), math.nan)).sum()
    assert model[2].running_mean.isnan().all()
    optimizer.zero_grad()
    loss.backward()
    assert guard.step(loss).decision == "skip"
    assert same(weights(model), before)


def test_a_rollback_restores_weights_buffers_and_state_but_not_the_schedule():
    model = network("cnn")
    optimizer = optimizer_of("adam", model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.99**step)
    guard = Guard(model, optimizer)
    for step, (inputs, targets) in enumerate(batches(140)):
        damaged_weights(step, inputs, model, optimizer)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        done = guard.step(loss)
        schedule.step()
        if done.rolled_back_to is not None:
            break
    assert step < 120 and guard.counts["rolled_back"] == 1
    assert max(tensor.abs().max() for tensor in weights(model)) < 1e3
    assert optimizer.param_groups[0]["lr"] == pytest.approx(3e-3 * 0.99 ** (step + 1))
    # Training continues from there.
    assert train(model, optimizer, guard, 50)[-1] < 1.0


@pytest.mark.parametrize("in_files", [False, True])
def test_a_rollback_that_shows_the_data_to_be_at_fault_is_taken_back(tmp_path, in_files):
    model = network("cnn")
    optimizer = optimizer_of("adam", model.parameters())
    guard = Guard(model, optimizer, snapshot_dir=tmp_path / "kept" if in_files else None)
    everything = lambda: (
        weights(model)
        + [value.clone() for state in optimizer.state.values() for value in state.values()]
    )
    left, taken_up, before = {}, None, everything()
    for step, (inputs, targets) in enumerate(batches(300)):
        # From here on the data are different, and the losses far above an untrained network's.
        targets = targets if step < 120 else 30 - targets
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        done = guard.step(loss)
        now = everything()
        if done.rolled_back_to in left:
            taken_up = done.rolled_back_to
            break
        if done.rolled_back_to is not None:
            left[step] = before
            assert not same(now, before)
        before = now
    assert taken_up is not None and same(now, left[taken_up])
    assert done.learning_rate_scale == 1.0 and "taken back" in done.reason
    guard.close()


def test_giving_up_stops_the_run_with_good_weights():
    model = network("mlp")
    optimizer = optimizer_of("momentum", model.parameters())
    guard = Guard(model, optimizer)
    with pytest.raises(GuardStopped, match=r"\w"):
        train(
            model,
            optimizer,
            guard,
            2000,
            lambda step, inputs, *_: inputs * (math.nan if step > 60 else 1),
        )
    assert all(tensor.isfinite().all() for tensor in weights(model))


def test_observe_watches_and_never_touches():
    a, b = network("mlp"), network("mlp")
    guard = Guard(a, optimizer := optimizer_of("momentum", a.parameters()), preset="observe")
    train(a, optimizer, guard, 110, huge_batch)
    train(
        b,
        optimizer := optimizer_of("momentum", b.parameters()),
        Plain(b, optimizer),
        110,
        huge_batch,
    )
    assert all(
        torch.equal(x, y) or (x.isnan() == y.isnan()).all() for x, y in zip(weights(a), weights(b))
    )
    assert guard.counts["skipped"] == 0


def test_a_lower_learning_rate_is_used_for_the_step_alone():
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer)
    scales = set()
    for inputs, targets in batches(400):
        # The gradient grows by a tenth per step, whatever the weights are.
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets) * 1.1 ** min(guard._step, 300)
        loss.backward()
        try:
            scales.add(guard.step(loss).learning_rate_scale)
        except GuardStopped:
            break
        assert optimizer.param_groups[0]["lr"] == 0.05
    assert min(scales) < 1.0


def test_accumulation_is_judged_once_an_update():
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer)
    data = batches(80)
    for _ in range(20):
        optimizer.zero_grad()
        losses = []
        for _ in range(4):
            inputs, targets = next(data)
            loss = nn.functional.mse_loss(model(inputs), targets) / 4
            loss.backward()
            losses.append(loss.detach())
        guard.step(sum(losses))
    assert guard.counts["kept"] == 20


def test_groups_several_optimizers_frozen_shared_and_missing():
    model = network("mlp")
    model[2].weight.requires_grad_(False)
    # One layer is shared, one is never used.
    model.twin, model.idle = model[0], nn.Linear(3, 3)
    first = torch.optim.SGD(
        [
            {"params": model[0].parameters(), "lr": 0.02},
            {"params": [model[2].bias, *model.idle.parameters()]},
        ],
        lr=0.01,
    )
    second = torch.optim.Adam(model[4].parameters(), lr=1e-3)
    guard = Guard(model, [first, second])
    frozen = model[2].weight.clone()
    for step, (inputs, targets) in enumerate(batches(60)):
        first.zero_grad()
        second.zero_grad()
        loss = nn.functional.mse_loss(model[:5](nan_batch(step + 70, inputs, model, None)), targets)
        loss.backward()
        done = guard.step(loss)
        assert done.decision == ("skip" if step == 30 else "keep")
    assert "idle.weight" not in done.gradients and "2.bias" in done.gradients
    assert torch.equal(model[2].weight, frozen)
    first.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(RuntimeError, match="make another Guard"):
        guard.step(loss)


def test_a_loss_scaler_s_own_skip_is_no_incident():
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=1000)
    skipped = 0
    for inputs, targets in batches(40):
        optimizer.zero_grad()
        loss = 1e4 * nn.functional.mse_loss(model(inputs), targets)
        scaler.scale(loss).backward()
        before = weights(model)
        done = guard.step(loss, scaler=scaler)
        if not done.applied:
            assert done.reason == "the loss scaler skips it" and same(weights(model), before)
            skipped += 1
            for group in optimizer.param_groups:
                group["lr"] = 1e-6
    assert 0 < skipped < 40
    assert scaler.get_scale() == 2.0 ** (120 - skipped)
    assert guard.counts["skipped"] == 0 and guard.counts["kept"] > 0
    # A non-finite loss is an incident.
    optimizer.zero_grad()
    loss = model(torch.full((4, 8), math.nan)).sum()
    scaler.scale(loss).backward()
    assert guard.step(loss, scaler=scaler).decision == "skip"
    assert guard.counts["skipped"] == 1


def test_a_copy_of_a_module_that_holds_its_guard_has_none():
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    model.guard = Guard(model, optimizer)
    train(model, optimizer, model.guard, 3)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copies = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(file, weights_only=False),
    ]
    assert all(twin.guard is None and same(weights(twin), weights(model)) for twin in copies)
    train(model, optimizer, model.guard, 3)


def test_weights_may_change_their_order_in_memory():
    torch.manual_seed(0)
    model = nn.Conv2d(182, 182, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    guard = Guard(model, optimizer)
    norms = []
    for number in range(150):
        if number == 80:
            model.to(memory_format=torch.contiguous_format)
        optimizer.zero_grad()
        loss = model(torch.randn(1, 182, 3, 3)).square().mean()
        loss.backward()
        before = model.weight.detach().clone(), model.bias.detach().clone()
        done = guard.step(loss)
        if done.update_norm is not None:
            norms.append(done.update_norm)
            change = math.hypot(
                *((a - b).norm().item() for a, b in zip(model.parameters(), before))
            )
            assert done.update_norm == pytest.approx(change, rel=1e-4)
    assert len(norms) >= 3


def test_autocast_and_compile():
    model = network("mlp")
    optimizer = optimizer_of("adam", model.parameters())
    guard = Guard(model, optimizer)
    compiled = torch.compile(model, backend="eager")
    for inputs, targets in batches(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.mse_loss(compiled(inputs), targets)
        loss.backward()
        assert guard.step(loss).decision == "keep"
    assert guard.counts["kept"] == 30


def test_sparse_gradients_are_measured():
    table = nn.Embedding(50, 4, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    guard = Guard(table, optimizer)
    for _step in range(30):
        optimizer.zero_grad()
        loss = table(torch.tensor([1, 2, 1])).pow(2).sum()
        loss.backward()
        assert guard.step(loss).decision == "keep"
    table.weight.grad = torch.sparse_coo_tensor(
        [[3]], [[math.nan] * 4], (50, 4), check_invariants=True
    )
    assert guard.step(1.0).decision == "skip"


def test_resuming_goes_on_as_uninterrupted():
    def run(interrupted):
        model = network("mlp")
        optimizer = optimizer_of("adam", model.parameters())
        guard = Guard(model, optimizer)
        decisions = []
        for step, (inputs, targets) in enumerate(batches(120)):
            if step == 90 and interrupted:
                saved = json.loads(json.dumps(guard.state_dict()))
                guard = Guard(model, optimizer)
                guard.load_state_dict(saved)
            inputs = huge_batch(step, inputs, model, optimizer)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            done = guard.step(loss)
            decisions.append((done.decision, done.learning_rate_scale, done.detections))
        return decisions, weights(model)

    (whole, a), (resumed, b) = run(False), run(True)
    assert whole == resumed and same(a, b)
    with pytest.raises(ValueError, match="other settings"):
        model = network("mlp")
        other = Guard(model, optimizer_of("sgd", model.parameters()), preset="careful")
        other.load_state_dict(Guard(model, other._optimizers).state_dict())


def test_the_record_is_read_by_diagnose(steadygrad, tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("momentum", model.parameters())
    with Guard(model, optimizer, run_dir=tmp_path / "run") as guard:
        train(model, optimizer, guard, 150, nan_batch)
    done = steadygrad("diagnose", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    strict = steadygrad("diagnose", tmp_path / "run", "--fail-on", "warning")
    assert strict.returncode == 1, strict.stderr
    run = json.loads(done.stdout)["runs"][0]
    assert (run["format"], run["rows"], run["parameters"]) == ("run of steadygrad", 150, 6)
    headline = run["findings"][0]
    assert (headline["code"], headline["step"], headline["level"]) == ("SG020", 100, "warning")
    assert "weight_norm" not in run["missing"]


def test_a_record_is_not_written_over(tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    with Guard(model, optimizer, run_dir=tmp_path / "run") as guard:
        train(model, optimizer, guard, 10)
        with pytest.raises(OSError, match="another process"):
            other = Guard(model, optimizer, run_dir=tmp_path / "run")
            other.load_state_dict(guard.state_dict())
    before, kept = (
        weights(model),
        {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()},
    )
    guard = Guard(model, optimizer, run_dir=tmp_path / "run")
    with pytest.raises(OSError, match="load_state_dict"):
        train(model, optimizer, guard, 1)
    guard.close()
    assert same(before, weights(model))
    assert kept == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    other = network("cnn")
    with pytest.raises(OSError, match="other parameters"):
        Guard(other, optimizer_of("sgd", other.parameters()), run_dir=tmp_path / "run")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.txt").touch()
    with pytest.raises(OSError, match="not empty"):
        Guard(model, optimizer, run_dir=tmp_path / "results")


def test_going_back_within_a_run_replaces_its_rows(tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer, run_dir=tmp_path / "run")
    train(model, optimizer, guard, 10)
    saved = guard.state_dict()
    train(model, optimizer, guard, 10)
    guard.load_state_dict(saved)
    train(model, optimizer, guard, 5)
    guard.close()
    steps = []
    for name in ("steps.arrow", "steps-2.arrow"):
        with pyarrow.ipc.open_stream(tmp_path / "run" / name) as rows:
            steps.append(rows.read_all().column("step").to_pylist())
    assert steps == [list(range(20)), list(range(10, 15))]


def test_what_cannot_be_guarded_is_refused():
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    with pytest.raises(ValueError, match="observe"):
        Guard(model, optimizer, preset="brave")
    with pytest.raises(ValueError, match="sensitivity"):
        Guard(model, optimizer, sensitivity=2.0)
    with pytest.raises(ValueError, match="max_norm"):
        Guard(model, optimizer, clip=-1.0)
    with pytest.raises(NotImplementedError, match="there are 2"):
        Guard(model, [optimizer, optimizer], clip=UpdateRms())
    with pytest.raises(NotImplementedError, match=r"guard\.step"):
        Guard(model, optimizer_of("adam", model.parameters()), clip=UpdateRms()).before_step(1.0)


def test_a_model_without_gradients_or_parameters_is_no_error():
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer)
    with pytest.warns(UserWarning, match="no parameter has a gradient"):
        assert guard.step(1.0).decision == "keep"
    assert guard.step(math.nan).decision == "skip"


POLICIES = [
    0.05,
    AutoClip(),
    ZClip(max_norm=0.02),
    AdaGC(),
    TensorNorm(0.02),
    Value(1e-3),
    AdaptiveGradient(),
    SpikeAware(ratio=2.0, grace_steps=5),
    UpdateRms(),
    Clippy(relative=1e-3),
    Chain(Value(1e-2), TensorNorm(0.02)),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_the_users_own_clipping_is_what_a_clipper_does(policy):
    guarded, plain = network("mlp"), network("mlp")
    optimizer = optimizer_of("adamw", guarded.parameters())
    guard = Guard(guarded, optimizer, clip=policy)
    losses = train(guarded, optimizer, guard, 60)
    optimizer = optimizer_of("adamw", plain.parameters())
    clipper = Clipper(plain, policy)

    class Clipped:
        def step(self, loss):
            clipper.step(optimizer)

    assert losses == train(plain, optimizer, Clipped(), 60)
    assert same(weights(guarded), weights(plain))
    # The policy does something.
    bare = network("mlp")
    optimizer = optimizer_of("adamw", bare.parameters())
    train(bare, optimizer, Plain(bare, optimizer), 60)
    assert not same(weights(guarded), weights(bare)) or isinstance(policy, (AutoClip, UpdateRms))


def test_every_policy_is_tried_with_the_guard():
    tried = {type(policy).__name__ for policy in POLICIES}
    assert tried - {"float"} == set(clip.__all__) - {"Policy", "GlobalNorm"}


def test_spike_aware_clips_one_large_value_among_small_ones():
    torch.manual_seed(0)
    model = nn.Linear(100, 100)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    guard = Guard(model, optimizer, "observe", clip=SpikeAware())
    for step in range(51):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        if step == 50:
            model.weight.grad[3, 4] = 1e4
            second_moment = optimizer.state[model.weight]["exp_avg_sq"][3, 4].item()
        done = guard.step(1.0)
        assert done.applied
    assert done.decision == "clamp_to_second_moment"
    assert model.weight.grad[3, 4].item() == pytest.approx((5000 * second_moment) ** 0.5, rel=1e-5)
    assert done.grad_norm_clipped < 200 < 1e4 < done.grad_norm


@pytest.mark.parametrize("policy", [AutoClip(percentile=5.0), ZClip(max_norm=1e-3)], ids=repr)
def test_policies_of_one_factor_are_the_guards_own(policy, tmp_path):
    """The record and the counts include them, as they do a plain number."""
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer, clip=policy, run_dir=tmp_path / "run")
    train(model, optimizer, guard, 60)
    guard.close()
    assert guard.counts["clipped"] > 5
    with pyarrow.ipc.open_stream(tmp_path / "run" / "steps.arrow") as rows:
        decisions = rows.read_all().column("decision").to_pylist()
    assert decisions.count("scale_global") == guard.counts["clipped"]


def test_clipping_does_not_hide_what_was_before_it():
    model = network("mlp")
    optimizer = optimizer_of("momentum", model.parameters())
    guard = Guard(model, optimizer, clip=0.01)
    norms = []
    for step, (inputs, targets) in enumerate(batches(120)):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets) * (1e4 if step == 100 else 1.0)
        loss.backward()
        seen = guard.step(loss)
        norms.append(seen.grad_norm)
        if seen.applied:
            assert seen.grad_norm_clipped <= 0.01 * (1 + 1e-9)
    assert norms[100] > 1e3 * norms[99]
    assert guard.counts["skipped"] == 1


def test_a_framework_that_steps_itself():
    """`before_step` and `after_step` around another step equal `step`."""
    runs = []
    for own in (True, False):
        model = network("mlp")
        optimizer = optimizer_of("momentum", model.parameters())
        guard = Guard(model, optimizer)
        rates = []
        for step, (inputs, targets) in enumerate(batches(160)):
            inputs = damaged_weights(step, inputs, model, optimizer)
            inputs = nan_batch(step + 60, inputs, model, optimizer)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            if own:
                seen = guard.step(loss)
            else:
                seen = guard.before_step(loss)
                optimizer.step()
                guard.after_step()
            rates.append((seen.decision, seen.learning_rate_scale, optimizer.param_groups[0]["lr"]))
        runs.append((rates, weights(model)))
    assert runs[0][0] == runs[1][0] and same(runs[0][1], runs[1][1])
    decisions = {decision for decision, _, _ in runs[0][0]}
    assert {"skip", "rollback"} <= decisions
    # The schedule's own rate stays, although a lower one was used.
    assert {rate for _, _, rate in runs[0][0]} == {0.01}
    assert min(scale for _, scale, _ in runs[0][0]) < 1.0


def test_the_update_norm_is_the_change_of_the_weights():
    model = network("mlp")
    optimizer = optimizer_of("adam", model.parameters())
    guard = Guard(model, optimizer)
    seen = 0
    for inputs, targets in batches(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        done = guard.step(loss)
        change = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
        if done.update_norm is not None:
            assert math.isclose(done.update_norm, change.norm().item(), rel_tol=1e-5)
            seen += 1
    assert seen >= 3


def test_a_snapshots_memory_is_used_again_and_its_values_hold():
    model = network("cnn")
    optimizer = optimizer_of("adamw", model.parameters())
    guard = Guard(model, optimizer)
    train(model, optimizer, guard, 200)
    _step, kept = max(guard._snapshots._snapshots.items())
    held = [tensor.clone() for tensor in kept._copies]
    train(model, optimizer, guard, 10, seed=5)
    assert same(held, kept._copies)
    kept.restore(guard._buffers, guard._optimizers, set())
    live = [p.detach() for p in model.parameters()] + list(model.buffers())
    assert same(live, held[: len(live)])
    for state in optimizer.state.values():
        assert set(state) == {"step", "exp_avg", "exp_avg_sq"}


def damaged_for(folder, harm):
    """Trains with snapshots in files, harms the files, and damages the weights at step 100."""
    model = network("mlp")
    optimizer = optimizer_of("adam", model.parameters())
    guard = Guard(model, optimizer, snapshot_dir=folder)
    seen = []
    for step, (inputs, targets) in enumerate(batches(250)):
        if step == 100:
            harm(sorted(folder.glob("*.pt"), key=lambda path: int(path.stem.split("-")[1])))
        damaged_weights(step, inputs, model, optimizer)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        seen.append(guard.step(loss).rolled_back_to)
    guard.close()
    return [step for step in seen if step is not None], weights(model), final_loss(model)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory):
    """The folder of a run whose files were not harmed, and its results."""
    folder = tmp_path_factory.mktemp("unharmed") / "files"
    return folder, *damaged_for(folder, lambda files: None)


def test_snapshots_in_files_are_those_in_memory(unharmed):
    folder, kept, in_files, _ = unharmed
    model = network("mlp")
    optimizer = optimizer_of("adam", model.parameters())
    guard = Guard(model, optimizer)
    train(model, optimizer, guard, 250, damaged_weights)
    assert same(in_files, weights(model)) and len(kept) == guard.counts["rolled_back"] >= 1
    assert list(folder.glob("*.pt")) == []


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def flip(file):
    """Sets some values of the first tensor to NaN."""
    written = file.read_bytes()
    values = torch.load(file)[0].numpy().tobytes()
    assert values in written
    file.write_bytes(written.replace(values, b"\xff" * 400 + values[400:]))


def of_another_run(file):
    torch.save([torch.zeros_like(tensor) for tensor in torch.load(file)], file)


@pytest.mark.parametrize("harm", [cut, flip, of_another_run])
def test_a_damaged_snapshot_is_passed_over_for_an_older_one(tmp_path, unharmed, harm):
    _, whole, *_ = unharmed

    def harm_newest(files):
        newest = next(file for file in files if file.stem == f"step-{whole[0]}")
        assert newest != files[0]
        harm(newest)

    torn, _, loss = damaged_for(tmp_path / "torn", harm_newest)
    assert torn[0] < whole[0]
    assert recovered(loss, loss_after("mlp", "adam", False, None))


def test_snapshots_that_a_killed_process_left_are_removed_and_a_living_ones_are_not(tmp_path):
    folder = tmp_path / "snapshots"
    folder.mkdir()
    for name in ("step-20.pt", "step-40.partial", "step-20-rank1.pt", "mine.pt"):
        (folder / name).touch()
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer, snapshot_dir=folder)
    # Another rank removes its own.
    assert {path.name for path in folder.iterdir()} == {"lock", "step-20-rank1.pt", "mine.pt"}
    with pytest.raises(OSError, match="another process"):
        Guard(model, optimizer, snapshot_dir=folder)
    del guard
    Guard(model, optimizer, snapshot_dir=folder)


def test_snapshots_in_files_are_gone_with_the_guard(tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer, snapshot_dir=tmp_path)
    train(model, optimizer, guard, 50)
    assert list(tmp_path.glob("*.pt"))
    del guard
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_guard_that_was_closed_does_not_step(tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer, snapshot_dir=tmp_path)
    train(model, optimizer, guard, 5)
    guard.close()
    before = weights(model)
    with pytest.raises(RuntimeError, match="make another one"):
        train(model, optimizer, guard, 50)
    assert same(weights(model), before) and [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_process_that_was_forked_does_not_hold_the_folders_of_a_closed_guard(tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    folders = {"run_dir": tmp_path / "run", "snapshot_dir": tmp_path / "snapshots"}
    guard = Guard(model, optimizer, **folders)
    train(model, optimizer, guard, 5)
    saved = guard.state_dict()
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    try:
        with pytest.raises(OSError, match="another process"):
            Guard(model, optimizer, snapshot_dir=tmp_path / "snapshots")
        guard.close()
        again = Guard(model, optimizer, **folders)
        again.load_state_dict(saved)
        train(model, optimizer, again, 5)
        again.close()
    finally:
        worker.kill()
        worker.join()


def test_a_full_disk_is_an_os_error(tmp_path):
    script = f"""
import resource, signal, torch
from steadygrad.torch import Guard
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
guard = Guard(model, optimizer, run_dir={str(tmp_path / "run")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    for _ in range(200):
        before = model.weight.detach().clone()
        optimizer.zero_grad()
        loss = model(torch.ones(4, 8)).square().mean()
        loss.backward()
        guard.step(loss)
except OSError as error:
    assert torch.equal(model.weight, before)
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "no space left" in done.stdout and "free some space" in done.stdout, done.stderr
    assert "snapshot" not in done.stdout


def test_a_folder_that_refuses_files_is_an_error(tmp_path):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer, snapshot_dir=tmp_path / "snapshots")
    shutil.rmtree(tmp_path / "snapshots")
    with pytest.raises(OSError, match="snapshot"):
        train(model, optimizer, guard, 30)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_scaler_that_is_off_skips_nothing_for_a_framework(enabled):
    model = network("mlp")
    optimizer = optimizer_of("sgd", model.parameters())
    guard = Guard(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", enabled=enabled)
    next(model.parameters()).grad = torch.full((32, 8), math.nan)
    seen = guard.before_step(1.0, scaler=scaler)
    assert seen.decision == ("scaler_skip" if enabled else "skip")
    if not enabled:
        # The framework would step, so the gradients are gone.
        assert all(p.grad is None for p in model.parameters())


def half_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)).half()


def half_batch():
    inputs = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)).half()
    # A feature that is always 0 has a gradient of exactly 0.
    inputs[:, 1] = 0
    return inputs, torch.ones(32, 1).half()


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_an_epsilon_that_is_zero_in_the_weights_format_is_named_and_the_step_undone(optimizer):
    model = half_model()
    inputs, targets = half_batch()
    guard = Guard(model, optimizer(model.parameters(), 1e-3, foreach=False))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    with pytest.raises(GuardStopped, match="eps of 1e-08 is 0 in float16") as stopped:
        guard.step(loss)
    assert "learning rate" not in str(stopped.value)
    assert all(map(torch.equal, before, model.parameters()))


def test_an_epsilon_that_the_format_holds_trains():
    model = half_model()
    inputs, targets = half_batch()
    guard = Guard(model, torch.optim.Adam(model.parameters(), 1e-3, eps=1e-4))
    for _ in range(20):
        model.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        guard.step(loss)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_an_update_that_overflows_half_a_weight_goes_back():
    model = nn.Linear(2, 1, bias=False).half()
    nn.init.constant_(model.weight, 3.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    guard = Guard(model, optimizer)
    inputs = torch.ones(4, 2).half()
    for step in range(12):
        model.zero_grad()
        loss = model(inputs).float().square().mean()
        loss.backward()
        if step == 11:
            # Behind the guard's back: the gradient is finite, the update is not.
            optimizer.param_groups[0]["weight_decay"] = 6e4
            with pytest.raises(GuardStopped, match="does not fit in float16"):
                guard.before_step(loss)
                optimizer.step()
                guard.after_step()
        else:
            guard.step(loss)
    assert bool(model.weight.isfinite().all()) and float(model.weight.detach().abs().max()) < 10
