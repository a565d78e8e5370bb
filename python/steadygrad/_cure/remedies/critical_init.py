"""Rescales the initial weights to the critical gain."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..._probe.chain import Chain, matrices_of
from ..._probe.recurrent import recurrent_of
from .applied import AppliedRemedy, RemedyRefused, list_names

KIND = "critical_init"
STRONGEST = None


@torch.no_grad()
def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Gives every repeated matrix the remedy's `gain`, the standard deviation times sqrt(fan_in).

    The input matrix gets `gain / input_rms`, and the output matrix 1. Of a recurrent network only
    the recurrent matrix changes.
    """
    recurrent = recurrent_of(model) is not None
    gain = remedy["gain"]
    gains = {"hidden": gain, "recurrent": gain}
    if not recurrent:
        gains |= {"input": gain / remedy["input_rms"], "output": 1.0}
    names = []
    for name, role, weight in matrices_of(model, chain):
        if role in gains and not (recurrent and role == "hidden"):
            factor = gains[role] * weight.shape[0] ** 0.5 / weight.norm()
            if factor.isfinite():
                weight.mul_(factor)
                names.append(name)
    if not names:
        raise RemedyRefused("it has no weight matrix whose values can be set")
    return AppliedRemedy(f"Here it was done to {list_names(names)}.")
