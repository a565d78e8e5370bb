"""Measures one training step: its loss, gradients and weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from .. import _native
from .._gradients.device import PendingReading
from .._gradients.reader import READER, collect, norms_of, scale_by_torch
from .._gradients.stats import measuring_clipper
from .._native import GradientStats
from .ahead import StepAhead
from .arguments import is_scalar, loss_as_number
from .distributed import LocalGradient, Processes, local_part


class StepMeasurement(NamedTuple):
    """What was measured of one step."""

    loss: float
    stats: GradientStats
    weight_norms: dict[int, float]
    """Norms of the weights that have a gradient, by the parameter's position."""
    stepped: bool = False
    """Whether a device has applied the step already."""


class StepMeasurer:
    """Measures the gradients of named parameters, of the whole model if processes share it."""

    def __init__(
        self,
        pairs: list[tuple[str, Tensor]],
        optimizers: list[Optimizer],
        processes: Processes | None,
    ) -> None:
        self.names = tuple(name for name, _ in pairs)
        self._parameters = [parameter for _, parameter in pairs]
        self._processes = processes
        # Gradients of a sharded parameter are read from this process's part.
        self._sources: list[Any] = [
            LocalGradient(name, p) if hasattr(p, "placements") else p for name, p in pairs
        ]
        self.sharded = any(isinstance(source, LocalGradient) for source in self._sources)
        self._clipper = measuring_clipper()
        # Several processes must agree on a step first.
        self._ahead = StepAhead(optimizers) if processes is None else None

    def measure(
        self, loss: Tensor | float, native: _native.Guard, learning_rate: float | None
    ) -> StepMeasurement:
        """Measures this step.

        Args:
            learning_rate: if given, a device may apply a step that `native` is sure to keep.
        """
        if not self._parameters or self._parameters[0].is_cpu:
            measured = self._measure_on_cpu(loss)
        else:
            measured = self._measure_on_device(loss, native, learning_rate)
        if self._processes is None:
            return measured
        joined = self._processes.join(
            measured.loss, self.names, measured.stats, measured.weight_norms
        )
        return StepMeasurement(*joined, measured.stepped)

    def scale(self, coefficient: float) -> None:
        """Multiplies all gradients by one factor."""
        gradients = collect(self._sources)
        gradients.scale(coefficient)
        scale_by_torch(gradients.rest, coefficient)

    def forget_last(self) -> None:
        """Forgets the last reading: something else than an optimizer writes the weights."""
        if self._ahead is not None:
            self._ahead.forget()

    def _measure_on_cpu(self, loss: Tensor | float) -> StepMeasurement:
        loss = loss_as_number(loss)
        stats = self._clipper.clip(READER, self._sources, self.names, torch.get_num_threads(), None)
        places = [place for place, p in enumerate(self._parameters) if p.grad is not None]
        return StepMeasurement(loss, stats, dict(zip(places, norms_of(self._weights(places)))))

    def _measure_on_device(
        self, loss: Tensor | float, native: _native.Guard, learning_rate: float | None
    ) -> StepMeasurement:
        """Waits once for the loss, the gradients and the weights."""
        grads = [source.grad for source in self._sources]
        places = [place for place, grad in enumerate(grads) if grad is not None]
        tensors = [grads[place] for place in places] + self._weights(places)
        loss = loss if is_scalar(loss) else loss_as_number(loss)
        pending = PendingReading(READER, tensors, loss if isinstance(loss, Tensor) else None)
        copied, stepped = None, False
        if self._ahead is not None and self._ahead.can_step():
            bounds = None if learning_rate is None else native.quiet(learning_rate)
            copied, stepped = self._ahead.step(pending, places, bounds)
        reading, value = pending.read(copied)
        stats = GradientStats.of_reading(self.names, places, reading)
        norms = dict(zip(places, reading.norms(len(places))))
        value = value if isinstance(loss, Tensor) else float(loss)
        return StepMeasurement(value, stats, norms, stepped)

    def _weights(self, places: list[int]) -> list[Tensor]:
        tensors = [self._parameters[place] for place in places]
        if self.sharded:
            return [local_part(tensor.detach()) for tensor in tensors]
        return tensors
