"""Lowers the learning rate. The training loop does it; the model stays as it is."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..._probe.chain import Chain
from .applied import AppliedRemedy

KIND = "lower_learning_rate"
STRONGEST = None


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Sets the learning rate."""
    return AppliedRemedy(learning_rate=remedy["learning_rate"])
