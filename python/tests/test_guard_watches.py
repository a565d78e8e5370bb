"""What a guard watches and restores: parameters of any origin, buffers however written."""

import math

import pytest
import torch
from steadygrad.clip import AdaptiveGradient, Chain, GlobalNorm, TensorNorm, Value
from steadygrad.torch import Guard, GuardStopped, clip_grad_norm_
from torch import nn


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def step(model, guard, optimizer, harm=lambda: None, inputs=None):
    inputs = torch.randn(16, 4) if inputs is None else inputs
    optimizer.zero_grad()
    loss = model(inputs).square().mean()
    loss.backward()
    harm()
    return guard.step(loss)


def poison(parameter):
    def harm():
        parameter.grad[..., 0] = math.nan

    return harm


def values(*tensors):
    return [tensor.detach().clone() for tensor in tensors]


def test_a_layer_that_is_unfrozen_later_is_guarded():
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer, clip=1e-3)
    assert len(step(model, guard, optimizer).gradients) == 4
    model[0].requires_grad_(True)
    done = step(model, guard, optimizer)
    assert len(done.gradients) == 6
    norm = math.hypot(*(parameter.grad.norm().item() for parameter in model.parameters()))
    assert norm == pytest.approx(1e-3, rel=1e-4)
    before = values(*model.parameters())
    assert step(model, guard, optimizer, poison(model[0].weight)).decision == "skip"
    assert all(map(torch.equal, before, model.parameters()))


def test_a_group_that_is_added_later_is_guarded():
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    step(model, guard, optimizer)
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 1e-3})
    assert step(model, guard, optimizer).decision == "keep"
    assert step(model, guard, optimizer, poison(model[0].weight)).decision == "skip"
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3))]})
    with pytest.raises(RuntimeError, match="make another Guard"):
        step(model, guard, optimizer)


def test_a_parameter_that_takes_the_place_of_another_is_not_left_unguarded():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    step(model, guard, optimizer)
    model[4] = nn.Linear(8, 1)
    optimizer.param_groups[0]["params"][-2:] = model[4].parameters()
    with pytest.raises(RuntimeError, match="make another Guard"):
        step(model, guard, optimizer, poison(model[4].weight))
    assert model[4].weight.isfinite().all()


def test_what_the_optimizer_holds_beside_the_model_is_guarded():
    model, scale = mlp(), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.01)
    guard = Guard(model, optimizer)

    def harm():
        scale.grad = torch.tensor([1.0, math.nan])

    done = step(model, guard, optimizer, harm)
    assert done.decision == "skip" and "optimizer.0.6" in done.gradients
    assert torch.equal(scale, torch.ones(2))
    # A framework that steps itself finds no gradient.
    optimizer.zero_grad()
    loss = model(torch.randn(16, 4)).square().mean()
    loss.backward()
    harm()
    guard.before_step(loss)
    optimizer.step()
    assert torch.equal(scale, torch.ones(2))


def test_frozen_and_quantized_weights_are_neither_copied_nor_an_error():
    model = mlp()
    model[0].requires_grad_(False)
    model[2].codes = nn.Parameter(torch.zeros(5, dtype=torch.uint8), requires_grad=False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01)
    guard = Guard(model, optimizer)
    done = step(model, guard, optimizer)
    assert done.update_norm > 0.0
    (kept,) = guard._snapshots._snapshots.values()
    assert sum(tensor.numel() for tensor in kept._copies) == sum(p.numel() for p in trained)


