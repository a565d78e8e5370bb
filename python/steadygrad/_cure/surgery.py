"""Applies a remedy to any PyTorch model, without touching its code."""

from __future__ import annotations

from typing import Any

from torch import nn

from .._probe.chain import Chain
from .remedies import REMEDIES
from .remedies.applied import AppliedRemedy


def apply_remedy(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Changes the model in place.

    Args:
        chain: the layers of this model, or of a copy.
        remedy: its `kind` and its parameters, as the native part names them.

    Raises:
        RemedyRefused: the model cannot take it.
    """
    return REMEDIES[remedy["kind"]](model, chain, remedy)
