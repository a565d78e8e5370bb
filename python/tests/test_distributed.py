"""Two processes on loopback make one decision, from the whole model's gradients."""

import math
import traceback

import pytest
import torch
from steadygrad.torch import Clipper, Guard, GuardStopped, gradient_stats
from torch import nn

WORLD = 2
STEPS = 110
FAULT_AT = 60


def network():
    torch.manual_seed(0)
    # Widths that two processes cannot share evenly; one leaves nothing to the second process.
    layers = [
        nn.Linear(8, 33),
        nn.Tanh(),
        nn.Linear(33, 16),
        nn.BatchNorm1d(16),
        nn.Tanh(),
        nn.Linear(16, 1),
    ]
    return nn.Sequential(*layers)


def batch(step, rank):
    generator = torch.Generator().manual_seed(1000 * rank + step)
    inputs = torch.randn(32, 8, generator=generator)
    weight = torch.randn(8, 1, generator=torch.Generator().manual_seed(7)) / 3
    return inputs, torch.tanh(inputs @ weight)


def loss_of(model, step, rank, fault):
    inputs, targets = batch(step, rank)
    # From here on, both processes get different data.
    if fault == "data" and step >= FAULT_AT:
        targets = 30 - targets
    # Only the second process meets the fault.
    if step == FAULT_AT and rank == 1:
        if fault == "nan":
            inputs[3, 3] = math.nan
        if fault == "targets":
            targets = targets * 1e6
    return nn.functional.mse_loss(model(inputs), targets)


def train(model, rank, fault=None, guarded=True, optimizer=None, **settings):
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=3e-3)
    guard = Guard(model, optimizer, **settings) if guarded else None
    decisions = []
    for step in range(STEPS):
        if fault == "weights" and step == FAULT_AT:
            with torch.no_grad():
                next(iter(model.parameters())).mul_(1e6)
        optimizer.zero_grad()
        loss = loss_of(model, step, rank, fault)
        loss.backward()
        if guard is None:
            optimizer.step()
        else:
            shown = loss.item()
            if fault == "loss" and step == FAULT_AT and rank == 1:
                shown = math.nan
            seen = guard.step(shown)
            decisions.append(
                (seen.decision, seen.rolled_back_to, seen.grad_norm, seen.learning_rate_scale)
            )
    if guard is not None:
        guard.close()
    return decisions


def whole(model):
    states = model.state_dict().values()
    tensors = [t.full_tensor() if hasattr(t, "full_tensor") else t for t in states]
    return [tensor.detach().clone() for tensor in tensors]


def parallel(kind):
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(network())
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    # Batch normalisation is replicated: each process has its own buffers.
    mesh = init_device_mesh("cpu", (WORLD,))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def healthy(rank, folder, kind):
    plain, guarded = parallel(kind), parallel(kind)
    train(plain, rank, guarded=False)
    decisions = train(guarded, rank, run_dir=folder / "run" if kind == "ddp" else None)
    assert {decision[0] for decision in decisions} == {"keep"}
    assert all(torch.equal(a, b) for a, b in zip(whole(plain), whole(guarded), strict=True))
    return decisions


def fault(rank, folder, kind, name):
    model = parallel(kind)
    decisions = train(model, rank, name)
    assert decisions[FAULT_AT][0] != "keep", decisions[FAULT_AT]
    assert all(tensor.isfinite().all() for tensor in whole(model))
    return decisions


def on_disk(rank, folder, kind):
    """Restores a snapshot from a file, with the optimizer's state present or missing."""
    found = []
    for name in ("memory", "disk", "emptied"):
        model = parallel(kind)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        where = {} if name == "memory" else {"snapshot_dir": folder / f"{kind}-{name}-{rank}"}
        guard = Guard(model, optimizer, **where)
        for step in range(40):
            optimizer.zero_grad()
            loss = loss_of(model, step, rank, None)
            loss.backward()
            if step == 30:
                if name == "emptied":
                    optimizer.state.clear()
                with torch.no_grad():
                    next(iter(model.parameters())).mul_(1e6)
            seen = guard.step(loss)
            assert (seen.decision == "rollback") == (step == 30), (step, seen.decision)
        guard.close()
        found.append([*whole(model), *(part.sum().item() for part in _moments(optimizer))])
    assert repr(found[0]) == repr(found[1]) == repr(found[2])
    return found[0][-1]