class Running(nn.Module):
    """A mean that replaces itself at each forward pass, and a number that belongs to its user."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("tau", torch.tensor(1.0))
        self.register_buffer("table", None)

    def forward(self, inputs):
        self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
        self.table = torch.arange(len(inputs)).float()
        return inputs - self.mean


def with_buffers():
    model = nn.Sequential(Running(), nn.BatchNorm1d(4), *mlp())
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def test_buffers_that_a_skipped_batch_made_non_finite_are_put_back_however_they_are_written():
    model, optimizer = with_buffers()
    guard = Guard(model, optimizer)
    for _ in range(3):
        step(model, guard, optimizer)
    before = values(model[0].mean, model[1].running_mean, model[1].num_batches_tracked)
    model[0].tau.fill_(0.25)
    assert step(model, guard, optimizer, inputs=torch.full((16, 4), math.nan)).decision == "skip"
    assert all(
        map(
            torch.equal,
            before,
            (model[0].mean, model[1].running_mean, model[1].num_batches_tracked),
        )
    )
    assert model[0].tau == 0.25
    assert step(model, guard, optimizer).decision == "keep"


@pytest.mark.parametrize("in_files", [False, True])
def test_a_snapshot_holds_buffers_from_before_the_batch_that_is_judged(tmp_path, in_files):
    model, optimizer = with_buffers()
    guard = Guard(model, optimizer, snapshot_dir=tmp_path if in_files else None)
    assert step(model, guard, optimizer, inputs=torch.full((16, 4), math.nan)).decision == "skip"
    assert model[1].running_mean.isfinite().all()
    for number in range(15):
        # A longer batch makes another table.
        step(model, guard, optimizer, inputs=torch.randn(16 + number, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e4)
    assert step(model, guard, optimizer).rolled_back_to == 0
    assert all(buffer.isfinite().all() for buffer in model.buffers())
    assert step(model, guard, optimizer).decision == "skip"
    assert step(model, guard, optimizer).decision == "keep"
    guard.close()


def test_a_checkpoint_loaded_after_the_guard_was_made_keeps_its_statistics():
    model, optimizer = with_buffers()
    guard = Guard(model, optimizer)
    for _ in range(5):
        step(model, guard, optimizer)
    saved = {name: value.clone() for name, value in model.state_dict().items() if name != "0.table"}
    other, optimizer = with_buffers()
    guard_of_other = Guard(other, optimizer)
    other.load_state_dict(saved, strict=False)
    guard_of_other.load_state_dict(guard.state_dict())
    step(other, guard_of_other, optimizer, inputs=torch.full((16, 4), math.nan))
    assert other[1].running_mean.isfinite().all()
    assert torch.equal(other[1].running_mean, saved["1.running_mean"])


def test_buffers_that_nobody_writes_to_are_not_copied():
    model = mlp()
    model.register_buffer("mask", torch.ones(1000))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    step(model, guard, optimizer)
    assert guard._buffers._changed == []
    model.mask.mul_(2.0)
    step(model, guard, optimizer)
    assert [kept.name for kept in guard._buffers._changed] == ["mask"]


def damage(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e3)


def test_a_run_that_is_stopped_is_left_with_the_last_good_state():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    guard = Guard(model, optimizer)
    good = {}
    with pytest.raises(GuardStopped):
        for number in range(2000):
            good[number] = values(*model.parameters())
            if number >= 100 and number % 10 == 0:
                damage(model)
            step(model, guard, optimizer)
    last = guard._native.last_good()
    assert 0 < last < 100 and all(map(torch.equal, good[last], model.parameters()))


def test_a_resumed_run_can_be_rolled_back_at_once():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    guard = Guard(model, optimizer)
    for _ in range(110):
        step(model, guard, optimizer)
    resumed = Guard(model, optimizer)
    resumed.load_state_dict(guard.state_dict())
    before = values(*model.parameters())
    step(model, resumed, optimizer)
    step(model, resumed, optimizer)
    damage(model)
    assert step(model, resumed, optimizer).rolled_back_to == 110
    assert all(map(torch.equal, before, model.parameters()))


def test_a_scale_that_enlarges_nothing_excuses_no_gradient():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    guard = Guard(model, optimizer)
    seen = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 4)).square().mean()
        scaler.scale(loss).backward()
        poison(model[0].weight)()
        seen.append(guard.step(loss, scaler=scaler).decision)
    assert seen[:3] == ["scaler_skip"] * 3 and set(seen[3:]) <= {
        "skip",
        "lower_learning_rate",
        "rollback",
    }
    assert guard.counts["skipped"] > 0


def test_a_scaler_skip_is_one_of_all_optimizers():
    model = mlp()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.01) for part in (model[:2], model[2:])]
    scaler = torch.amp.GradScaler("cpu")
    guard = Guard(model, optimizers)
    loss = model(torch.randn(16, 4)).square().mean()
    scaler.scale(loss).backward()
    poison(model[0].weight)()
    before = values(*model.parameters())
    assert guard.step(loss, scaler=scaler).decision == "scaler_skip"
    assert all(map(torch.equal, before, model.parameters()))


class Finds(torch.optim.SGD):
    """Keeps what it found out in its group, and something that is no parameter's in its state."""

    def step(self, closure=None):
        self.param_groups[0]["d"] = self.param_groups[0].get("d", 0) + 1
        self.state["calls"] = self.state.get("calls", 0) + 1
        return super().step(closure)


