"""Recurrent modules of PyTorch."""

from __future__ import annotations

import math

from torch import nn

from .chain import Stage


def recurrent_of(model: nn.Module) -> nn.RNNBase | None:
    """Returns the recurrent module that can be run step by step.

    None unless it is the only one, runs in one direction, and does not project its state.
    """
    found = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    usable = [module for module in found if not module.bidirectional and not module.proj_size]
    return usable[0] if len(usable) == 1 and len(found) == 1 else None


def starts_with_rows(recurrent: nn.RNNBase, states: list[Stage], size: int | None) -> bool:
    """Returns whether the first dimension of the batch's tensors, of this size, is its rows.

    It may be time. If there are as many rows as time steps, the module's own setting decides.
    """
    rows = states[0].tensors[0].shape[0]
    return size == rows and (recurrent.batch_first or len(states) != rows)


def recurrent_activation(recurrent: nn.RNNBase | None) -> tuple[str | None, float]:
    """Returns a plain recurrent network's activation and its biases' scale.

    None for an LSTM or a GRU, which mean-field theory does not describe.
    """
    if not isinstance(recurrent, nn.RNN):
        return None, 0.0
    biases = [p.detach() for name, p in recurrent.named_parameters() if "bias" in name]
    squares = sum(float(bias.cpu().double().pow(2).mean()) for bias in biases)
    return recurrent.nonlinearity, math.sqrt(squares / recurrent.num_layers)
