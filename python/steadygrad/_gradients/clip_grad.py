"""Replacements for PyTorch's `clip_grad_norm_` and `clip_grad_value_`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import _native
from .reader import (
    DTYPES,
    READER,
    Parameters,
    clamp_by_torch,
    collect,
    list_parameters,
    scale_by_torch,
)

_CPU = torch.device("cpu")


def _promote(kinds: int) -> torch.dtype:
    """Returns the type of a norm over gradients of several types, one bit of `kinds` each."""
    present = [dtype for bit, dtype in enumerate(DTYPES) if kinds >> bit & 1]
    promoted = present[0]
    for dtype in present[1:]:
        promoted = torch.promote_types(promoted, dtype)
    return promoted


# For each set of types, the type of the returned norm and the largest finite value of that type.
_NORM_TYPES = {kinds: (_promote(kinds), torch.finfo(_promote(kinds)).max) for kinds in range(1, 16)}


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Scales all gradients by one factor, so that their global norm is at most `max_norm`.

    .. math:: g \leftarrow g \cdot \min(1, max\_norm / (\lVert g \rVert + 10^{-6}))

    It takes the arguments of `torch.nn.utils.clip_grad_norm_` and returns the same: the norm over
    all gradients *before* clipping, of shape `()`. It differs in three ways:

    - Gradients are written only when they are clipped.
    - When a gradient holds NaN or an infinite value, the norm is NaN or infinite and no gradient
      changes. PyTorch would make every gradient NaN or zero. Check the returned norm before you
      step, or set `error_if_nonfinite`.
    - The norm is accumulated in float64 and the factor is computed from it. Large float16 and
      float32 gradients are clipped where PyTorch's norm overflows. The returned tensor has
      PyTorch's type, and is infinite when the norm exceeds that type.

    Args:
        parameters: a tensor or an iterable of tensors; those whose `grad` is None are ignored.
        max_norm: the largest norm that passes unchanged; 0 or more.
        norm_type: 2 or infinity in one pass; any other order uses PyTorch's operators.
        error_if_nonfinite: raise a RuntimeError when a gradient holds NaN or an infinite value.
        foreach: as in PyTorch, for gradients that PyTorch's operators clip.

    Raises:
        RuntimeError: see `error_if_nonfinite`; or `foreach=True` where PyTorch has no such kernels.
        ValueError: `max_norm` is negative or NaN.
    """
    parameters = list_parameters(parameters)
    max_norm, norm_type = _check_max_norm(max_norm), float(norm_type)
    if norm_type != 2.0 and norm_type != math.inf:
        grads = [p.grad for p in parameters if p.grad is not None]
        return _clip_by_torch(grads, max_norm, norm_type, error_if_nonfinite, foreach)
    gradients = collect(parameters)
    rest = gradients.rest
    if not gradients.kinds:
        return _clip_by_torch(rest, max_norm, norm_type, error_if_nonfinite, foreach)
    dtype, largest = _NORM_TYPES[gradients.kinds]
    norm = gradients.global_norm if norm_type == 2.0 else gradients.max_norm
    if rest:
        rest_norm = torch.nn.utils.get_total_norm(rest, norm_type, foreach=foreach)
        dtype = torch.promote_types(dtype, rest_norm.dtype)
        largest = torch.finfo(dtype).max
        norm = _join_norms(norm, rest_norm.item(), norm_type)
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise _non_finite_error(norm_type)
    elif (coefficient := max_norm / (norm + 1e-6)) < 1.0:
        gradients.scale(coefficient)
        if rest:
            scale_by_torch(rest, coefficient, foreach)
    return torch.scalar_tensor(math.inf if norm > largest else norm, dtype=dtype, device=_CPU)


def clip_grad_value_(
    parameters: Parameters, clip_value: float, foreach: bool | None = None
) -> None:
    r"""Clamps every gradient value: :math:`g \leftarrow \max(-v, \min(v, g))`.

    It takes the arguments of `torch.nn.utils.clip_grad_value_`. An infinite value becomes
    `clip_value` with its sign, NaN stays NaN, and parameters without gradients are ignored. A
    bound that the gradients' type cannot represent is rounded down; PyTorch rounds to nearest.
    """
    parameters, clip_value = list_parameters(parameters), float(clip_value)
    if 0.0 < clip_value < math.inf:
        rest = _native.clamp(READER, parameters, torch.get_num_threads(), clip_value)
    else:
        rest = [p.grad for p in parameters if p.grad is not None]
    clamp_by_torch(rest, clip_value, foreach)


def _check_max_norm(max_norm: float) -> float:
    max_norm = float(max_norm)
    if not max_norm >= 0.0:
        raise ValueError(f"max_norm must be 0 or more, not {max_norm}")
    return max_norm


def _join_norms(a: float, b: float, norm_type: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return math.hypot(a, b) if norm_type == 2.0 else max(a, b)


def _non_finite_error(norm_type: float) -> RuntimeError:
    return RuntimeError(
        f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so "
        "they were not clipped. `steadygrad.torch.gradient_stats` names the parameters. To leave "
        "the gradients as they are without an error, set `error_if_nonfinite=False`"
    )


@torch.no_grad()
def _clip_by_torch(
    grads: list[Tensor],
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    foreach: bool | None,
) -> Tensor:
    """Clips without a wait for the device, unless `error_if_nonfinite` asks for one."""
    norm = torch.nn.utils.get_total_norm(grads, norm_type, foreach=foreach)
    if not grads:
        return norm
    finite = norm.isfinite()
    if error_if_nonfinite and not finite:
        raise _non_finite_error(norm_type)
    coefficient = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    scale_by_torch(grads, torch.where(finite, coefficient, 1.0), foreach)
    return norm
