"""A training process that is killed, again and again, and goes on from its checkpoints."""

import json
import random
import subprocess
import sys
import time

import torch

STEPS = 400

SCRIPT = f"""
import os, sys, time
import torch
from torch import nn
from steadygrad.torch import Guard

folder = sys.argv[1]
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {STEPS})
folders = dict(run_dir=folder + "/run", snapshot_dir=folder + "/snapshots")
guard = Guard(model, optimizer, clip=1.0, **folders)
parts, first = dict(model=model, optimizer=optimizer, schedule=schedule, guard=guard), 0
if os.path.exists(folder + "/last.pt"):
    saved = torch.load(folder + "/last.pt")
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    first = saved["step"]
    torch.set_rng_state(saved["rng"])
for step in range(first, {STEPS}):
    if step % 10 == 0:
        saved = {{name: part.state_dict() for name, part in parts.items()}}
        saved |= dict(step=step, rng=torch.get_rng_state())
        torch.save(saved, folder + "/saving.pt")
        os.replace(folder + "/saving.pt", folder + "/last.pt")
    print(step, flush=True)
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
torch.save([guard.counts, [p.detach() for p in model.parameters()]], folder + "/end.pt")
"""


def start(folder):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_that_is_killed_goes_on_to_the_bit(steadygrad, tmp_path):
    whole = start(tmp_path / "whole")
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors
    draw, kills, reached = random.Random(1), 0, -1
    while True:
        process = start(tmp_path / "killed")
        # Killed at a step further on, or a little after it, while that is on its way.
        wanted = reached + draw.randint(60, 110)
        for line in process.stdout:
            reached = int(line)
            if reached >= wanted:
                time.sleep(draw.uniform(0, 0.004))
                process.kill()
                break
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -9, errors
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
