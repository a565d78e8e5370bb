"""Measures the untrained model, and what it has to reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .._probe.measure import ModelMeasurements, measure_model
from .models import ModelFactory
from .settings import AN_OPTIMIZER, CureData, CureSettings
from .task import accuracy, evaluate, most_frequent


@dataclass(frozen=True)
class Goal:
    """The metric, and the values that count."""

    name: str
    metric: Callable[[Any, Any], Any]
    goal: float
    """The value that counts as solved."""
    trivial: float
    """The value without training."""


@dataclass(frozen=True)
class TaskMeasurements:
    """What all trials share: the measured model, its goal and its optimizer."""

    model: ModelMeasurements
    goal: Goal
    optimizer: str
    learning_rate: float
    momentum: float

    def task(self, settings: CureSettings, data: CureData) -> dict[str, Any]:
        """Returns the fields that the native part expects."""
        return {
            "metric": self.goal.name,
            "goal": self.goal.goal,
            "trivial": self.goal.trivial,
            "training_samples": len(data.training),
            "validation_samples": len(data.validation),
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "steps": settings.steps,
        }


def measure_task(
    settings: CureSettings,
    data: CureData,
    factory: ModelFactory,
    metric: Callable[[Any, Any], Any] | None,
    goal: float | None,
) -> TaskMeasurements:
    """Measures the untrained model at the first seed.

    Raises:
        TypeError: `optimizer` does not return an optimizer.
        ValueError: a metric or a goal is missing or out of range, or the optimizer or its schedule
            needs more than a step.
    """
    settings.say("measure")
    model = factory.make(settings.seed)
    aim = _goal(settings, data, model, metric, goal)
    factory.warn_of_fixed_seeds(model)
    optimizer = _make_optimizer(settings, model)
    measured = measure_model(model, data.first, settings.loss_fn, optimizer, settings.seed)
    group = max(optimizer.param_groups, key=lambda group: float(group["lr"]))
    learning_rate = float(group["lr"])
    if not learning_rate > 0.0:
        raise ValueError(f"the optimizer's learning rate is {learning_rate}; give one above 0")
    return TaskMeasurements(
        measured,
        aim,
        type(optimizer).__name__.lower(),
        learning_rate,
        float(group.get("momentum", 0.0)),
    )


def _goal(
    settings: CureSettings,
    data: CureData,
    model: nn.Module,
    metric: Callable[[Any, Any], Any] | None,
    goal: float | None,
) -> Goal:
    if metric is None:
        trivial = most_frequent(data.validation, settings.batch_size)
        goal = trivial + 0.5 * (1.0 - trivial) if goal is None else goal
        if not trivial < goal <= 1.0:
            raise ValueError(
                f"`goal` is {goal}; give an accuracy of at most 1, and above {trivial:.4g}: "
                "the share of the most frequent class"
            )
        return Goal("accuracy", accuracy, float(goal), trivial)
    if goal is None:
        raise ValueError("`goal` is missing: the value of `metric` that counts as solved")
    trivial = evaluate(model, data.validation, settings.batch_size, metric)
    if not math.isfinite(trivial):
        raise ValueError(
            f"`metric` of the untrained model is {trivial}; give one that is finite there"
        )
    return Goal("metric", metric, float(goal), trivial)


def _make_optimizer(settings: CureSettings, model: nn.Module) -> Optimizer:
    optimizer = settings.optimizer(model.parameters())
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"`optimizer` gave a {type(optimizer).__name__}; give {AN_OPTIMIZER}")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            "LBFGS runs the model itself, several times a step; give an optimizer that does not"
        )
    scheduler = settings.scheduler
    if scheduler is not None and isinstance(scheduler(optimizer), ReduceLROnPlateau):
        raise ValueError(
            "ReduceLROnPlateau needs a metric; give a `scheduler` that steps without one"
        )
    # A fresh one, since a schedule changes its optimizer.
    return settings.optimizer(model.parameters())
