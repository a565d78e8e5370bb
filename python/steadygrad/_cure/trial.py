"""Trains a model once, with or without a remedy."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import _native
from .._gradients.reader import norms_of
from .._gradients.stats import gradient_stats
from .._probe.batch import seeded
from .._probe.work import OperationCounter
from .measure import TaskMeasurements
from .rates import ScaledRates, schedule_ignores_rates
from .remedies.applied import AppliedRemedy
from .settings import CureData, CureSettings
from .task import evaluate


@dataclass(frozen=True)
class TrialPlan:
    """How one trial is run."""

    name: str
    seed: int
    steps: int
    rate_factor: float = 1.0
    """The factor on all learning rates, on top of the remedy's."""
    observe: bool = False
    """Whether training continues after a value that is not finite."""
    folder: str | None = None
    """Where the record is written."""


@dataclass(frozen=True)
class TrialResult:
    """The outcome of one trial."""

    outcome: _native.Outcome
    work: float
    """Floating-point operations of the first step; NaN if it did not run."""
    changes: str
    """What the remedy changed, in words."""


def run_trial(
    plan: TrialPlan,
    model: nn.Module,
    applied: AppliedRemedy,
    settings: CureSettings,
    data: CureData,
    measured: TaskMeasurements,
    baseline_work: float | None,
) -> TrialResult:
    """Trains the model, to which the remedy was applied.

    Args:
        baseline_work: the operations of one step of the baseline; None if this is the baseline.
    """
    optimizer = settings.optimizer(model.parameters())
    factor, changes = plan.rate_factor, applied.changes
    if applied.learning_rate is not None:
        lower = applied.learning_rate / measured.learning_rate
        factor *= lower
        if schedule_ignores_rates(settings, model, lower):
            changes = (
                "Here the schedule sets the rates itself: multiply its own (`max_lr`, say) by "
                f"{lower:.12g}, and leave the optimizer as it is."
            )
    names = [name for name, _ in model.named_parameters()]
    trial = _native.Trial(plan.observe, applied.max_norm, plan.folder, plan.name, names)
    loop = _Loop(model, optimizer, ScaledRates(optimizer, settings.scheduler, factor))
    with seeded(plan.seed):
        batches = data.training.batches(settings.batch_size, plan.seed)
        loop.train(trial, data, batches, plan.steps, applied)
    reference = loop.work if baseline_work is None else baseline_work
    # Without a counted operation, the cost counts as equal.
    relative = loop.work / reference if loop.work > 0 and reference > 0 else 1.0
    goal, validated = measured.goal, math.nan
    if trial.completed:
        validated = evaluate(model, data.validation, settings.batch_size, goal.metric)
    outcome = trial.finish(validated, goal.goal, goal.trivial, relative, loop.seconds)
    return TrialResult(outcome, loop.work, changes)


class _Loop:
    """The training loop of a trial, with its cost so far."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, rates: ScaledRates) -> None:
        self._model, self._optimizer, self._rates = model, optimizer, rates
        self._parameters = list(model.parameters())
        self.work, self.seconds = math.nan, 0.0

    def train(
        self,
        trial: _native.Trial,
        data: CureData,
        batches: Iterator[Any],
        steps: int,
        applied: AppliedRemedy,
    ) -> None:
        """Runs the steps, until the trial ends."""
        for step in range(steps):
            begin = time.perf_counter()
            self._optimizer.zero_grad()
            loss = self._backward(data, next(batches), count=step == 0)
            ends = self._step(trial, step, loss, applied)
            self._rates.step()
            self.seconds += time.perf_counter() - begin
            if ends:
                break

    def _backward(self, data: CureData, batch: Any, count: bool) -> Tensor:
        if not count:
            loss = data.forward(self._model, batch)
            loss.backward()
            return loss
        with OperationCounter() as counter:
            loss = data.forward(self._model, batch)
            loss.backward()
        self.work = float(counter.operations)
        return loss

    def _step(self, trial: _native.Trial, step: int, loss: Tensor, applied: AppliedRemedy) -> bool:
        """Judges the step, applies it if it may be, and returns whether the trial ends."""
        stats = gradient_stats(self._model)
        weights = [p.detach() for p in self._parameters if p.grad is not None]
        rate = max(float(group["lr"]) for group in self._optimizer.param_groups)
        applies, coefficient, ends = trial.step(
            step, float(loss.detach()), rate, stats, norms_of(weights)
        )
        if applies:
            if coefficient != 1.0:
                grads = [p.grad for p in self._parameters if p.grad is not None]
                torch._foreach_mul_(grads, coefficient)
            self._optimizer.step()
            if applied.after_step is not None:
                applied.after_step(self._optimizer)
        return ends
