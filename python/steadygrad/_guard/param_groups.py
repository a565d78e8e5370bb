"""The optimizers' parameter groups: what they train, at which rate, and copies of them."""

from __future__ import annotations

import copy
import operator
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

# What a schedule sets in a parameter group, and the parameters. Any other entry is a setting, or
# something that the optimizer computes when it steps (Prodigy's distance, the weights of a
# schedule-free average).
_SCHEDULED = {
    "params",
    "param_names",
    "lr",
    "initial_lr",
    "max_lr",
    "min_lr",
    "momentum",
    "base_momentum",
    "max_momentum",
    "betas",
    "weight_decay",
}


def local_optimizer(optimizer: Optimizer) -> Optimizer:
    """Returns the optimizer that holds this process's share of a sharded state."""
    if type(optimizer).__name__ != "ZeroRedundancyOptimizer":
        return optimizer
    inner: Optimizer = optimizer.optim  # type: ignore[attr-defined]
    return inner


class ParamGroups:
    """The parameter groups of all optimizers of a guard."""

    def __init__(self, optimizers: list[Optimizer], parameters: list[Tensor]) -> None:
        self._optimizers, self._parameters = optimizers, parameters
        self._trained = self._list_trained()
        # The schedule's learning rates, while lower ones replace them.
        self._scheduled_rates: list[Any] | None = None

    def check(self) -> None:
        """Accepts known parameters that were added to an optimizer.

        Raises:
            RuntimeError: an optimizer was given a parameter that the guard does not know.
        """
        trained = self._list_trained()
        if len(trained) == len(self._trained) and all(map(operator.is_, trained, self._trained)):
            return
        known = {id(parameter) for parameter in self._parameters}
        if any(id(parameter) not in known for parameter in trained):
            raise RuntimeError(
                "the optimizer was given parameters that neither the model nor an optimizer had "
                "before: make another Guard, and give its `load_state_dict` this one's "
                "`state_dict()`"
            )
        self._trained = trained

    def learning_rate(self) -> float:
        """Returns the largest learning rate of all groups."""
        return max((float(group["lr"]) for group in self._groups()), default=0.0)

    def scale_rates(self, factor: float) -> None:
        """Multiplies all learning rates, until `restore_rates`."""
        groups = self._groups()
        self._scheduled_rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._scheduled_rates):
            group["lr"] = rate * factor

    def restore_rates(self) -> None:
        """Puts the schedule's learning rates back, if `scale_rates` changed them."""
        if self._scheduled_rates is not None:
            for group, rate in zip(self._groups(), self._scheduled_rates):
                group["lr"] = rate
            self._scheduled_rates = None

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _list_trained(self) -> list[Tensor]:
        trained: list[Tensor] = []
        for group in self._groups():
            trained += group["params"]
        return trained


class GroupCopies:
    """Copies of all parameter groups, without what a schedule sets."""

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self._by_parameter: dict[int, dict[str, Any]] = {}
        # Held, so that the ids stay those of these parameters.
        self._parameters: list[Tensor] = []
        for group in _groups_of(optimizers):
            values = {
                name: copy.deepcopy(value)
                for name, value in group.items()
                if name not in _SCHEDULED
            }
            self._parameters += group["params"]
            for parameter in group["params"]:
                self._by_parameter[id(parameter)] = values

    def changed(self, optimizers: list[Optimizer]) -> set[str]:
        """Returns the names of the entries that have changed since the copy."""
        names: set[str] = set()
        for group in _groups_of(optimizers):
            before = self._of(group)
            if before is not None:
                names |= {
                    name for name, value in before.items() if not _equal(value, group.get(name))
                }
                names |= group.keys() - before.keys() - _SCHEDULED
        return names

    def restore(self, optimizers: list[Optimizer], names: set[str]) -> None:
        """Puts back the entries with these names."""
        for group in _groups_of(optimizers):
            before = self._of(group)
            if before is not None:
                values = {name: value for name, value in before.items() if name in names}
                group.update(copy.deepcopy(values))

    def _of(self, group: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the copy of this group: groups are added, removed and filled during training."""
        copies = self._by_parameter
        known = (copies[id(p)] for p in group["params"] if id(p) in copies)
        return next(known, None)


def _groups_of(optimizers: list[Optimizer]) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers for group in local_optimizer(optimizer).param_groups]


def _equal(a: Any, b: Any) -> bool:
    try:
        same = a == b
        return bool(same.all() if isinstance(same, Tensor) else same)
    except (RuntimeError, ValueError):
        # Different shapes, or arrays in a list.
        return False