def _moments(optimizer):
    for state in optimizer.state.values():
        moment = state["exp_avg"]
        yield moment.full_tensor() if hasattr(moment, "full_tensor") else moment


def norms(rank, folder, kind):
    """The statistics are those of one process with both batches."""
    model, alone = parallel(kind), network()
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.0), "observe")
    loss = loss_of(model, 0, rank, None)
    loss.backward()
    seen = guard.step(loss)
    both = [loss_of(alone, 0, other, None) for other in range(WORLD)]
    (sum(both) / WORLD).backward()
    named = dict(alone.named_parameters())
    assert len(seen.gradients) == len(named)
    for name, stats in seen.gradients.items():
        expected = named[name.removeprefix("module.")].grad
        assert stats.numel == expected.numel(), name
        assert math.isclose(stats.tensor_norm, expected.norm().item(), rel_tol=1e-4), name
        assert math.isclose(stats.max_abs, expected.abs().max().item(), rel_tol=1e-4), name
    total = torch.nn.utils.get_total_norm([p.grad for p in alone.parameters()]).item()
    assert math.isclose(seen.grad_norm, total, rel_tol=1e-4)
    return seen.grad_norm


def alone_too(rank, folder, kind):
    """Without a guard, statistics and clipping are those of whole tensors."""
    model, alone = parallel(kind), network()
    loss_of(model, 0, rank, None).backward()
    (sum(loss_of(alone, 0, other, None) for other in range(WORLD)) / WORLD).backward()
    stats, named = gradient_stats(model), dict(alone.named_parameters())
    assert len(stats) == len(named)
    for name, seen in stats.items():
        grad = named[name.removeprefix("module.")].grad
        assert (seen.numel, seen.zero) == (grad.numel(), int((grad == 0).sum())), name
        assert math.isclose(seen.tensor_norm, grad.norm().item(), rel_tol=1e-4), name
        assert math.isclose(seen.max_abs, grad.abs().max().item(), rel_tol=1e-4), name
    before = Clipper(model, 0.05).clip_()
    assert before.global_norm == stats.global_norm > 0.05
    after = gradient_stats(model)
    assert math.isclose(after.global_norm, 0.05, rel_tol=1e-4)
    return stats.global_norm, after.global_norm


