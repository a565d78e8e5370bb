"""The learning rates of a trial."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import Optimizer

from .settings import CureSettings, MakeScheduler


class ScaledRates:
    """Multiplies the learning rates of an optimizer and its schedule by one factor."""

    def __init__(
        self, optimizer: Optimizer, scheduler: MakeScheduler | None, factor: float
    ) -> None:
        self._groups, self._factor = optimizer.param_groups, factor
        self._schedule = None if scheduler is None else scheduler(optimizer)
        self._scale()

    def step(self) -> None:
        """Steps the schedule, which may compute a rate from its own last one."""
        for group, rate in zip(self._groups, self._unscaled):
            group["lr"] = rate
        if self._schedule is not None:
            self._schedule.step()
        self._scale()

    def _scale(self) -> None:
        self._unscaled = [group["lr"] for group in self._groups]
        if self._factor != 1.0:
            for group in self._groups:
                group["lr"] = self._factor * group["lr"]


def schedule_ignores_rates(settings: CureSettings, model: nn.Module, factor: float) -> bool:
    """Returns whether the schedule sets its own rates, whatever the optimizer's are."""
    if settings.scheduler is None:
        return False
    scheduled = []
    for times in (1.0, factor):
        optimizer = settings.optimizer(model.parameters())
        for group in optimizer.param_groups:
            group["lr"] = times * group["lr"]
        settings.scheduler(optimizer)
        scheduled.append([float(group["lr"]) for group in optimizer.param_groups])
    return any(not math.isclose(factor * one, other) for one, other in zip(*scheduled))
