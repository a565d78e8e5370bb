"""How each remedy is applied to a PyTorch model: one remedy per file.

Each file has `KIND`, the remedy's name in JSON, and `apply(model, chain, remedy)`. It returns an
`AppliedRemedy`, or raises `RemedyRefused` if the model cannot take the remedy. `STRONGEST` has the
parameters that change a model most; it is None if the remedy changes only numbers. A new remedy
needs a file, and its name in the list below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn

from ..._probe.chain import Chain
from . import (
    cap_spectral_norm,
    clip_global_norm,
    critical_init,
    lower_learning_rate,
    reduce_depth,
    rms_norm,
    scale_residual,
    truncate_bptt,
    weight_decay,
)
from .applied import AppliedRemedy

_Apply: TypeAlias = Callable[[nn.Module, Chain, dict[str, Any]], AppliedRemedy]

_ALL = (
    clip_global_norm,
    cap_spectral_norm,
    weight_decay,
    critical_init,
    scale_residual,
    rms_norm,
    reduce_depth,
    truncate_bptt,
    lower_learning_rate,
)

REMEDIES: dict[str, _Apply] = {remedy.KIND: remedy.apply for remedy in _ALL}
STRONGEST: dict[str, dict[str, Any] | None] = {remedy.KIND: remedy.STRONGEST for remedy in _ALL}
