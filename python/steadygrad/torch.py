"""Gradient clipping and statistics for PyTorch, in one pass over memory.

`clip_grad_norm_` and `clip_grad_value_` take the place of their namesakes in `torch.nn.utils`;
`gradient_stats` tells which parameter's gradient is large or broken; `Clipper` does both at once.

Dense CPU gradients of float32, float64, float16 and bfloat16 are read where they lie, by as many
threads as `torch.get_num_threads()` says. All others (other devices, sparse tensors, subclasses,
gradients that autograd follows) are left to PyTorch's own operators.
"""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Iterable, Mapping
from typing import Optional, Union

import torch
from torch import Tensor, nn

from . import _native
from ._native import GradientStats, TensorStats

__all__ = [
    "Clipper",
    "GradientStats",
    "TensorStats",
    "clip_grad_norm_",
    "clip_grad_value_",
    "gradient_stats",
]

Mapping.register(GradientStats)

_Parameters = Union[Tensor, Iterable[Tensor]]

_READER = _native.Reader(
    Tensor,
    Tensor.__dlpack_c_exchange_api__,
    torch.autograd.graph.increment_version,
)
_CPU = torch.device("cpu")


def _promoted(kinds: int) -> torch.dtype:
    """The type of a norm over gradients of several types: one bit of `kinds` each."""
    types = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    held = [dtype for bit, dtype in enumerate(types) if kinds >> bit & 1]
    promoted = held[0]
    for dtype in held[1:]:
        promoted = torch.promote_types(promoted, dtype)
    return promoted


# What a norm is returned as, and the largest finite value of that type.
_RETURNED = {
    kinds: (_promoted(kinds), torch.finfo(_promoted(kinds)).max) for kinds in range(1, 16)
}


def _collect(parameters: list[Tensor]) -> _native.Gradients:
    return _native.Gradients(_READER, parameters, torch.get_num_threads())


def _listed(parameters: _Parameters) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        return [parameters]
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = list(parameters)
    if is_generator and not parameters:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3
        )
    return parameters


def _checked(max_norm: float) -> float:
    max_norm = float(max_norm)
    if not max_norm >= 0.0:
        raise ValueError(f"max_norm must be 0 or more, not {max_norm}")
    return max_norm


def _as_tensor(norm: float, dtype: torch.dtype, largest: float) -> Tensor:
    if norm > largest:
        norm = math.inf
    return torch.scalar_tensor(norm, dtype=dtype, device=_CPU)


def clip_grad_norm_(
    parameters: _Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: Optional[bool] = None,
) -> Tensor:
    r"""Scales all gradients by one factor, so that their global norm is at most `max_norm`.

    .. math:: g \leftarrow g \cdot \min(1, max\_norm / (\lVert g \rVert + 10^{-6}))

    Takes what `torch.nn.utils.clip_grad_norm_` takes and returns what it returns: the norm over
    all gradients *before* clipping, of shape `()`. It differs where that does harm:

    - While the factor is 1, nothing is written.
    - When a gradient holds NaN or an infinite value, the norm is NaN or infinite and all
      gradients stay as they are; PyTorch would make every one of them NaN or zero. Look at the
      returned norm before you step, or set `error_if_nonfinite`.
    - The norm is summed in float64 and the factor computed from it, so large float16 and float32
      gradients are clipped where PyTorch's norm overflows. The returned tensor has PyTorch's type,
      and is infinite when the norm is beyond that.

    Args:
        parameters: a tensor or an iterable of tensors; those whose `grad` is None are passed over.
        max_norm: the largest norm that passes unchanged; 0 or more.
        norm_type: 2 or infinity in one pass; any other order by PyTorch's own operators.
        error_if_nonfinite: raise a RuntimeError when a gradient holds NaN or an infinite value.
        foreach: for gradients that are left to PyTorch, what it means there.

    Raises:
        RuntimeError: see `error_if_nonfinite`; or `foreach=True` where PyTorch has no such kernels.
        ValueError: `max_norm` is negative or NaN.
    """
    parameters = _listed(parameters)
    max_norm, norm_type = _checked(max_norm), float(norm_type)
    if norm_type != 2.0 and norm_type != math.inf:
        grads = [p.grad for p in parameters if p.grad is not None]
        return _clip_by_torch(grads, max_norm, norm_type, error_if_nonfinite, foreach)
    gradients = _collect(parameters)
    rest = gradients.rest
    if not gradients.read:
        return _clip_by_torch(rest, max_norm, norm_type, error_if_nonfinite, foreach)
    dtype, largest = _RETURNED[gradients.kinds]
    norm = gradients.global_norm if norm_type == 2.0 else gradients.max_norm
    if rest:
        rest_norm = torch.nn.utils.get_total_norm(rest, norm_type, foreach=foreach)
        dtype = torch.promote_types(dtype, rest_norm.dtype)
        largest = torch.finfo(dtype).max
        norm = _joined(norm, rest_norm.item(), norm_type)
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise _non_finite(norm_type)
    elif (coefficient := max_norm / (norm + 1e-6)) < 1.0:
        gradients.scale(coefficient)
        if rest:
            _scale_by_torch(rest, coefficient)
    return _as_tensor(norm, dtype, largest)


