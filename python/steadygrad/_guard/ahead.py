"""Lets a GPU apply a step before the host has judged it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as _hooks

from .. import _native
from .._gradients.device import PendingReading, gate

# A launch with a flag costs the host about 0.1 ms, and an optimizer needs this many values to be
# busy for as long. Measured: a step of 124 million values gained 1 ms, one of 11 million nothing.
_LEAST_VALUES = 1 << 25


class StepAhead:
    """Lets the device apply a step if its reading is within bounds that are known beforehand.

    A judgement waits for the end of the backward pass. If the optimizer is launched only after
    that, the device is idle meanwhile and the host cannot work ahead. PyTorch's fused optimizers
    skip a step if a flag on the device says so; they do this for `GradScaler`. So they are launched
    at once, with a flag that says whether the guard is sure to keep the step. All other steps are
    judged first.
    """

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self._optimizers = optimizers
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._pays = sum(p.numel() for g in groups for p in g["params"]) >= _LEAST_VALUES
        # The previous step's reading, on the device, and the positions of its parameters.
        self._before: tuple[list[int], Tensor] | None = None
        self._room: tuple[Tensor, Tensor, torch.cuda.Event] | None = None

    def can_step(self) -> bool:
        """Returns whether an early step is possible and saves time.

        Every optimizer must obey the flag and do nothing else in its `step`. If not, the previous
        reading is forgotten.
        """
        can = self._pays and not _has_global_hooks() and all(map(_obeys_flag, self._optimizers))
        if not can:
            self.forget()
        return can

    def forget(self) -> None:
        """Forgets the last reading: something else than an optimizer writes the weights."""
        self._before = None

    @torch.no_grad()
    def step(
        self, pending: PendingReading, places: list[int], bounds: _native.Quiet | None
    ) -> tuple[Tensor | None, bool]:
        """Returns the reading, if it was waited for, and whether the step was applied.

        Args:
            places: positions of the parameters that have a gradient.
            bounds: within them the guard keeps the step. With None, the reading is only stored for
                the next step.
        """
        rows = pending.rows()
        before, self._before = self._before, None if rows is None else (places, rows)
        if rows is None or before is None or bounds is None or before[0] != places:
            return None, False
        if self._room is None or self._room[0].shape != rows.shape:
            flag = torch.empty((), dtype=torch.float32, device=rows.device)
            self._room = (
                torch.empty_like(rows, device="cpu", pin_memory=True),
                flag,
                torch.cuda.Event(),
            )
        copied, flag, arrived = self._room
        gate(rows, before[1], bounds, flag)
        with torch.cuda.device(rows.device):
            copied.copy_(rows, non_blocking=True)
            arrived.record()
        for optimizer in self._optimizers:
            optimizer.grad_scale, optimizer.found_inf = None, flag  # type: ignore[attr-defined]
            try:
                optimizer.step()
            finally:
                del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
        arrived.synchronize()
        return copied, bool(copied[-1, 1] == 0.0)


def _obeys_flag(optimizer: Optimizer) -> bool:
    return (
        # A subclass of the user may do more in its `step`.
        type(optimizer).__module__.startswith("torch.optim.")
        and getattr(optimizer, "_step_supports_amp_scaling", False)
        and not optimizer._optimizer_step_pre_hooks
        and not optimizer._optimizer_step_post_hooks
        and all(
            group.get("fused") and _has_begun(optimizer, group) for group in optimizer.param_groups
        )
    )


def _has_begun(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    """Returns whether every momentum buffer exists: a skipped SGD step leaves a new one unset."""
    return not group.get("momentum") or all(
        p.grad is None or optimizer.state.get(p, {}).get("momentum_buffer") is not None
        for p in group["params"]
    )


def _has_global_hooks() -> bool:
    return bool(_hooks._global_optimizer_pre_hooks or _hooks._global_optimizer_post_hooks)
