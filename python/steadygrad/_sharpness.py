"""The largest eigenvalue of the Hessian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel

from ._batch import first_rows, seeded
from ._device import as_real, norm_of

# The iteration ends where the largest eigenvalue is known to this share of it: of a tenth it may be another one.
_PRODUCTS, _SETTLED = 12, 0.01
# The length of a finite difference over the weights' norm: between rounding (2^-24) and the curvature's own
# change.
_RELATIVE_STEP = 1e-3

_Product = Callable[[Tensor], Tensor]


def sharpness_of(
    model: nn.Module,
    batch: Any,
    rows: Optional[int],
    forward: Callable[[nn.Module, Any], Tensor],
    seed: int,
) -> Optional[tuple[float, float, float, int, int, float]]:
    """By Lanczos' iteration, every vector kept orthogonal; as the native part takes it.

    None where a number is not finite, or the gradient is 0.
    """
    if rows is not None:
        batch = first_rows(batch, rows)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def loss() -> Tensor:
        with seeded(seed):
            return forward(model, batch)

    try:
        start, product = _differentiated_twice(parameters, loss)
        found, step = _lanczos(start, product), 0.0
    except (RuntimeError, _OnceOnly):
        with _moving(parameters, loss) as (start, product):
            found, step = _lanczos(start, product), _RELATIVE_STEP
    return None if found is None else (*found, rows or 0, step)


class _OnceOnly(Exception):
    """Something may have no second derivative, and not say so."""


def _differentiated_twice(
    parameters: list[nn.Parameter], loss: Callable[[], Tensor]
) -> tuple[Tensor, _Product]:
    """The gradient, and what multiplies a vector by the Hessian: of ReLU as well, where a finite difference
    takes a kink for curvature."""
    # Of the kinds of attention the only one that has a second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        value = loss()
    # What such a function's backward pass does by itself is a constant to PyTorch.
    if any(isinstance(node, BackwardCFunction) for node in _nodes(value)):
        raise _OnceOnly
    grads = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
    curved = [place for place, grad in enumerate(grads) if grad is not None and grad.requires_grad]

    def product(vector: Tensor) -> Tensor:
        if not curved:
            return torch.zeros_like(vector)
        parts = _parts(vector, parameters)
        moved = torch.autograd.grad(
            [grads[place] for place in curved],
            parameters,
            [parts[place] for place in curved],
            retain_graph=True,
            allow_unused=True,
        )
        return _flat(moved, parameters)

    return _flat(grads, parameters), product


def _nodes(value: Tensor) -> set[Node]:
    """Of its graph."""
    found: set[Node] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [each for each, _ in node.next_functions]
    return found


@contextmanager
def _moving(
    parameters: list[nn.Parameter], loss: Callable[[], Tensor]
) -> Iterator[tuple[Tensor, _Product]]:
    """The same, by finite differences of the gradient; afterwards the weights are as they were."""
    weights = _flat(parameters, parameters)
    step = _RELATIVE_STEP * norm_of(weights)

    @torch.no_grad()
    def put(at: Tensor) -> None:
        for parameter, part in zip(parameters, _parts(at, parameters)):
            parameter.copy_(part)

    def gradient(at: Tensor) -> Tensor:
        put(at)
        return _flat(torch.autograd.grad(loss(), parameters, allow_unused=True), parameters)

    def product(vector: Tensor) -> Tensor:
        moved = gradient(weights + step * vector)
        return moved.sub_(gradient(weights - step * vector)).div_(2 * step)

    try:
        yield gradient(weights), product
    finally:
        put(weights)


def _flat(values: Iterable[Optional[Tensor]], parameters: list[nn.Parameter]) -> Tensor:
    """One vector of real numbers, in single precision or more."""
    given = [torch.zeros_like(p) if value is None else value for value, p in zip(values, parameters)]
    flat = torch.cat([as_real(value.detach().to_dense()).flatten() for value in given])
    return flat.to(torch.promote_types(flat.dtype, torch.float32))


def _parts(flat: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Of such a vector each parameter's part, in its shape and type."""
    shapes = [as_real(p.detach()).shape for p in parameters]
    parts = []
    for part, shape, parameter in zip(flat.split([s.numel() for s in shapes]), shapes, parameters):
        part = part.view(shape).to(as_real(parameter.detach()).dtype)
        parts.append(torch.view_as_complex(part) if parameter.is_complex() else part)
    return parts


def _lanczos(start: Tensor, product: _Product) -> Optional[tuple[float, float, float, int]]:
    """The largest and the smallest eigenvalue, how far a true one may be from the largest, and the products
    that it took."""
    # The gradient leans towards the steepest bends: fewer products than from a random start.
    norm = norm_of(start)
    if not 0.0 < norm < math.inf:
        return None
    basis, alphas, betas = [start / norm], [], []
    while len(alphas) < min(_PRODUCTS, start.numel()):
        moved = product(basis[-1])
        if not math.isfinite(norm_of(moved)):
            return None
        alphas.append(float(torch.dot(moved, basis[-1])))
        for each in basis:
            moved.sub_(each, alpha=float(torch.dot(moved, each)))
        betas.append(norm_of(moved))
        values, residual = _ritz(alphas, betas)
        if residual <= _SETTLED * abs(values[-1]) or betas[-1] <= 1e-6 * max(map(abs, alphas)):
            break
        basis.append(moved / betas[-1])
    return values[-1], values[0], residual, len(alphas)


def _ritz(alphas: list[float], betas: list[float]) -> tuple[list[float], float]:
    """The eigenvalues of Lanczos' matrix in order, and how far a true one may be from the largest."""
    diagonal = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    beside = torch.diag(torch.tensor(betas[:-1], dtype=torch.float64), 1) if len(alphas) > 1 else 0.0
    values, vectors = torch.linalg.eigh(diagonal + beside, UPLO="U")
    return values.tolist(), abs(betas[-1] * float(vectors[-1, -1]))
