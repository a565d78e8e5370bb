"""Runs a recurrent module step by step, so that its states can be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .chain import Stage

# The most steps that are measured: the last ones of a longer sequence.
_MAX_STEPS = 400


@contextmanager
def unrolled(module: nn.RNNBase | None) -> Iterator[list[Stage]]:
    """Makes the module run one time step after the other, with the same outputs.

    The list holds the state after each step: the hidden state, and the cell of an LSTM. A packed
    sequence runs as it is, and leaves no states.
    """
    states: list[Stage] = []
    if module is None:
        yield states
        return
    whole = module.forward

    def forward(inputs: Any, hx: Any = None) -> Any:
        if not isinstance(inputs, Tensor) or inputs.ndim != 3:
            return whole(inputs, hx)
        states.clear()
        axis = 1 if module.batch_first else 0
        if hx is None:
            rows = inputs.shape[1 - axis]
            zeros = inputs.new_zeros(module.num_layers, rows, module.hidden_size)
            hx = (zeros, zeros.clone()) if isinstance(module, nn.LSTM) else zeros
        outputs = []
        for step, part in enumerate(inputs.split(1, dim=axis)):
            hx = whole(part, hx)[1]
            # Rows first, as in every other stage.
            parts = [state.transpose(0, 1) for state in (hx if isinstance(hx, tuple) else (hx,))]
            hx = tuple(part.transpose(0, 1) for part in parts)
            hx = hx if len(hx) > 1 else hx[0]
            # The output is the last layer's state. Taking it from there connects the loss to the
            # state in the graph.
            outputs.append(parts[0][:, -1].unsqueeze(axis))
            if parts[0].requires_grad:
                states.append(Stage(f"t={step}", parts))
        del states[:-_MAX_STEPS]
        return torch.cat(outputs, dim=axis), hx

    module.forward = forward
    try:
        yield states
    finally:
        del module.forward
