"""Scales what every residual block adds to its input."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ..._probe.chain import Chain
from .applied import AppliedRemedy, RemedyRefused, list_names

KIND = "scale_residual"
STRONGEST = None


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Changes each block to `x + scale (block(x) - x)` by a hook.

    If the code around the blocks adds their outputs, each output is multiplied by `scale`.
    """
    # A block that changes the shape has no identity to scale against.
    names = [name for place, name in enumerate(chain.names) if chain.keeps_width(place)]
    if not names:
        raise RemedyRefused("none of its blocks keeps the shape of its input")
    hook = partial(_scale_branch if chain.added else _scale_block, remedy["scale"])
    for name in names:
        model.get_submodule(name).register_forward_hook(hook)
    changes = f"Here it was done to {list_names(names)}."
    if chain.added:
        changes += (
            "\nThe model itself adds their outputs to their inputs: "
            "`scale_residual(blocks, added=True)`."
        )
    return AppliedRemedy(changes)


def _scale_branch(scale: float, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, tuple):
        return (scale * output[0], *output[1:])
    return scale * output


def _scale_block(scale: float, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, tuple):
        return (_scale_block(scale, block, inputs, output[0]), *output[1:])
    if not inputs:
        raise TypeError("a block is called with keywords alone, so its input is not known")
    if output is inputs[0]:
        raise TypeError("a block adds to its input in place, so its input is lost")
    return inputs[0] + scale * (output - inputs[0])