def clipped(rank, folder, kind):
    """Clips below the usual norm by one factor: the run equals one with PyTorch's clipping."""
    plain, guarded = parallel(kind), parallel(kind)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05)
    for step in range(20):
        optimizer.zero_grad()
        loss_of(plain, step, rank, None).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.05)
        optimizer.step()
    optimizer = torch.optim.SGD(guarded.parameters(), lr=0.05)
    guard = Guard(guarded, optimizer, clip=0.05)
    for step in range(20):
        optimizer.zero_grad()
        loss = loss_of(guarded, step, rank, None)
        loss.backward()
        seen = guard.step(loss)
        assert math.isclose(seen.grad_norm_clipped, min(0.05, seen.grad_norm), rel_tol=1e-3)
    for a, b in zip(whole(plain), whole(guarded), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    return guard.counts


def scaler(rank, folder, kind):
    """With infinite values in one process, all skip and all lower their scale."""
    model = parallel(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    seen = []
    for step in range(6):
        optimizer.zero_grad()
        loss = loss_of(model, step, rank, None)
        scaler.scale(loss).backward()
        if step == 3 and rank == 1:
            grad = next(p.grad for p in model.parameters() if p.grad is not None)
            (grad.to_local() if hasattr(grad, "to_local") else grad).view(-1)[0] = math.inf
        before = whole(model)[0]
        judged = guard.step(loss, scaler=scaler)
        moved = not torch.equal(before, whole(model)[0])
        assert moved == judged.applied == (step != 3)
        seen.append((judged.decision, scaler.get_scale()))
    assert [decision for decision, _ in seen].count("scaler_skip") == 1
    assert seen[-1][1] == 2.0**9
    return seen


def refused(rank, folder, kind):
    model = nn.Linear(4, 4) if rank == 0 else nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError, match="same parameters"):
        Guard(model, torch.optim.SGD(model.parameters(), lr=0.1))
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Replicate

    mesh = init_device_mesh("cpu", (WORLD,))
    weight = nn.Parameter(DTensor.from_local(torch.ones(3), mesh, [Replicate()]))
    weight.grad = DTensor.from_local(torch.ones(3), mesh, [Partial()])
    assert gradient_stats([weight])["0"].tensor_norm == pytest.approx(WORLD * 3**0.5)
    guard = Guard([weight], torch.optim.SGD([weight], lr=0.1))
    with pytest.raises(RuntimeError, match="partial sum"):
        guard.step(1.0)
    with pytest.raises(NotImplementedError, match="part by itself"):
        from steadygrad.clip import TensorNorm

        Guard([weight], torch.optim.SGD([weight], lr=0.1), clip=TensorNorm(1.0))
    return "refused"


def stops(rank, folder, kind):
    """With only NaN in one process, both give up at the same step."""
    model = parallel(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    guard = Guard(model, optimizer)
    for step in range(400):
        optimizer.zero_grad()
        loss = loss_of(model, step, rank, None)
        if step >= 30 and rank == 1:
            loss = loss * math.nan
        loss.backward()
        try:
            guard.step(loss)
        except GuardStopped as stopped:
            return step, str(stopped)
    raise AssertionError("it never gave up")


def worker(rank, folder, cases, results):
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD
    )
    for number, (case, arguments) in enumerate(cases):
        try:
            result = case(rank, folder, *arguments)
        except Exception:
            result = traceback.format_exc()
        torch.save(result, results / f"{number}-{rank}")
        distributed.barrier()
    distributed.destroy_process_group()


FAULTS = ["nan", "targets", "loss", "weights", "data"]
CASES = [
    (case, (kind, *rest))
    for kind in ("ddp", "sharded")
    for case, rest in [
        (healthy, ()),
        *((fault, (name,)) for name in FAULTS),
        (on_disk, ()),
        (norms, ()),
        (alone_too, ()),
        (clipped, ()),
        (scaler, ()),
        (stops, ()),
    ]
] + [(refused, ("",))]


@pytest.fixture(scope="module")
def outcomes(processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    torch.multiprocessing.start_processes(
        worker, (folder, CASES, folder), nprocs=WORLD, start_method=processes.get_start_method()
    )
    load = lambda number, rank: torch.load(folder / f"{number}-{rank}", weights_only=False)
    return folder, [[load(number, rank) for rank in range(WORLD)] for number in range(len(CASES))]


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=lambda n: "-".join((CASES[n][0].__name__, *CASES[n][1]))
)
def test_both_processes(outcomes, number):
    first, second = outcomes[1][number]
    for result in (first, second):
        assert not (isinstance(result, str) and "Traceback" in result), result
    # Every rank makes the same decision, to the bit.
    assert repr(first) == repr(second)


def test_faults_of_one_are_answered_by_both(outcomes):
    by_case = dict(zip(((case.__name__, arguments) for case, arguments in CASES), outcomes[1]))
    for kind in ("ddp", "sharded"):
        assert by_case["fault", (kind, "nan")][0][FAULT_AT][0] == "skip"
        assert by_case["fault", (kind, "loss")][0][FAULT_AT][0] == "skip"
        assert "rollback" in {seen[0] for seen in by_case["fault", (kind, "weights")][0]}
        # A rollback, and one to the abandoned state, since the data are at fault.
        seen = enumerate(by_case["fault", (kind, "data")][0])
        rollbacks = [(step, decided[1]) for step, decided in seen if decided[1] is not None]
        assert len(rollbacks) == 2 and rollbacks[1][1] == rollbacks[0][0]


def test_the_first_process_writes_the_record(outcomes):
    import json

    manifest = json.loads((outcomes[0] / "run" / "run.json").read_text())
    assert manifest["status"] == "ended"
