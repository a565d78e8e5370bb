"""Truncates the backward pass through time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..._probe.chain import Chain
from ..._probe.recurrent import recurrent_of
from .applied import AppliedRemedy, RemedyRefused

KIND = "truncate_bptt"
STRONGEST = {"time_steps": 1}


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Runs the recurrent module in parts of `time_steps`, and detaches its state between them."""
    module = recurrent_of(model)
    if module is None:
        raise RemedyRefused("it has no single recurrent module that runs in one direction")
    _truncate(module, remedy["time_steps"])
    name = next(name for name, each in model.named_modules() if each is module)
    where = f"model.{name}" if name else "model"
    return AppliedRemedy(
        "Here the recurrent module ran in parts, with its state detached between them: "
        f"`truncate({where})`."
    )


def _truncate(module: nn.RNNBase, time_steps: int) -> None:
    whole = module.forward

    def forward(inputs: Any, hx: Any = None) -> Any:
        if not isinstance(inputs, Tensor) or inputs.ndim != 3:
            return whole(inputs, hx)
        axis = 1 if module.batch_first else 0
        length, outputs = inputs.shape[axis], []
        # Counted from the end, so that the last part has the full length.
        first = length % time_steps or min(time_steps, length)
        parts = inputs.split([first] + [time_steps] * ((length - first) // time_steps), dim=axis)
        for part in parts:
            made, hx = whole(part, hx)
            outputs.append(made)
            if part is not parts[-1]:
                hx = tuple(h.detach() for h in hx) if isinstance(hx, tuple) else hx.detach()
        return torch.cat(outputs, dim=axis), hx

    module.forward = forward
