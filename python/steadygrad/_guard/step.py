"""The result of one guarded step."""

from __future__ import annotations

from dataclasses import dataclass

from .._native import GradientStats, Judgement


class GuardStopped(RuntimeError):
    """The guard gave up: it cannot repair the run, and it applied no bad update.

    Weights, buffers and optimizer state are those of the last known good state, if there is one.
    The message says why.
    """


@dataclass(frozen=True)
class GuardStep:
    """What the guard decided at one step, and what it measured."""

    decision: str
    """`keep`, `skip`, `lower_learning_rate` or `rollback`; `scaler_skip` if the loss scaler's scale
    was too large. A clipped step has `scale_global`, or the action of your own policy (`clamp`,
    `scale_per_tensor`, ...)."""
    applied: bool
    """Whether the optimizer stepped."""
    reason: str | None
    """Why the optimizer did not step."""
    grad_norm: float
    """Global norm of the gradients before clipping."""
    grad_norm_clipped: float
    """Global norm of the gradients as applied; 0 if the step was not applied."""
    learning_rate_scale: float
    """The factor on the learning rate; 1 in a healthy run."""
    rolled_back_to: int | None
    """The step whose state was restored."""
    detections: tuple[str, ...]
    """What the detectors saw, in words."""
    gradients: GradientStats
    """Statistics of each parameter's gradient, from before clipping: `gradients.top(3)` names those
    with the largest share of the norm."""
    update_norm: float | None = None
    """Norm of the optimizer's change to the weights, at steps that begin with a snapshot (about one
    in 20). None at all others, where it would cost another copy of the weights."""


def step_result(
    judged: Judgement,
    stats: GradientStats,
    rolled_back_to: int | None,
    detections: tuple[str, ...],
) -> GuardStep:
    """Returns the result of a judged step."""
    norm = stats.global_norm
    return GuardStep(
        judged.decision,
        judged.applies,
        judged.reason,
        norm,
        judged.coefficient * norm if judged.applies else 0.0,
        judged.learning_rate_scale,
        rolled_back_to,
        detections,
        stats,
    )
