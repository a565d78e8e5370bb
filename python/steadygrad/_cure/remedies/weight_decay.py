"""Shrinks all weights after each step, by a share of the learning rate."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..._probe.chain import Chain
from .applied import AppliedRemedy

KIND = "weight_decay"
STRONGEST = None


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Multiplies the weights by `1 - lr * decay` after each step; the model starts as it is."""
    return AppliedRemedy(after_step=partial(_decay_weights, remedy["decay"]))


@torch.no_grad()
def _decay_weights(decay: float, optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.mul_(1 - group["lr"] * decay)
