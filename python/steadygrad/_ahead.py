"""Steps that a GPU takes while its reading is on the way to the judgement."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor
from torch.optim import Optimizer

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
        """Whether it pays, and every optimizer heeds such a flag and has nothing else to tell that it stepped."""
        return self._pays and all(
            getattr(optimizer, "_step_supports_amp_scaling", False)
            and all(group.get("fused") for group in optimizer.param_groups)
            and not optimizer._optimizer_step_pre_hooks
            and not optimizer._optimizer_step_post_hooks
            for optimizer in self._optimizers
        )

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
            flag = torch.empty((), device=rows.device)
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
