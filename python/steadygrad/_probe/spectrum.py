"""Factors of the product of Jacobians through a model's layers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .chain import Stage

# Exponents of the product of Jacobians, and samples that they are averaged over.
_EXPONENTS, SAMPLES = 4, 4
# Up to this width and this number of gradients, whole Jacobians are computed. Beyond, a few random
# directions are propagated through them.
_MAX_WIDTH, _MAX_GRADIENTS = 64, 2000


@dataclass(frozen=True)
class _Plan:
    """How many directions are propagated, for how many samples."""

    samples: int
    width: int
    widths: list[int]
    vectors: int
    leading: int
    whole: bool
    """Whether the directions are a basis, so that the results are the Jacobians."""


def measure_spectrum(stages: list[Stage], seed: int, skips: bool) -> dict[str, Any]:
    """Returns factors of the product of Jacobians, from the last stage back to the first.

    A factor is a whole Jacobian, or the triangle R of a QR decomposition after a few directions
    were propagated through it. With `skips`, the mean diagonal of the Jacobians is estimated too.
    The result has the fields that the native part expects; `factors` is empty if the stages do not
    depend on each other.
    """
    widths = [sum(t[0].numel() for t in s.tensors) for s in stages if s.tensors[0].ndim > 1]
    nothing: dict[str, Any] = {
        "factors": [],
        "failed_samples": 0,
        "vectors": 1,
        "width": max(widths, default=1),
        "skip_share": None,
        "leading": 1,
    }
    rows = {stage.tensors[0].shape[0] for stage in stages if stage.tensors[0].ndim > 1}
    if len(stages) < 2 or len(widths) < len(stages) or len(rows) != 1:
        return nothing
    width = min(widths)
    whole = width == max(widths) <= _MAX_WIDTH and width * len(stages) <= _MAX_GRADIENTS
    leading = min(_EXPONENTS, width)
    vectors = width if whole else leading
    plan = _Plan(min(SAMPLES, rows.pop()), width, widths, vectors, leading, whole)
    return _propagate(stages, plan, seed, skips) or nothing


def _propagate(stages: list[Stage], plan: _Plan, seed: int, skips: bool) -> dict[str, Any] | None:
    """Returns the fields, or None if a later stage does not depend on an earlier one."""
    samples, vectors = plan.samples, plan.vectors
    generator = torch.Generator().manual_seed(seed)
    shape = samples, plan.widths[-1], vectors
    start = torch.randn(shape, generator=generator, dtype=torch.float64)
    basis = torch.eye(plan.width, dtype=torch.float64).expand(samples, -1, -1)
    block = basis if plan.whole else torch.linalg.qr(start).Q
    factors: list[list[list[float]]] = [[] for _ in range(samples)]
    diagonals: list[float] = []
    failed: set[int] = set()
    for after, before in pairwise(reversed(stages)):
        columns = [_pull_back(before, after, block[:, :, c], samples) for c in range(vectors)]
        if skips and before.tensors[0].shape == after.tensors[0].shape:
            signs = torch.randint(2, (samples, block.shape[1]), generator=generator) * 2.0 - 1.0
            pulled = _pull_back(before, after, signs.double(), samples)
            if pulled is not None:
                # Hutchinson: for random signs v, the mean of `v J v` is the trace.
                diagonals += (signs * pulled).mean(1).tolist()
        if any(column is None for column in columns):
            return None
        moved = torch.stack(columns, dim=-1)  # type: ignore[arg-type]
        for sample in range(samples):
            if not moved[sample].isfinite().all() or not moved[sample].any():
                failed.add(sample)
                moved[sample] = torch.eye(moved.shape[1], vectors, dtype=torch.float64)
        block, factor = (basis, moved) if plan.whole else torch.linalg.qr(moved)
        for sample in range(samples):
            factors[sample].append(factor[sample].T.flatten().tolist())
    return {
        "factors": [each for sample, each in enumerate(factors) if sample not in failed],
        "failed_samples": len(failed),
        "vectors": vectors,
        "leading": plan.leading,
        "width": plan.width,
        "skip_share": _mean(filter(math.isfinite, diagonals)),
    }


def _mean(values: Iterable[float]) -> float | None:
    given = list(values)
    return sum(given) / len(given) if given else None


def _pull_back(before: Stage, after: Stage, column: Tensor, samples: int) -> Tensor | None:
    """Returns `J^T v` for each sample, or None if `after` does not depend on `before`.

    One backward pass serves all samples, since a batch's rows mix in batch normalisation alone.
    """
    gradients, at = [], 0
    for tensor in after.tensors:
        width = tensor[0].numel()
        full = torch.zeros_like(tensor)
        part = column[:, at : at + width].reshape(samples, *tensor.shape[1:])
        full[:samples] = part.to(tensor)
        gradients.append(full)
        at += width
    pulled = torch.autograd.grad(
        after.tensors, before.tensors, gradients, retain_graph=True, allow_unused=True
    )
    if all(part is None for part in pulled):
        return None
    parts = [
        torch.zeros_like(tensor) if part is None else part
        for part, tensor in zip(pulled, before.tensors)
    ]
    return torch.cat([part[:samples].reshape(samples, -1).cpu().double() for part in parts], dim=1)
