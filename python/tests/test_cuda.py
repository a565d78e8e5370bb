"""What has to hold on a GPU; skipped where there is none."""

import copy
import math
import warnings

import pytest
import steadygrad.torch
import torch
from steadygrad._gradients import device
from steadygrad._gradients.reader import READER
from steadygrad._guard import ahead as ahead_of_judgement
from steadygrad._guard import copies
from steadygrad._guard import guard as guard_module
from test_gradient_stats import ROWS, brute, model_with
from torch import nn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

CUDA = "cuda"


def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)]
    return nn.Sequential(*layers)


def batches(count, device=CUDA):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        inputs = torch.randn(16, 3, 8, 8, generator=generator)
        yield inputs.to(device), torch.randint(0, 10, (16,), generator=generator).to(device)


def train(model, optimizer, step, data, scaler=None):
    steps = []
    for inputs, targets in data:
        optimizer.zero_grad()
        with torch.autocast(CUDA, enabled=scaler is not None, dtype=torch.float16):
            loss = nn.functional.cross_entropy(model(inputs), targets)
        (loss if scaler is None else scaler.scale(loss)).backward()
        steps.append(step(loss))
    return steps


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kernels", [True, False])
def test_statistics_against_the_plainest_code(row, kernels, monkeypatch):
    if not kernels:
        monkeypatch.setattr(device, "kernels_for", lambda _: None)
    grad = ROWS[row].detach()
    on_device = torch.empty_strided(grad.size(), grad.stride(), dtype=grad.dtype, device=CUDA)
    stats = steadygrad.torch.gradient_stats(model_with(it=on_device.copy_(grad)))["it"]
    for name, expected in brute(grad).items():
        assert getattr(stats, name) == pytest.approx(expected, rel=1e-12, nan_ok=True), name


def test_the_kernels_run_here():
    assert device.kernels_for(torch.device(CUDA, 0)) is not None


def measured(tensors, loss=None):
    reading, loss = device.measure_tensors(READER, tensors, loss)
    names = tuple(map(str, range(len(tensors))))
    stats = steadygrad.torch.GradientStats.of_reading(names, range(len(tensors)), reading)
    return [row[1:] for row in stats.rows()], loss


def test_kernels_give_the_same_to_the_bit_each_time():
    grads = [torch.randn(size, device=CUDA) for size in (10_000_019, 300, 65_536)]
    rows, loss = measured(grads, torch.tensor(2.5, device=CUDA))
    assert loss == 2.5
    for _ in range(20):
        assert measured(grads)[0] == rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_large_random_gradients_of_every_type(dtype):
    grads = [
        torch.randn(size, device=CUDA).to(dtype)
        for size in (1, 1023, 1024, 65_535, 65_536, 65_537, 9_000_000)
    ]
    grads.append(torch.randn(100_001, device=CUDA).to(dtype)[1:])
    grads.append(torch.randn(64, 3, 7, 7, device=CUDA).to(dtype, memory_format=torch.channels_last))
    rows, _ = measured(grads)
    for grad, (norm, max_abs, numel, non_finite, subnormal, zero) in zip(grads, rows):
        expected = brute(grad.cpu())
        assert norm == pytest.approx(expected.pop("tensor_norm"), rel=1e-12)
        assert expected == {
            "max_abs": max_abs,
            "numel": numel,
            "non_finite": non_finite,
            "subnormal": subnormal,
            "zero": zero,
        }


def test_a_stream_of_its_own_is_read_after_what_it_computes():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for scale in range(1, 30):
            grad = torch.ones(4_000_000, device=CUDA) * scale
            (norm, *_), *_ = measured([grad])[0]
            assert norm == pytest.approx(2000.0 * scale, rel=1e-12)


def test_a_healthy_run_is_what_it_would_have_been():
    models = [net().to(CUDA) for _ in range(2)]
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-3) for model in models]
    guard = steadygrad.torch.Guard(models[0], optimizers[0])
    torch.backends.cudnn.deterministic = True
    train(models[0], optimizers[0], guard.step, batches(60))
    train(models[1], optimizers[1], lambda _: optimizers[1].step(), batches(60))
    for ours, plain in zip(models[0].state_dict().values(), models[1].state_dict().values()):
        assert torch.equal(ours, plain)
    assert guard.counts["kept"] == 60


