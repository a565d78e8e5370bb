"""One decision for all processes that train together."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor, nn

from ._native import GradientStats


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor (DTensor) that this process holds, in the same memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class Layout:
    """Where a tensor lies: on one device, or sharded over several."""

    def __init__(self, tensor: Tensor) -> None:
        self._device = local(tensor).device
        self._sharded: Optional[dict[str, Any]] = None
        if hasattr(tensor, "placements"):
            self._sharded = {
                "device_mesh": tensor.device_mesh,  # type: ignore[attr-defined]
                "placements": tensor.placements,
                "run_check": False,
                "shape": tensor.shape,
                "stride": tensor.stride(),
            }

    def of(self, part: Tensor) -> Tensor:
        """A tensor that lies so, whose part that this process holds is a copy of this."""
        copied = part.to(self._device, copy=True)
        if self._sharded is None:
            return copied
        from torch.distributed.tensor import DTensor

        return DTensor.from_local(copied, **self._sharded)


class Local:
    """Stands for a sharded parameter where a gradient is read: its `grad` is this process's part."""

    def __init__(self, name: str, parameter: Tensor) -> None:
        self._name, self._parameter = name, parameter

    @property
    def grad(self) -> Optional[Tensor]:
        grad = self._parameter.grad
        if grad is None:
            return None
        if any(placement.is_partial() for placement in getattr(grad, "placements", ())):
            raise RuntimeError(
                f"the gradient of `{self._name}` is still a partial sum: reduce it before guard.step"
            )
        return local(grad)


class Together:
    """Joins what every process measured, so that each judges the whole model and all judge alike.

    One all-reduce of float64 numbers a step: the loss and, of every parameter, the squared norm and
    the counts, weighted so that a value that several processes hold counts once. Sharded gradients
    need one more, for the largest value.

    Raises:
        NotImplementedError: parameters are sharded over some of the processes only, or in FSDP's
            first, flat way.
        RuntimeError: the processes do not hold the same parameters.
    """

    def __init__(
        self, model: Optional[nn.Module], names: Sequence[str], parameters: list[Tensor]
    ) -> None:
        from torch import distributed

        self._all = distributed
        self.rank = distributed.get_rank()
        self.world = distributed.get_world_size()
        _refuse_flat(model)
        on_cpu = "gloo" in distributed.get_backend() or not parameters
        self._device = torch.device("cpu") if on_cpu else local(parameters[0]).device
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
        """The mean loss, and statistics and norms of the whole model."""
        width = 7
        sums = [0.0] * (1 + width * len(names))
        largest = [0.0] * len(names)
        sums[0] = loss / self.world
        for place, norm, max_abs, numel, non_finite, subnormal, zero in stats.rows():
            weight = self._weights[place]
            at = 1 + width * place
            # The last of these tells a gradient with no value here from none.
            measured = (norm * norm, numel, non_finite, subnormal, zero, 1.0)
            sums[at : at + 6] = [weight * value for value in measured]
            largest[place] = max_abs
        for place, norm in weight_norms.items():
            sums[1 + width * place + 6] = self._weights[place] * norm * norm
        sums = self._reduced(sums, self._all.ReduceOp.SUM)
        if self._sharded:
            largest = self._reduced(largest, self._all.ReduceOp.MAX)
        rows, norms = [], {}
        for place in range(len(names)):
            at = 1 + width * place
            square, numel, non_finite, subnormal, zero, held, of_weight = sums[at : at + width]
            if held == 0.0:
                continue
            # A count above 0 that rounds to 0 is still one.
            bad = max(round(non_finite), int(non_finite > 0.0))
            counts = (round(numel), bad, round(subnormal), round(zero))
            rows.append((place, _root(square), largest[place], *counts))
            norms[place] = _root(of_weight)
        return sums[0], GradientStats.of_rows(names, rows), norms

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        return self._reduced([float(here)], self._all.ReduceOp.MAX)[0] > 0.0

    def _reduced(self, values: list[float], operation: object) -> list[float]:
        tensor = self._tensor(values)
        self._all.all_reduce(tensor, operation)
        return tensor.tolist()

    def _tensor(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)


def together(
    model: Optional[nn.Module], names: Sequence[str], parameters: list[Tensor]
) -> Optional[Together]:
    """None where one process trains alone."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    if distributed.get_world_size() == 1:
        return None
    return Together(model, names, parameters)


def _root(square: float) -> float:
    return math.sqrt(square) if square >= 0.0 else math.nan


def _weight(name: str, parameter: Tensor, world: int) -> float:
    """What this process's part counts in a sum over all: 1 over the number that hold the same."""
    placements = getattr(parameter, "placements", None)
    if placements is None:
        return 1.0 / world
    mesh = parameter.device_mesh  # type: ignore[attr-defined]
    if mesh.size() != world:
        raise NotImplementedError(
            f"`{name}` is sharded over {mesh.size()} of {world} processes; the guard joins them all"
        )
    copies = 1
    for dimension, placement in enumerate(placements):
        if placement.is_replicate():
            copies *= mesh.size(dimension)
    return 1.0 / copies


def _refuse_flat(model: Optional[nn.Module]) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    modules = () if model is None else model.modules()
    if any(isinstance(module, FullyShardedDataParallel) for module in modules):
        raise NotImplementedError(
            "FullyShardedDataParallel hides what each process holds; shard with `fully_shard` (FSDP2)"
        )
