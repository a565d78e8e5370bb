"""The sharpness: the largest eigenvalue of the Hessian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._gradients.operators import as_real, norm_of
from .batch import seeded

# The most products, and the relative error of the largest eigenvalue at which the iteration ends.
# With a tenth, the iteration can settle on another eigenvalue.
_PRODUCTS, _SETTLED = 12, 0.01
# The length of a finite difference relative to the weights' norm: well above rounding (2^-24), and
# short enough that the curvature hardly changes.
_RELATIVE_STEP = 1e-3

_Product: TypeAlias = Callable[[Tensor], Tensor]


def sharpness_of(
    model: nn.Module,
    batch: Any,
    rows: int | None,
    forward: Callable[[nn.Module, Any], Tensor],
    seed: int,
) -> tuple[float, float, float, int, int, float] | None:
    """Returns the sharpness by a Lanczos iteration with full reorthogonalisation.

    `rows` is the number of rows of the batch, if it has any. The result is largest and smallest
    eigenvalue, residual, products, rows and relative step, as the native part expects them. None
    if a number is not finite, or the gradient is 0.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]

    def loss() -> Tensor:
        with seeded(seed):
            return forward(model, batch)

    try:
        start, product = _differentiated_twice(parameters, loss)
        found, step = _lanczos(start, product), 0.0
    except (RuntimeError, _NotTwiceDifferentiable):
        with _by_differences(parameters, loss) as (start, product):
            found, step = _lanczos(start, product), _RELATIVE_STEP
    return None if found is None else (*found, rows or 0, step)


class _NotTwiceDifferentiable(Exception):
    """A function in the graph may have no second derivative without raising an error."""


def _differentiated_twice(
    parameters: list[nn.Parameter], loss: Callable[[], Tensor]
) -> tuple[Tensor, _Product]:
    """Returns the gradient, and the function that multiplies a vector by the Hessian.

    It is exact for ReLU, where a finite difference mistakes a kink for curvature.
    """
    # The only implementation of attention that has a second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        value = loss()
    # PyTorch treats what a custom backward pass computes as a constant.
    if any(isinstance(node, BackwardCFunction) for node in _nodes(value)):
        raise _NotTwiceDifferentiable
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
    """Returns all nodes of the value's graph."""
    found: set[Node] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [each for each, _ in node.next_functions]
    return found


@contextmanager
def _by_differences(
    parameters: list[nn.Parameter], loss: Callable[[], Tensor]
) -> Iterator[tuple[Tensor, _Product]]:
    """Does the same by finite differences of the gradient, and restores the weights at the end."""
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


def _flat(values: Iterable[Tensor | None], parameters: list[nn.Parameter]) -> Tensor:
    """Returns one vector of real numbers, in float32 or wider."""
    given = [torch.zeros_like(p) if v is None else v for v, p in zip(values, parameters)]
    flat = torch.cat([as_real(value.detach().to_dense()).flatten() for value in given])
    return flat.to(torch.promote_types(flat.dtype, torch.float32))


def _parts(flat: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Splits such a vector into each parameter's part, in its shape and type."""
    shapes = [as_real(p.detach()).shape for p in parameters]
    parts = []
    for part, shape, parameter in zip(flat.split([s.numel() for s in shapes]), shapes, parameters):
        part = part.view(shape).to(as_real(parameter.detach()).dtype)
        parts.append(torch.view_as_complex(part) if parameter.is_complex() else part)
    return parts


def _lanczos(start: Tensor, product: _Product) -> tuple[float, float, float, int] | None:
    """Returns the largest and the smallest eigenvalue, the residual, and the number of products.

    A true eigenvalue lies within the residual of the largest one.
    """
    # The gradient points towards the steepest curvature: a random start needs more products.
    norm = norm_of(start)
    if not 0.0 < norm < math.inf:
        return None
    basis = [start / norm]
    alphas: list[float] = []
    betas: list[float] = []
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
    """Returns the eigenvalues of Lanczos' matrix in order, and the residual of the largest."""
    matrix = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    if len(alphas) > 1:
        matrix += torch.diag(torch.tensor(betas[:-1], dtype=torch.float64), 1)
    values, vectors = torch.linalg.eigh(matrix, UPLO="U")
    return values.tolist(), abs(betas[-1] * float(vectors[-1, -1]))
