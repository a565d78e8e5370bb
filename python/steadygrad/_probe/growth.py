"""The size of activations and gradients, layer by layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .._gradients.operators import norm_of
from .chain import Stage

# The smallest normal float32.
_TINY = torch.finfo(torch.float32).tiny


def measure_growth(stages: list[Stage]) -> dict[str, Any]:
    """Returns sizes of each stage's activation and gradient, and shares of lost gradient values.

    The result has the fields that the native part expects.
    """
    points, signals, subnormal, lost = [], 0, 0, 0
    for stage in stages:
        grads = [t.grad.float() for t in stage.tensors if t.grad is not None]
        count = sum(grad.numel() for grad in grads)
        rms = rms_of(grads)
        largest = [float(grad.abs().max()) for grad in grads if grad.numel()]
        worst = math.nan if any(map(math.isnan, largest)) else max(largest, default=0.0)
        norm = rms * math.sqrt(count)
        points.append((stage.name, rms_of([stage.tensors[0]]), norm, rms, worst))
        magnitudes = [grad.abs() for grad in grads]
        signals += count
        subnormal += sum(int(((m > 0) & (m < _TINY)).sum()) for m in magnitudes)
        lost += sum(int((m == 0).sum()) for m in magnitudes) if 0 < worst < _TINY else 0
    return {
        "points": points,
        "signal_share": subnormal / max(signals, 1),
        "signal_lost": lost / max(signals, 1),
    }


def rms_of(tensors: list[Tensor]) -> float:
    """Returns the root mean square over all values; 0 without values."""
    values = sum(tensor.numel() for tensor in tensors)
    return math.hypot(*(norm_of(tensor) for tensor in tensors)) / math.sqrt(max(values, 1))
