"""Leaves out layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..._probe.chain import Chain
from .applied import AppliedRemedy, RemedyRefused, list_names

KIND = "reduce_depth"
STRONGEST = {"depth": 1}


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Keeps the first `depth` layers, and replaces the others and their activations."""
    left_out = list(zip(chain.names, chain.seen))[max(remedy["depth"], 1) :]
    for name, (given, made) in left_out:
        if given.shape != made.shape:
            raise RemedyRefused(
                f"`{name}` cannot be left out: its input and its output differ in shape"
            )
    for name, _ in left_out:
        _leave_out(model, name, chain.added)
    names = list_names([name for name, _ in left_out])
    return AppliedRemedy(f"Here these were left out, each with its activation: {names}.")


def _leave_out(model: nn.Module, name: str, added: bool) -> None:
    parent, _, own = name.rpartition(".")
    owner = model.get_submodule(parent)
    owner._modules[own] = Nothing() if added else nn.Identity()
    names = list(owner._modules)
    after = names.index(own) + 1
    if isinstance(owner, nn.Sequential) and after < len(names) - 1:
        following = owner._modules[names[after]]
        # A module without parameters is the layer's activation.
        if following is not None and not list(following.parameters()):
            owner._modules[names[after]] = nn.Identity()


class Nothing(nn.Module):
    """Replaces a block whose output is added to its input: it adds nothing."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)
