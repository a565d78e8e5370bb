"""Joins the measurements of all processes that train together, for one decision."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._native import GradientStats


def local_part(tensor: Tensor) -> Tensor:
    """Returns this process's part of a sharded tensor (DTensor), in the same memory."""
    if not hasattr(tensor, "to_local"):
        return tensor
    part: Tensor = tensor.to_local()
    return part


class Placement:
    """The device of a tensor, or the mesh that it is sharded over."""

    def __init__(self, tensor: Tensor) -> None:
        self._device = local_part(tensor).device
        self._sharded: dict[str, Any] | None = None
        if hasattr(tensor, "placements"):
            self._sharded = {
                "device_mesh": tensor.device_mesh,  # type: ignore[attr-defined]
                "placements": tensor.placements,
                "run_check": False,
                "shape": tensor.shape,
                "stride": tensor.stride(),
            }

    def place(self, part: Tensor) -> Tensor:
        """Returns a tensor placed in this way; this process's part of it is a copy of `part`."""
        copied = part.to(self._device, copy=True)
        if self._sharded is None:
            return copied
        from torch.distributed.tensor import DTensor

        return DTensor.from_local(copied, **self._sharded)


class LocalGradient:
    """Replaces a sharded parameter where a gradient is read: `grad` is this process's part."""

    def __init__(self, name: str, parameter: Tensor) -> None:
        self._name, self._parameter = name, parameter

    @property
    def grad(self) -> Tensor | None:
        grad = self._parameter.grad
        if grad is None:
            return None
        if any(placement.is_partial() for placement in getattr(grad, "placements", ())):
            raise RuntimeError(
                f"the gradient of `{self._name}` is still a partial sum: reduce it before "
                "`guard.step`"
            )
        return local_part(grad)


class Processes:
    """All processes that train one model together.

    Each step takes one all-reduce of float64 numbers: the loss and, for every parameter, the
    squared norm and the counts. They are weighted so that a value held by several processes counts
    once. Sharded gradients need a second all-reduce, for the largest value. Every process then
    judges the whole model, and all reach the same decision.

    Raises:
        NotImplementedError: parameters are sharded over only some of the processes, or by FSDP1.
        RuntimeError: the processes do not hold the same parameters.
    """

    def __init__(
        self, model: nn.Module | None, names: Sequence[str], parameters: list[Tensor]
    ) -> None:
        from torch import distributed

        self._distributed = distributed
        self.rank = distributed.get_rank()
        self.world = distributed.get_world_size()
        _refuse_flat(model)
        on_cpu = "gloo" in distributed.get_backend() or not parameters
        self._device = torch.device("cpu") if on_cpu else local_part(parameters[0]).device
        self._weights = [
            _weight(name, parameter, self.world) for name, parameter in zip(names, parameters)
        ]
        self._sharded = any(hasattr(parameter, "placements") for parameter in parameters)
        digest = float(zlib.crc32("\n".join(names).encode()))
        seen = self._tensor([digest, -digest])
        distributed.all_reduce(seen, distributed.ReduceOp.MAX)
        if seen[0] != -seen[1]:
            raise RuntimeError(
                "the processes do not guard the same parameters: give every rank the same model"
            )

    def join(
        self,
        loss: float,
        names: tuple[str, ...],
        stats: GradientStats,
        weight_norms: dict[int, float],
    ) -> tuple[float, GradientStats, dict[int, float]]:
        """Returns the mean loss, and statistics and weight norms of the whole model."""
        width = 7
        sums = [0.0] * (1 + width * len(names))
        largest = [0.0] * len(names)
        sums[0] = loss / self.world
        for place, norm, max_abs, *counts in stats.rows():
            weight = self._weights[place]
            at = 1 + width * place
            # The 1.0 marks a gradient: it may have no value in this process's part.
            measured = (norm * norm, *counts, 1.0)
            sums[at : at + 6] = [weight * value for value in measured]
            largest[place] = max_abs
        for place, norm in weight_norms.items():
            sums[1 + width * place + 6] = self._weights[place] * norm * norm
        sums = self._reduced(sums, self._distributed.ReduceOp.SUM)
        if self._sharded:
            largest = self._reduced(largest, self._distributed.ReduceOp.MAX)
        rows, norms = [], {}
        for place in range(len(names)):
            at = 1 + width * place
            square, numel, non_finite, subnormal, zero, present = sums[at : at + 6]
            if present == 0.0:
                continue
            # A positive count must not round to 0.
            bad = max(round(non_finite), int(non_finite > 0.0))
            joined = (round(numel), bad, round(subnormal), round(zero))
            rows.append((place, _root(square), largest[place], *joined))
            norms[place] = _root(sums[at + 6])
        return sums[0], GradientStats.of_rows(names, rows), norms

    def any(self, here: bool) -> bool:
        """Returns whether `here` is true in any process."""
        return self._reduced([float(here)], self._distributed.ReduceOp.MAX)[0] > 0.0

    def _reduced(self, values: list[float], operation: Any) -> list[float]:
        tensor = self._tensor(values)
        self._distributed.all_reduce(tensor, operation)
        reduced: list[float] = tensor.tolist()
        return reduced

    def _tensor(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)


def join_processes(
    model: nn.Module | None, names: Sequence[str], parameters: list[Tensor]
) -> Processes | None:
    """Returns the processes that train together, or None if one process trains alone."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    if distributed.get_world_size() == 1:
        return None
    return Processes(model, names, parameters)


def _root(square: float) -> float:
    return math.sqrt(square) if square >= 0.0 else math.nan


def _weight(name: str, parameter: Tensor, world: int) -> float:
    """Returns the weight of this process's part in a sum: 1 / the number of equal copies."""
    placements = getattr(parameter, "placements", None)
    if placements is None:
        return 1.0 / world
    mesh = parameter.device_mesh  # type: ignore[attr-defined]
    if mesh.size() != world:
        raise NotImplementedError(
            f"`{name}` is sharded over {mesh.size()} of {world} processes; shard it over all"
        )
    copies = 1
    for dimension, placement in enumerate(placements):
        if placement.is_replicate():
            copies *= mesh.size(dimension)
    return 1.0 / copies


def _refuse_flat(model: nn.Module | None) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    modules = () if model is None else model.modules()
    if any(isinstance(module, FullyShardedDataParallel) for module in modules):
        raise NotImplementedError(
            "FullyShardedDataParallel hides what each process holds; shard with `fully_shard` "
            "(FSDP2)"
        )
