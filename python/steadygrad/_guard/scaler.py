"""Steps of a loss scaler inside a guarded step."""

from __future__ import annotations

import math

import torch
from torch.optim import Optimizer

from .._native import GradientStats
from .measuring import StepMeasurement
from .step import GuardStep


def enabled_scaler(scaler: torch.amp.GradScaler | None) -> torch.amp.GradScaler | None:
    """Returns the scaler, or None if it is disabled: then it neither scales nor skips."""
    return scaler if scaler is not None and scaler.is_enabled() else None


def scale_was_too_large(measured: StepMeasurement, scaler: torch.amp.GradScaler) -> bool:
    """Returns whether the loss is finite, its gradients are not, and the scale enlarged them."""
    return (
        measured.stats.non_finite > 0 and math.isfinite(measured.loss) and scaler.get_scale() > 1.0
    )


def mark_non_finite(scaler: torch.amp.GradScaler, optimizers: list[Optimizer]) -> None:
    """Makes the scaler skip every optimizer, and lower its scale.

    A process without the bad part of a gradient would not do so by itself.
    """
    for optimizer in optimizers:
        found = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
        for flag in found.values():
            flag.fill_(1.0)


def scaler_skip(stats: GradientStats) -> GuardStep:
    """Returns the result of a step that the scaler skips."""
    why = "the loss scaler skips it"
    return GuardStep("scaler_skip", False, why, stats.global_norm, 0.0, 1.0, None, (), stats)
