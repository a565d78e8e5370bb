"""Steps that a GPU takes while its reading is on the way to the judgement."""

from __future__ import annotations

from typing import Any, Optional

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import optimizer as _hooks

from . import _native
from ._device import OnItsWay, gate


# Launching with a flag costs the host some 0.1 ms. So many values keep an optimizer busy for as long: measured, a
# step of 124 million gained 1 ms, and one of 11 million nothing.
_LEAST_VALUES = 1 << 25


class StepAhead:
    """Lets the device apply a step whose reading is within bounds that were told before.

    A judgement waits until the backward pass is done. Launched after that, an optimizer leaves the device
    idle meanwhile, and the host no longer works ahead. PyTorch's fused optimizers pass over a step where a flag on
    the device says so (it is how they work with a `GradScaler`): so they are launched at once, with a flag that says
    whether the reading is one that the guard keeps as it is. All others are judged first, as ever.
    """

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self._optimizers = optimizers
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._pays = _LEAST_VALUES <= sum(p.numel() for group in groups for p in group["params"])
        # The reading of the step before, on the device, and which parameters it is of.
        self._before: Optional[tuple[list[int], Tensor]] = None
        self._room: Optional[tuple[Tensor, Tensor, torch.cuda.Event]] = None

    def can(self) -> bool:
        """Whether it pays, and every optimizer heeds such a flag and does nothing else when it is called. What
        was read before is forgotten where it cannot."""
        can = self._pays and not _hooks_on_all() and all(map(_heeds, self._optimizers))
        if not can:
            self.forget()
        return can

    def forget(self) -> None:
        """The weights will be others than an optimizer makes them."""
        self._before = None

    @torch.no_grad()
    def step(
        self, way: OnItsWay, places: list[int], bounds: Optional[_native.Quiet]
    ) -> tuple[Optional[Tensor], bool]:
        """The reading, where it was waited for, and whether the step was applied.

        Args:
            places: of the parameters that have a gradient.
            bounds: None where there are none: the reading is only remembered, for the next step.
        """
        rows = way.rows()
        before, self._before = self._before, None if rows is None else (places, rows)
        if rows is None or before is None or bounds is None or before[0] != places:
            return None, False
        if self._room is None or self._room[0].shape != rows.shape:
            flag = torch.empty((), dtype=torch.float32, device=rows.device)
            self._room = torch.empty_like(rows, device="cpu", pin_memory=True), flag, torch.cuda.Event()
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


def _heeds(optimizer: Optimizer) -> bool:
    return (
        # A subclass may do more in its `step` than to step.
        type(optimizer).__module__.startswith("torch.optim.")
        and getattr(optimizer, "_step_supports_amp_scaling", False)
        and not optimizer._optimizer_step_pre_hooks
        and not optimizer._optimizer_step_post_hooks
        and all(group.get("fused") and _has_begun(optimizer, group) for group in optimizer.param_groups)
    )


def _has_begun(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    """SGD leaves a momentum that begins at a step which is passed over as the memory was."""
    return not group.get("momentum") or all(
        p.grad is None or optimizer.state.get(p, {}).get("momentum_buffer") is not None
        for p in group["params"]
    )


def _hooks_on_all() -> bool:
    return bool(_hooks._global_optimizer_pre_hooks or _hooks._global_optimizer_post_hooks)