@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("files", [False, True])
def test_a_nan_is_skipped_and_a_ruined_run_goes_back(host, files, monkeypatch, tmp_path):
    if host:
        monkeypatch.setattr(copies, "_free_at_peak", lambda _: 0)
    model = net().to(CUDA)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    folder = tmp_path if files else None
    guard = steadygrad.torch.Guard(model, optimizer, snapshot_dir=folder)
    train(model, optimizer, guard.step, batches(60))
    before = copy.deepcopy(model.state_dict())
    poisoned = next(batches(1))
    poisoned[0][3] = math.nan
    (step,) = train(model, optimizer, guard.step, [poisoned])
    assert step.decision == "skip"
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values()))
    with torch.no_grad():
        model[4].weight.mul_(1e6)
    steps = train(model, optimizer, guard.step, batches(40))
    back = [step.rolled_back_to for step in steps if step.rolled_back_to is not None]
    assert back and back[0] <= 60
    assert model[4].weight.abs().max() < 10.0
    assert all(p.is_cuda for p in model.parameters())
    kept = [
        tensor for state in guard._snapshots._snapshots.values() for tensor in state._copies[:2]
    ]
    assert files or all(tensor.is_cuda != host for tensor in kept)


@pytest.fixture
def ahead(monkeypatch):
    """Of each step that a device may apply before it is judged, whether it did."""
    applied, step = [], ahead_of_judgement.StepAhead.step

    def watched(self, way, places, bounds):
        copied, stepped = step(self, way, places, bounds)
        applied.append(stepped)
        return copied, stepped

    monkeypatch.setattr(ahead_of_judgement.StepAhead, "step", watched)
    monkeypatch.setattr(ahead_of_judgement, "_LEAST_VALUES", 0)
    return applied


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_a_healthy_run_whose_steps_are_taken_ahead_is_what_it_would_have_been(kind, ahead):
    models = [net().to(CUDA) for _ in range(2)]
    optimizers = [kind(model.parameters(), lr=1e-3, fused=True) for model in models]
    schedules = [
        torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999) for optimizer in optimizers
    ]
    guard = steadygrad.torch.Guard(models[0], optimizers[0])
    torch.backends.cudnn.deterministic = True

    def stepping(index, step):
        return lambda loss: (step(loss), schedules[index].step())

    train(models[0], optimizers[0], stepping(0, guard.step), batches(120))
    train(models[1], optimizers[1], stepping(1, lambda _: optimizers[1].step()), batches(120))
    for ours, plain in zip(models[0].state_dict().values(), models[1].state_dict().values()):
        assert torch.equal(ours, plain)
    ours, plain = (optimizer.state_dict()["state"] for optimizer in optimizers)
    for place, state in plain.items():
        assert all(torch.equal(ours[place][name], value) for name, value in state.items())
    assert guard.counts["kept"] == 120
    assert not any(ahead[:20]) and sum(ahead) > 90


def test_what_is_not_healthy_is_never_taken_ahead(ahead, monkeypatch):
    model = net().to(CUDA)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    guard = steadygrad.torch.Guard(model, optimizer)
    train(model, optimizer, guard.step, batches(60))
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()["state"])
    for bad in (math.nan, math.inf):
        (batch,) = batches(1)
        batch[0][3] *= bad
        (step,) = train(model, optimizer, guard.step, [batch])
        assert not step.applied and not ahead[-1]
        assert all(
            torch.equal(a, b) for a, b in zip(model.state_dict().values(), before[0].values())
        )
        for place, state in optimizer.state_dict()["state"].items():
            assert all(torch.equal(before[1][place][name], value) for name, value in state.items())
        # The next one is judged first: what it is compared with was not trained on.
        (step,) = train(model, optimizer, guard.step, batches(1))
        assert step.applied and not ahead[-1]
        train(model, optimizer, guard.step, batches(30))
        assert ahead[-1]
        before = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()["state"])
    with torch.no_grad():
        model[4].weight.mul_(1e6)
    (step,) = train(model, optimizer, guard.step, batches(1))
    assert step.decision == "rollback" and not ahead[-1]
    # One is left out, and the next is judged first.
    left_out, step = train(model, optimizer, guard.step, batches(2))
    assert left_out.decision == "skip" and step.applied and not any(ahead[-2:])
    # Somebody is told of every call to the optimizer: there has to be one a step.
    optimizer.register_step_post_hook(lambda *_: None)
    seen = len(ahead)
    train(model, optimizer, guard.step, batches(30))
    assert len(ahead) == seen


@pytest.mark.parametrize("fused", [False, True])
def test_decisions_are_those_of_the_cpu(fused, monkeypatch):
    monkeypatch.setattr(ahead_of_judgement, "_LEAST_VALUES", 0)
    decisions = {}
    for where in ("cpu", CUDA):
        model = net().double().to(where)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, fused=fused)
        guard = steadygrad.torch.Guard(model, optimizer, clip=0.5)
        data = [(inputs.double(), targets) for inputs, targets in batches(80, where)]
        data[50][0].mul_(1e6)
        data[60][0][0, 0] = math.inf
        decisions[where] = [
            (s.decision, s.applied) for s in train(model, optimizer, guard.step, data)
        ]
    assert decisions["cpu"] == decisions[CUDA]
    assert {"scale_global", "skip"} <= {decision for decision, _ in decisions[CUDA]}


