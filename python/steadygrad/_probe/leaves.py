"""The tensors that exist before a pass runs: parameters, buffers, and what the loss holds."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

_MOST_PARTS = 100
"""Parts of a list or dictionary that are looked at."""


@dataclass(frozen=True)
class Leaf:
    """A tensor that exists before the pass, and its name for people."""

    where: str
    """`parameter`, `buffer` or `loss`."""
    name: str
    tensor: Tensor
    statistic: bool = False
    """Whether it is the running statistic of a normalisation."""


def leaves_of(model: nn.Module) -> Iterator[Leaf]:
    """Yields the parameters and buffers of a module."""
    for name, parameter in model.named_parameters():
        yield Leaf("parameter", name, parameter.detach())
    statistics = {
        f"{name}.{buffer}" if name else buffer
        for name, module in model.named_modules()
        if isinstance(module, _NormBase)
        for buffer in ("running_mean", "running_var")
    }
    for name, buffer in model.named_buffers():
        yield Leaf("buffer", name, buffer.detach(), name in statistics)


def loss_leaves(loss_fn: Callable[..., Any], model: nn.Module) -> Iterator[Leaf]:
    """Yields the tensors that a loss holds, by the names that its code has for them.

    A model that the loss uses has the names of its parameters and buffers.
    """
    for name, value in _held(loss_fn):
        if value is model:
            yield from leaves_of(model)
        elif isinstance(value, nn.Module):
            for leaf in leaves_of(value):
                yield Leaf("loss", f"{name}.{leaf.name}" if name else leaf.name, leaf.tensor)
            for inner, module in value.named_modules():
                path = ".".join(part for part in (name, inner) if part)
                for attribute, tensor in vars(module).items():
                    if isinstance(tensor, Tensor):
                        full = f"{path}.{attribute}" if path else attribute
                        yield Leaf("loss", full, tensor.detach())
        else:
            yield Leaf("loss", name, value.detach())


def loss_modules(loss_fn: Callable[..., Any]) -> list[nn.Module]:
    """Returns the modules that a loss holds, itself included."""
    return [value for _, value in _held(loss_fn) if isinstance(value, nn.Module)]


def _held(function: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yields the modules and tensors within reach of a function."""
    # A closure of closures ends somewhere; a loss is rarely deeper than this.
    if depth > 3:
        return
    inner: dict[str, Any] = {}
    if isinstance(function, functools.partial):
        yield from _held(function.func, name, depth + 1)
        inner = {**{str(i): value for i, value in enumerate(function.args)}, **function.keywords}
    elif isinstance(function, types.MethodType):
        yield from _held(function.__self__, "", depth + 1)
        yield from _held(function.__func__, name, depth + 1)
    elif isinstance(function, types.FunctionType):
        code, known = function.__code__, function.__globals__
        inner = {each: known[each] for each in code.co_names if each in known}
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                inner[variable] = cell.cell_contents
            except ValueError:  # Not yet assigned.
                continue
        inner |= {f"default {i}": each for i, each in enumerate(function.__defaults__ or ())}
    elif isinstance(function, (nn.Module, Tensor)):
        yield name, function
        return
    elif isinstance(function, (list, tuple, dict)):
        # A longer one is data, not what a loss is made of.
        if len(function) <= _MOST_PARTS:
            parts = function.values() if isinstance(function, dict) else function
            inner = {f"{name}[{i}]": part for i, part in enumerate(parts)}
    elif hasattr(function, "__dict__") and not isinstance(function, (type, types.ModuleType)):
        inner = dict(vars(function))
    for key, value in inner.items():
        yield from _held(value, key, depth + 1)


def is_mask(tensor: Tensor) -> bool:
    """Whether a tensor is an additive mask: minus infinity, and zero or one elsewhere."""
    values = tensor.detach()
    masked = values == -torch.inf
    return bool((masked | (values == 0) | (values == 1)).all())
