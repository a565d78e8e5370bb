"""Writes `offline.wandb`, an offline W&B run (wandb 0.31) whose loss becomes NaN at step 30.

    pip install wandb && python generate.py
"""

import glob
import math
import os
import shutil
import sys
import tempfile

import wandb

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    settings = wandb.Settings(
        mode="offline", console="off", host="host", username="nobody", email="", program="train.py", root_dir=folder,
        disable_git=True, disable_code=True, save_code=False, x_disable_meta=True, x_disable_stats=True, silent=True,
    )
    run = wandb.init(project="project", name="run", settings=settings)
    for step in range(40):
        loss = 2.0 * 0.97**step if step < 30 else math.nan
        layer = {"a": 0.5 * 1.3**step, "b": 0.25}
        run.log({"train/loss": loss, "train/grad_norm": 1.0 + 0.01 * step, "lr": 0.1, "note": "text", "gradients": layer}, step=step)
    run.finish()
    (made,) = glob.glob("wandb/offline-run-*/*.wandb")
    shutil.copy(made, os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "offline.wandb"))