def test_a_loss_scaler_that_backs_off_is_no_incident():
    model = net().to(CUDA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler(CUDA, init_scale=2.0**40)
    guard = steadygrad.torch.Guard(model, optimizer)
    steps = train(
        model, optimizer, lambda loss: guard.step(loss, scaler=scaler), batches(60), scaler
    )
    decisions = [step.decision for step in steps]
    assert decisions[0] == "scaler_skip" and decisions[-1] == "keep"
    assert scaler.get_scale() < 2.0**40
    assert not any(step.detections for step in steps if step.decision == "keep")


def test_a_compiled_model_and_a_fused_optimizer():
    model = net().to(CUDA)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    guard = steadygrad.torch.Guard(model, optimizer)
    steps = train(torch.compile(model), optimizer, guard.step, batches(30))
    assert all(step.applied for step in steps)


@pytest.fixture
def nccl(tmp_path, monkeypatch):
    """A group of one process, joined as several are."""
    from torch import distributed

    meet = f"file://{tmp_path}/meet"
    distributed.init_process_group("nccl", init_method=meet, rank=0, world_size=1)
    joined = distributed.Processes
    monkeypatch.setattr(guard_module, "join_processes", lambda *of: joined(*of))
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("fault", [None, "nan", "weights"])
@pytest.mark.parametrize("kind", ["ddp", "sharded"])
def test_over_nccl(kind, fault, nccl):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    def build():
        if kind == "ddp":
            return nn.parallel.DistributedDataParallel(net().to(CUDA))
        model, mesh = net().to(CUDA), init_device_mesh(CUDA, (1,))
        fully_shard(model[4], mesh=mesh)
        return fully_shard(model, mesh=mesh)

    def run(guarded):
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        guard = steadygrad.torch.Guard(model, optimizer) if guarded else None
        decisions = []
        for step, (inputs, targets) in enumerate(batches(60)):
            if fault == "nan" and step == 40:
                inputs[3, 1] = math.nan
            if fault == "weights" and step == 40:
                with torch.no_grad():
                    next(model.parameters()).mul_(1e6)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            if guard is None:
                optimizer.step()
            else:
                decisions.append(guard.step(loss).decision)
        # The statistics of batch normalisation see a bad batch whatever is decided about the step.
        weights = [parameter.detach() for parameter in model.parameters()]
        return [
            getattr(each, "full_tensor", lambda each=each: each)() for each in weights
        ], decisions

    weights, decisions = run(True)
    if fault is None:
        assert set(decisions) == {"keep"}
        plain, _ = run(False)
        assert all(torch.equal(a, b) for a, b in zip(weights, plain, strict=True))
    else:
        assert decisions[40] == {"nan": "skip", "weights": "rollback"}[fault]
        assert all(tensor.isfinite().all() for tensor in weights)


def test_a_guard_waits_once_a_step():
    model = net().to(CUDA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = steadygrad.torch.Guard(model, optimizer)
    train(model, optimizer, guard.step, batches(30))
    inputs, targets = next(batches(1))
    waits = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            guard.step(loss)
            torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchroniz" in str(each.message) for each in seen))
    # At a snapshot, the size of the update is one more.
    assert sorted(waits)[:13] == [1] * 13 and max(waits) <= 2


def test_probe_and_find_non_finite_on_the_device():
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(16, 16), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(16, 4)).to(CUDA)
    batch = (torch.randn(32, 16, device=CUDA), torch.randint(0, 4, (32,), device=CUDA))
    on_device = steadygrad.torch.probe(model, batch, nn.functional.cross_entropy)
    on_cpu = steadygrad.torch.probe(
        model.cpu(), tuple(part.cpu() for part in batch), nn.functional.cross_entropy
    )
    assert len(on_device.growth) == len(on_cpu.growth) > 10
    assert on_device.exponents[0] == pytest.approx(on_cpu.exponents[0], abs=0.05)
    batch[0][5] = math.nan
    found = steadygrad.torch.find_non_finite(model.to(CUDA), batch, nn.functional.cross_entropy)
    assert found.where == "input" and found.rows == (5,)


def test_cure_on_the_device():
    def exploding():
        layers = [layer for _ in range(12) for layer in (nn.Linear(16, 16), nn.ReLU())]
        for layer in layers[::2]:
            nn.init.normal_(layer.weight, std=2.5 / 4)
        return nn.Sequential(*layers, nn.Linear(16, 4)).to(CUDA)

    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(4, (256,), generator=generator)
    inputs = 2.0 * torch.randn(4, 16, generator=generator)[targets]
    inputs += 0.5 * torch.randn(256, 16, generator=generator)
    found = steadygrad.torch.cure(
        exploding,
        nn.functional.cross_entropy,
        (inputs.to(CUDA), targets.to(CUDA)),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        steps=60,
        verbose=False,
    )
    assert found.trials[0]["outcome"]["verdict"] == "diverged"
    assert found.prescription is not None
