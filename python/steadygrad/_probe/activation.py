"""The activation function between plain layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from .chain import Chain

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "selu": torch.selu,
    "leaky_relu": nn.functional.leaky_relu,
    "linear": lambda x: x,
}


@torch.no_grad()
def plain_activation(chain: Chain) -> tuple[str | None, float]:
    """Returns the function between layers if there is nothing else, and the biases' scale.

    It is found from the values, not from the code: each layer's input must be the function of the
    previous output. None for any other model, such as a residual network.
    """
    linear = [module for module in chain.modules if isinstance(module, nn.Linear)]
    if len(linear) < 2 or len(linear) != len(chain.modules):
        return None, 0.0
    pairs = [(before[1], after[0]) for before, after in pairwise(chain.seen)]
    for name, function in _ACTIVATIONS.items():
        if all(
            a.shape == b.shape and torch.allclose(function(a), b, rtol=1e-4, atol=1e-6)
            for a, b in pairs
        ):
            biases = [module.bias for module in linear[1:] if module.bias is not None]
            squares = [float(bias.detach().cpu().double().pow(2).mean()) for bias in biases]
            return name, math.sqrt(sum(squares) / len(squares)) if squares else 0.0
    return None, 0.0