def test_what_an_optimizer_keeps_elsewhere_is_rolled_back_too():
    model = mlp()
    optimizer = Finds(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    for _ in range(30):
        step(model, guard, optimizer)
    optimizer.param_groups[0]["lr"] = 0.005
    damage(model)
    done = step(model, guard, optimizer)
    assert done.rolled_back_to is not None
    assert optimizer.param_groups[0]["d"] == optimizer.state["calls"] == done.rolled_back_to
    assert optimizer.param_groups[0]["lr"] == 0.005


class Counts(torch.optim.SGD):
    """Counts its steps in each group, by a number that its user sets."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] = group.get("count", 0) + group["by"]
        return super().step(closure)


def test_a_rollback_leaves_what_the_user_set_in_the_groups_and_which_there_are():
    model = mlp()
    groups = [{"params": list(model[place].parameters()), "by": place + 1} for place in (0, 2, 4)]
    optimizer = Counts(groups, lr=0.01)
    guard = Guard(model, optimizer)
    for _ in range(30):
        step(model, guard, optimizer)
    _first, second, third = optimizer.param_groups
    del optimizer.param_groups[0]
    second["nesterov"], second["lr_mult"] = None, 0.1
    third["by"] = 7
    damage(model)
    done = step(model, guard, optimizer)
    assert done.rolled_back_to is not None
    assert [group["count"] for group in (second, third)] == [
        3 * done.rolled_back_to,
        5 * done.rolled_back_to,
    ]
    assert (second["nesterov"], second["lr_mult"], second["by"], third["by"]) == (None, 0.1, 3, 7)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]


@pytest.mark.parametrize(
    "policy", [Value(1e-4), TensorNorm(1e-4), AdaptiveGradient(1e-4), Chain(GlobalNorm(1e-4))]
)
def test_what_the_users_own_clipping_left_is_told(policy):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    done = step(model, Guard(model, optimizer, clip=policy), optimizer)
    left = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    assert done.grad_norm_clipped == pytest.approx(left.item(), rel=1e-5)
    assert done.grad_norm_clipped < done.grad_norm and done.decision not in ("keep", "skip")


def test_steps_that_the_users_own_clipping_changed_are_counted():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer, clip=1e-6)
    for _ in range(5):
        step(model, guard, optimizer)
    assert guard.counts["clipped"] == 5


def test_rows_of_a_run_that_was_never_closed_are_all_there(tmp_path, steadygrad):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer, run_dir=tmp_path / "run")
    for _ in range(70):
        step(model, guard, optimizer)
    del guard
    assert "70 rows" in steadygrad("diagnose", tmp_path / "run").stdout


def test_wrong_use_is_named():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with pytest.raises(NotImplementedError, match="LBFGS"):
        Guard(model, torch.optim.LBFGS(model.parameters()))
    unknown = torch.optim.SGD(model.parameters(), lr=0.01)
    unknown.param_groups[0]["lr"] = None
    with pytest.raises(ValueError, match="SGD chooses its learning rate itself"):
        Guard(model, unknown)
    with pytest.raises(TypeError, match="the model comes first"):
        Guard(optimizer, model)
    with pytest.raises(TypeError, match="`optimizer` is an optimizer"):
        Guard(model, model)
    with pytest.raises(TypeError, match="named_parameters"):
        Guard(list(model.named_parameters()), optimizer)
    with pytest.raises(TypeError, match="`clip` is a number"):
        Guard(model, optimizer, clip="1.0")
    with pytest.raises(ValueError, match="none of the model's parameters"):
        Guard(model, torch.optim.SGD(mlp().parameters(), lr=0.01))
    guard = Guard(model, optimizer)
    with pytest.warns(UserWarning, match="after `loss.backward"):
        guard.step(1.0)
    with pytest.raises(ValueError, match=r"shape \(16, 1\)"):
        guard.step(model(torch.randn(16, 4)))
    with pytest.raises(TypeError, match="`loss` is a list"):
        guard.step([1.0])
    for junk in (None, {}, {"step": 1}):
        with pytest.raises(ValueError, match="state_dict"):
            guard.load_state_dict(junk)
    with pytest.raises(ValueError, match="another `clip`"):
        guard.load_state_dict(Guard(model, optimizer, clip=Value(1.0)).state_dict())
    assert clip_grad_norm_(model.parameters(), 1.0) == 0.0
