"""Statistics of gradients, by parameter name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .. import _native
from .._native import GradientStats
from .reader import READER, Parameters, named_parameters

Mapping.register(GradientStats)


def measuring_clipper() -> _native.Clipper:
    """Returns a clipper that measures and changes nothing."""
    return _native.Clipper('{"policy": "chain", "policies": []}')


def gradient_stats(model: nn.Module | Parameters) -> GradientStats:
    """Returns statistics of every gradient by parameter name, from one pass over memory.

    For a module, the names are those of `named_parameters()`. For a tensor or an iterable of
    tensors, they are the positions "0", "1", ... Parameters without a gradient are left out.
    For sharded gradients (FSDP2, `DTensor`) the statistics are those of the whole tensors: every
    process must call it then.
    """
    names, parameters = named_parameters(model)
    return measuring_clipper().clip(READER, parameters, names, torch.get_num_threads(), None)
