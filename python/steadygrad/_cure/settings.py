"""The settings of all runs of one `cure`, and their checks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .._probe.batch import forward_of
from .task import Rows

# The share of the samples that is held out without validation data, and the fewest samples for it:
# with fewer, at most one sample would be held out, and the metric would be chance.
_HELD_OUT, _MIN_SAMPLES = 0.2, 10

A_BUILD = "a function that makes a new, untrained module at each call: `lambda: Model(...)`"
AN_OPTIMIZER = (
    "a function from parameters to one optimizer: "
    "`lambda parameters: torch.optim.SGD(parameters, lr=0.1)`"
)

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler: TypeAlias = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True)
class CureSettings:
    """What the user gave `cure`, checked."""

    build: Callable[[], nn.Module]
    loss_fn: Callable[..., Tensor]
    optimizer: MakeOptimizer
    scheduler: MakeScheduler | None
    steps: int
    batch_size: int
    seed: int
    out: str | None
    """The folder for the record of every run."""
    verbose: bool

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, batch_size=self.batch_size)
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"`seed` is {self.seed!r}; give a whole number from 0 on")
        for name, given, kind, expected in (
            ("build", self.build, nn.Module, A_BUILD),
            ("optimizer", self.optimizer, Optimizer, AN_OPTIMIZER),
        ):
            if isinstance(given, kind) or not callable(given):
                raise TypeError(f"`{name}` is a {type(given).__name__}; give {expected}")

    def say(self, what: str) -> None:
        """Prints a line of progress on the standard error, if `verbose`."""
        if self.verbose:
            print(f"steadygrad: {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class CureData:
    """The rows to train and to validate on."""

    training: Rows
    validation: Rows
    first: Any
    """The first batch of the first run."""
    forward: Callable[[nn.Module, Any], Tensor]
    """From a model and a batch to the loss."""


def check_counts(**counts: int) -> None:
    """Checks that each is a whole number from 1 on.

    Raises:
        ValueError: one is not.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"`{name}` is {count!r}; give a whole number from 1 on")


def empty_folder(out: str | os.PathLike[str] | None) -> str | None:
    """Makes the folder before any run.

    Raises:
        FileExistsError: the folder is not empty.
    """
    if out is None:
        return None
    folder = os.fspath(out)
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise FileExistsError(f"{folder} is not empty: give a new folder for the results")
    return folder


def split_data(settings: CureSettings, data: Any, validation: Any) -> CureData:
    """Returns the rows to train and to validate on.

    Raises:
        TypeError: the data have another type.
        ValueError: there are too few samples to hold some out.
    """
    training = Rows(data)
    if validation is not None:
        held_out = Rows(validation)
    elif (samples := len(training)) < _MIN_SAMPLES:
        raise ValueError(
            f"`data` holds {samples} sample{'s' * (samples != 1)}, of which a fifth would be held "
            f"out for validation; give at least {_MIN_SAMPLES}, or `validation`"
        )
    else:
        generator = torch.Generator().manual_seed(settings.seed)
        training, held_out = training.split(_HELD_OUT, generator)
    first = next(training.batches(settings.batch_size, settings.seed))
    return CureData(training, held_out, first, forward_of(first, settings.loss_fn))
