"""A training process is killed repeatedly, and continues from its checkpoints."""

import json
import os
import random
import time

import torch
from steadygrad.torch import Guard
from torch import nn

STEPS = 400


def train(folder, steps):
    """Trains from the last checkpoint on, and sends the number of each step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    folders = {"run_dir": folder / "run", "snapshot_dir": folder / "snapshots"}
    guard = Guard(model, optimizer, clip=1.0, **folders)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "guard": guard}
    first = 0
    if (folder / "last.pt").exists():
        saved = torch.load(folder / "last.pt")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first = saved["step"]
        torch.set_rng_state(saved["rng"])
    for step in range(first, STEPS):
        if step % 10 == 0:
            saved = {name: part.state_dict() for name, part in parts.items()}
            saved |= {"step": step, "rng": torch.get_rng_state()}
            torch.save(saved, folder / "saving.pt")
            os.replace(folder / "saving.pt", folder / "last.pt")
        steps.send(step)
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(32, 8, generator=generator)
        if step in (130, 290):
            inputs[3] = float("nan")
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), torch.tanh(inputs.sum(1, keepdim=True) / 3))
        loss.backward()
        guard.step(loss)
        schedule.step()
        time.sleep(0.002)
    guard.close()
    torch.save([guard.counts, [p.detach() for p in model.parameters()]], folder / "end.pt")


def train_until(processes, folder, kill_at, delay):
    """Runs a process to its end, or until it is killed; returns its exit code and last step."""
    folder.mkdir(exist_ok=True)
    steps, sent = processes.Pipe(duplex=False)
    process = processes.Process(target=train, args=(folder, sent))
    process.start()
    sent.close()
    reached = -1
    try:
        while reached < kill_at:
            reached = steps.recv()
        time.sleep(delay)
        process.kill()
    except EOFError:
        pass
    process.join()
    return process.exitcode, reached


def test_a_run_that_is_killed_goes_on_to_the_bit(steadygrad, processes, tmp_path):
    code, _ = train_until(processes, tmp_path / "whole", STEPS, 0.0)
    assert code == 0
    generator, kills, reached = random.Random(1), 0, -1
    while True:
        # Killed at a later step, or shortly after it, during that step.
        kill_at, delay = reached + generator.randint(60, 110), generator.uniform(0, 0.004)
        code, reached = train_until(processes, tmp_path / "killed", kill_at, delay)
        if code == 0:
            break
        assert code == -9
        kills += 1
    assert kills >= 4
    counts, weights = torch.load(tmp_path / "killed" / "end.pt")
    expected_counts, expected = torch.load(tmp_path / "whole" / "end.pt")
    assert counts == expected_counts and counts["skipped"] >= 2
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    runs = {}
    for name in ("whole", "killed"):
        done = steadygrad("diagnose", tmp_path / name / "run", "--json")
        run = json.loads(done.stdout)["runs"][0]
        runs[name] = [run["rows"], [(found["code"], found["step"]) for found in run["findings"]]]
    assert runs["killed"] == runs["whole"] and runs["whole"][0] == STEPS
    left = {path.name for path in (tmp_path / "killed" / "snapshots").iterdir()}
    assert left == {"lock"}
