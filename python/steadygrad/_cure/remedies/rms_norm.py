"""Normalises the outputs of layers by their root mean square."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..._probe.chain import Chain
from ..._probe.recurrent import recurrent_of
from .applied import AppliedRemedy, RemedyRefused, list_names

KIND = "rms_norm"
STRONGEST = {"every": 1}


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Adds an RMSNorm after the output of every `every`-th layer, by a hook."""
    if recurrent_of(model) is not None:
        raise RemedyRefused(
            "a recurrent module of PyTorch cannot be normalised between its time steps"
        )
    layers = list(zip(chain.names, chain.seen))
    if len(layers) > 1 and not chain.keeps_width(-1):
        # The last layer writes the prediction, whose size matters.
        layers = layers[:-1]
    layers, images = layers[:: remedy["every"]], False
    for name, (_, output) in layers:
        module = model.get_submodule(name)
        # A sequence has its features last, an image has them first.
        over_sample = output.ndim > 3
        images = images or over_sample
        norm = RmsNorm(output.shape[1 if over_sample else -1], over_sample).to(output)
        module.add_module("steadygrad_norm", norm)
        module.register_forward_hook(_normalise)
    names = list_names([name for name, _ in layers])
    option = ", with `images=True`" if images else ""
    return AppliedRemedy(f"Here it was added to the outputs of {names}{option}.")


class RmsNorm(nn.Module):
    """Root mean square normalisation.

    It runs over a whole sample, with one scale per channel, or over the last dimension of a
    sequence.
    """

    def __init__(self, channels: int, over_sample: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.over_sample = over_sample

    def forward(self, inputs: Tensor) -> Tensor:
        over = tuple(range(1, inputs.ndim)) if self.over_sample else (-1,)
        scale = torch.rsqrt(inputs.pow(2).mean(over, keepdim=True) + 1e-5)
        shape = [-1] + [1] * (inputs.ndim - 2) if self.over_sample else [-1]
        return (inputs * scale * self.weight.view(shape)).type_as(inputs)


def _normalise(module: nn.Module, inputs: Any, output: Any) -> Any:
    norm = module.get_submodule("steadygrad_norm")
    if isinstance(output, tuple):
        return (norm(output[0]), *output[1:])
    return norm(output)