def _joined(a: float, b: float, norm_type: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return math.hypot(a, b) if norm_type == 2.0 else max(a, b)


def _non_finite(norm_type: float) -> RuntimeError:
    return RuntimeError(
        f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so "
        "they were not clipped. `steadygrad.torch.gradient_stats` names the parameters; to go on "
        "with the gradients as they are, set `error_if_nonfinite=False`"
    )


@torch.no_grad()
def _clip_by_torch(
    grads: list[Tensor],
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    foreach: Optional[bool],
) -> Tensor:
    """Without a look at the norm on the host, unless an error is asked for."""
    norm = torch.nn.utils.get_total_norm(grads, norm_type, foreach=foreach)
    if not grads:
        return norm
    finite = norm.isfinite()
    if error_if_nonfinite and not finite:
        raise _non_finite(norm_type)
    coefficient = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    _scale_by_torch(grads, torch.where(finite, coefficient, 1.0))
    return norm


@torch.no_grad()
def _scale_by_torch(grads: list[Tensor], coefficient: Union[float, Tensor]) -> None:
    for device, group in _by_device(grads).items():
        if isinstance(coefficient, Tensor):
            torch._foreach_mul_(group, coefficient.to(device))
        else:
            torch._foreach_mul_(group, coefficient)


def _by_device(grads: list[Tensor]) -> dict[torch.device, list[Tensor]]:
    groups: dict[torch.device, list[Tensor]] = {}
    for grad in grads:
        groups.setdefault(grad.device, []).append(grad)
    return groups


def clip_grad_value_(
    parameters: _Parameters, clip_value: float, foreach: Optional[bool] = None
) -> None:
    r"""Clamps every gradient value: :math:`g \leftarrow \max(-v, \min(v, g))`.

    Takes what `torch.nn.utils.clip_grad_value_` takes. Infinite values become `clip_value` of
    their sign, NaN stays NaN, and parameters without gradients are no error.
    """
    parameters = [p for p in _listed(parameters) if p.grad is not None]
    if parameters:
        torch.nn.utils.clip_grad_value_(parameters, clip_value, foreach)


def gradient_stats(model: Union[nn.Module, _Parameters]) -> GradientStats:
    """Statistics of every gradient, by parameter name, from one pass over memory.

    Of a module, the names are those of `named_parameters()`; of a tensor or an iterable of
    tensors, their places "0", "1", ... Parameters without a gradient are left out.
    """
    names, parameters = _named(model)
    return _statistics(names, _collect(parameters), math.inf)


class Clipper:
    """Clips by the global norm, and tells what the gradients were, in one pass over memory.

    Parameters that are added to the module later are not seen: make another one then.
    """

    def __init__(self, model: Union[nn.Module, _Parameters], max_norm: float) -> None:
        self._names, self._parameters = _named(model)
        self.max_norm = _checked(max_norm)

    def clip_(self) -> GradientStats:
        """Clips as `clip_grad_norm_` does and returns the statistics from *before* the clipping.

        `coefficient` there is what the gradients were multiplied by: 1.0 when they were left as
        they are, because their norm was small enough or not finite.
        """
        gradients = _collect(self._parameters)
        stats = _statistics(self._names, gradients, self.max_norm)
        if stats.coefficient < 1.0:
            gradients.scale(stats.coefficient)
            if gradients.rest:
                _scale_by_torch(gradients.rest, stats.coefficient)
        return stats


def _named(model: Union[nn.Module, _Parameters]) -> tuple[tuple[str, ...], list[Tensor]]:
    if isinstance(model, nn.Module):
        named = dict(model.named_parameters())
        return tuple(named), list(named.values())
    parameters = _listed(model)
    return tuple(map(str, range(len(parameters)))), parameters


def _statistics(
    names: tuple[str, ...], gradients: _native.Gradients, max_norm: float
) -> GradientStats:
    return gradients.statistics(names, [_measured(grad) for grad in gradients.rest], max_norm)


@torch.no_grad()
def _measured(grad: Tensor) -> tuple[float, float, int, int, int, int]:
    """What `TensorStats` holds, in its order, by PyTorch's own operators."""
    numel = grad.numel()
    if grad.layout != torch.strided:
        grad = grad.coalesce().values() if grad.layout == torch.sparse_coo else grad.values()
    if grad.is_complex():
        grad = torch.view_as_real(grad.resolve_conj())
        numel *= 2
    magnitude = grad.abs()
    finite = magnitude.isfinite()
    largest = magnitude.where(finite, 0.0).max().item() if magnitude.numel() else 0.0
    subnormal = (magnitude < torch.finfo(grad.dtype).tiny) & (magnitude > 0)
    return (
        torch.linalg.vector_norm(magnitude.double()).item(),
        float(largest),
        numel,
        int((~finite).sum()),
        int(subnormal.sum()),
        numel - int((magnitude != 0).sum()),
    )
