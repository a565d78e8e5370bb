"""Checks of what a guard is given."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .._gradients.reader import named_parameters


def check_optimizers(optimizer: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """Returns the optimizers as a list.

    Raises:
        TypeError: one is not an optimizer.
        NotImplementedError: one evaluates the loss itself.
        ValueError: one has no learning rate.
    """
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else optimizer
    if not isinstance(optimizers, Sequence) or not all(
        isinstance(each, Optimizer) for each in optimizers
    ):
        raise TypeError(
            "`optimizer` is an optimizer of `torch.optim`, or a list of them, not "
            f"{type(optimizer).__name__}"
        )
    for each in optimizers:
        closure = inspect.signature(type(each).step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise NotImplementedError(
                f"{type(each).__name__} evaluates the loss itself, several times a step; the guard "
                "cannot judge those evaluations"
            )
        if any(group.get("lr") is None for group in each.param_groups):
            raise ValueError(
                f"{type(each).__name__} chooses its learning rate itself (`lr` is None), so the "
                "guard can neither see nor lower it: give every parameter group an `lr` "
                "(Adafactor: with `relative_step=False`)"
            )
    return list(optimizers)


def guarded_parameters(
    model: nn.Module | Iterable[Tensor], optimizers: list[Optimizer]
) -> list[tuple[str, Tensor]]:
    """Returns every parameter that can get a gradient, by name.

    These are the model's parameters, and those that only the optimizers hold.

    Raises:
        TypeError: `model` holds something that is not a tensor.
        ValueError: the optimizers hold none of the model's parameters.
    """
    names, parameters = named_parameters(model)
    if not all(isinstance(parameter, Tensor) for parameter in parameters):
        raise TypeError(
            "`model` is a module or its parameters: `model.parameters()`, not `named_parameters()`"
        )
    pairs = list(zip(names, parameters))
    known = {id(parameter) for parameter in parameters}
    trained = {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}
    if known and trained and not known & trained:
        raise ValueError(
            "the optimizer holds none of the model's parameters: make it from this model, after "
            "the model is sharded or moved for the last time"
        )
    for number, optimizer in enumerate(optimizers):
        held = [p for group in optimizer.param_groups for p in group["params"]]
        others = [(place, p) for place, p in enumerate(held) if id(p) not in known]
        pairs += [(f"optimizer.{number}.{place}", p) for place, p in others]
        known |= {id(p) for _, p in others}
    # Quantized weights hold integer codes, which get no gradient.
    return [(name, p) for name, p in pairs if p.is_floating_point() or p.is_complex()]


def is_scalar(loss: Any) -> bool:
    """Returns whether the loss is a tensor that holds one number."""
    return isinstance(loss, Tensor) and loss.numel() == 1


def loss_as_number(loss: Any) -> float:
    """Returns the loss as a number.

    Raises:
        ValueError: it is a tensor of several numbers.
        TypeError: it is a container.
    """
    if isinstance(loss, Tensor) and loss.numel() != 1:
        raise ValueError(
            f"`loss` has the shape {tuple(loss.shape)}: give one number, such as `loss.mean()`"
        )
    if isinstance(loss, (list, tuple, dict)):
        raise TypeError(
            f"`loss` is a {type(loss).__name__}: give one number, the sum of the losses that "
            "`backward` was called on"
        )
    return float(loss.detach()) if isinstance(loss, Tensor) else float(loss)
