"""Clips by the global norm. The training loop does it; the model stays as it is."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..._probe.chain import Chain
from .applied import AppliedRemedy

KIND = "clip_global_norm"
STRONGEST = None


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Sets the largest global norm."""
    return AppliedRemedy(max_norm=remedy["max_norm"])
