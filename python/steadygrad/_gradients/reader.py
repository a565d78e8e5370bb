"""The native reader of tensors, and what it leaves to PyTorch's operators."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from .. import _native
from .device import measure_tensors

Parameters: TypeAlias = Tensor | Iterable[Tensor]
"""One tensor, or several."""

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""The types that are read natively, in the order of the native part's numbers."""


def collect(parameters: list[Tensor]) -> _native.Gradients:
    """Reads the parameters' gradients natively where possible; `rest` holds the others."""
    return _native.Gradients(READER, parameters, torch.get_num_threads())


def list_parameters(parameters: Parameters) -> list[Tensor]:
    """Returns the parameters as a list, and warns about an empty generator."""
    if isinstance(parameters, Tensor):
        return [parameters]
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = list(parameters)
    if is_generator and not parameters:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3
        )
    return parameters


def named_parameters(model: nn.Module | Parameters) -> tuple[tuple[str, ...], list[Tensor]]:
    """Returns names and parameters; those of a plain list are named "0", "1", ..."""
    if isinstance(model, nn.Module):
        named = dict(model.named_parameters())
        return tuple(named), list(named.values())
    parameters = list_parameters(model)
    return tuple(map(str, range(len(parameters)))), parameters


def norms_of(tensors: list[Tensor]) -> list[float]:
    """Returns the L2 norm of each tensor, and waits once for each device other than the CPU."""
    norms = _native.norms(READER, tensors, torch.get_num_threads())
    rest = [place for place, norm in enumerate(norms) if norm is None]
    if rest:
        reading, _ = measure_tensors(READER, [tensors[place] for place in rest])
        for place, norm in zip(rest, reading.norms(0)):
            norms[place] = norm
    return norms  # type: ignore[return-value]


@torch.no_grad()
def scale_by_torch(
    grads: list[Tensor], coefficient: float | Tensor, foreach: bool | None = None
) -> None:
    """Multiplies gradients in place by PyTorch's operators."""
    groups: dict[torch.device, list[Tensor]] = {}
    for grad in grads:
        groups.setdefault(grad.device, []).append(grad)
    for device, group in groups.items():
        factor = coefficient.to(device) if isinstance(coefficient, Tensor) else coefficient
        if foreach is False:
            for grad in group:
                grad.mul_(factor)
        else:
            torch._foreach_mul_(group, factor)


def clamp_by_torch(grads: list[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamps gradients in place by PyTorch's operators."""
    if grads:
        holders = [types.SimpleNamespace(grad=grad) for grad in grads]
        torch.nn.utils.clip_grad_value_(holders, clip_value, foreach)  # type: ignore[arg-type]


def measure_by_torch(grads: list[Tensor]) -> _native.DeviceReading:
    """Measures tensors that are not read natively."""
    return measure_tensors(READER, grads)[0]


READER = _native.Reader(
    tensor=Tensor,
    parameter=nn.Parameter,
    exchange=getattr(Tensor, "__dlpack_c_exchange_api__", None),
    dtypes=DTYPES,
    increment_version=torch.autograd.graph.increment_version,
    measure=measure_by_torch,
    scale=scale_by_torch,
    clamp=clamp_by_torch,
)
