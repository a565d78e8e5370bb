"""Runs trials of one model on its data."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import nn

from .. import _native
from .._probe.batch import seeded
from .measure import TaskMeasurements
from .models import ModelFactory
from .remedies import STRONGEST
from .remedies.applied import AppliedRemedy, RemedyRefused
from .settings import CureData, CureSettings
from .surgery import apply_remedy
from .trial import TrialPlan, TrialResult, run_trial

# The learning rates that are tried to find a trial's margin, as multiples of its own, and the share
# of the steps that each takes, but at least this many.
_MARGINS, _MARGIN_SHARE, _MARGIN_MIN_STEPS = (2.0, 4.0, 8.0, 16.0), 20, 20


class Bench:
    """Runs trials with the same settings, data and measurements."""

    def __init__(
        self,
        settings: CureSettings,
        data: CureData,
        factory: ModelFactory,
        measured: TaskMeasurements,
    ) -> None:
        self._settings, self._data = settings, data
        self._factory, self._measured = factory, measured
        self._baseline_work: float | None = None
        self.changes: dict[str, str] = {}
        """What the remedy of each trial changed, by the trial's name."""

    def supported_remedies(self) -> list[str]:
        """Returns the remedies that change only numbers, and those that this model can take."""
        return [kind for kind, parameters in STRONGEST.items() if self._supports(kind, parameters)]

    def _supports(self, kind: str, parameters: dict[str, Any] | None) -> bool:
        if parameters is None:
            return True
        try:
            self._apply(self._factory.make(self._settings.seed), {"kind": kind} | parameters)
        except RemedyRefused:
            return False
        return True

    def run(
        self,
        name: str,
        remedy: dict[str, Any] | None,
        seed: int,
        folder: str,
        margin: bool = False,
    ) -> _native.Outcome:
        """Runs one trial; with `margin`, also finds the largest learning rate that it bears.

        Raises:
            RemedyRefused: the model cannot take the remedy.
        """
        begin = time.perf_counter()
        settings = self._settings
        path = None if settings.out is None else os.path.join(settings.out, folder)
        plan = TrialPlan(name, seed, settings.steps, observe=remedy is None, folder=path)
        result = self._run(plan, remedy)
        self.changes[name] = result.changes
        outcome = result.outcome
        if margin and outcome.survived:
            outcome = outcome.with_margin(self._find_margin(name, remedy, seed))
        seconds = time.perf_counter() - begin
        metric = outcome.validation_metric
        settings.say(f"{name}: {outcome.verdict}, {metric:.4g} ({seconds:.1f} s)")
        return outcome

    def _find_margin(self, name: str, remedy: dict[str, Any] | None, seed: int) -> float:
        margin = 1.0
        for factor in _MARGINS:
            steps = max(self._settings.steps // _MARGIN_SHARE, _MARGIN_MIN_STEPS)
            plan = TrialPlan(name, seed, steps, rate_factor=factor)
            if not self._run(plan, remedy).outcome.survived:
                break
            margin = factor
        return margin

    def _run(self, plan: TrialPlan, remedy: dict[str, Any] | None) -> TrialResult:
        model = self._factory.make(plan.seed)
        applied = AppliedRemedy() if remedy is None else self._apply(model, remedy)
        result = run_trial(
            plan,
            model,
            applied,
            self._settings,
            self._data,
            self._measured,
            self._baseline_work,
        )
        if remedy is None and self._baseline_work is None:
            self._baseline_work = result.work
        return result

    def _apply(self, model: nn.Module, remedy: dict[str, Any]) -> AppliedRemedy:
        """Applies the remedy, and runs the model once with it."""
        applied = apply_remedy(model, self._measured.model.chain, remedy)
        try:
            with torch.no_grad(), seeded(self._settings.seed):
                self._data.forward(model, self._data.first)
        except (RuntimeError, TypeError, ValueError) as error:
            raise RemedyRefused(f"with it the model does not run: {error}") from error
        return applied
