"""Statistics of any tensor by PyTorch's own operators."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .rows import Row


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """Returns the type in which sums are accumulated: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def norm_of(tensor: Tensor) -> float:
    """Returns the L2 norm of a dense tensor, real or complex, in float64 where possible."""
    tensor = as_real(tensor.detach())
    if accumulation_dtype(tensor.device) == torch.float64:
        return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
    magnitude = tensor.abs()
    norm, _, unit = _sizes(magnitude, magnitude.isfinite()).tolist()
    return float(norm * unit)


def as_real(tensor: Tensor) -> Tensor:
    """Returns complex values as pairs of real ones, without a copy where the memory allows it."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def rows_by_operators(tensors: list[Tensor]) -> list[Row]:
    """Returns one row per tensor, and waits once for each device.

    Parts of a sharded tensor (`DTensor`) are joined: every process must call this then.
    """
    groups: dict[Any, list[int]] = {}
    parts = [_local_part(tensor.detach()) for tensor in tensors]
    reduced = [_reduce(each.part) for each in parts]
    for place, (sizes, _) in enumerate(reduced):
        # A tensor subclass may not stack with plain tensors.
        key = (sizes.device, parts[place].sharding) if type(sizes) is Tensor else place
        groups.setdefault(key, []).append(place)
    rows: list[Row] = [(0.0, 0.0, 0, 0, 0, 0)] * len(tensors)
    for places in groups.values():
        sizes, counts = (torch.stack(each) for each in zip(*(reduced[p] for p in places)))
        if (sharding := parts[places[0]].sharding) is not None:
            sizes, counts = _join(sharding, sizes, counts)
        for place, (norm, largest, unit), count in zip(places, sizes.tolist(), counts.tolist()):
            numel = tensors[place].numel() * (2 if tensors[place].is_complex() else 1)
            non_finite, subnormal, non_zero = count
            rows[place] = (norm * unit, largest, numel, non_finite, subnormal, numel - non_zero)
    return rows


class _LocalPart(NamedTuple):
    """This process's part of a tensor, and its mesh and placements if the tensor is sharded."""

    part: Tensor
    sharding: tuple[Any, tuple[Any, ...]] | None = None


def _local_part(tensor: Tensor) -> _LocalPart:
    if not hasattr(tensor, "placements"):
        return _LocalPart(tensor)
    from torch.distributed.tensor import Replicate, Shard

    # A partial sum must be summed first: no part of it tells the norm.
    summed = [Replicate() if each.is_partial() else each for each in tensor.placements]
    tensor = tensor.redistribute(placements=summed)  # type: ignore[attr-defined]
    local: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    if all(each.is_replicate() for each in summed):
        return _LocalPart(local)
    rows = tuple(each if each.is_replicate() else Shard(0) for each in summed)
    return _LocalPart(local, (tensor.device_mesh, rows))  # type: ignore[attr-defined]


def _join(
    sharding: tuple[Any, tuple[Any, ...]], sizes: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Combines the sizes and counts of all processes' parts."""
    from torch.distributed.tensor import DTensor

    parts = [DTensor.from_local(each[None], *sharding, run_check=False) for each in (sizes, counts)]
    sizes, counts = (each.full_tensor() for each in parts)
    norms = torch.linalg.vector_norm(sizes[..., 0] * sizes[..., 2], dim=0)
    largest = sizes[..., 1].amax(0)
    return torch.stack([norms, largest, torch.ones_like(norms)], dim=-1), counts.sum(0)


def _reduce(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sizes of one tensor, and its non-finite, subnormal and non-zero counts."""
    if tensor.layout != torch.strided:
        tensor = (
            tensor.coalesce().values() if tensor.layout == torch.sparse_coo else tensor.values()
        )
    magnitude = as_real(tensor).abs()
    finite = magnitude.isfinite()
    subnormal = (magnitude < torch.finfo(magnitude.dtype).tiny) & (magnitude > 0)
    counts = torch.stack([each.sum() for each in (~finite, subnormal, magnitude != 0)])
    return _sizes(magnitude, finite), counts


def _sizes(magnitude: Tensor, finite: Tensor) -> Tensor:
    """Returns the norm in units, the largest finite value, and the unit."""
    wide = accumulation_dtype(magnitude.device)
    largest = magnitude.where(finite, 0.0).max() if magnitude.numel() else magnitude.sum()
    largest, unit = largest.to(wide), torch.ones_like(largest, dtype=wide)
    if wide != torch.float64:
        # The squares of float32 values overflow long before the values do.
        unit = largest.where(largest > 0, 1.0)
        magnitude = magnitude.to(wide) / unit
    return torch.stack([torch.linalg.vector_norm(magnitude, dtype=wide), largest, unit])
