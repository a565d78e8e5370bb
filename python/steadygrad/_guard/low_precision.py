"""Weights in 16 bits, which an optimizer can make non-finite from finite gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

_FORMATS = (torch.float16, torch.bfloat16)


class _Weight(NamedTuple):
    name: str
    parameter: Tensor
    eps: float | None
    """The optimizer's epsilon, where it is 0 in the weight's number format."""


class LowPrecisionWeights:
    """Checks the weights in 16 bits after each step, and undoes a step that made a NaN of them.

    The gradients before it were finite, so the optimizer's own arithmetic made it. Adam divides by
    `sqrt(v) + eps`; the epsilon of 1e-8 is 0 in float16, whose smallest number is 6e-8. Then an
    entry whose `v` is 0 as well gives 0/0. Models with weights in 32 bits cost nothing here.
    """

    def __init__(
        self, pairs: Sequence[tuple[str, Tensor]], optimizers: Sequence[Optimizer]
    ) -> None:
        eps = {
            id(parameter): group.get("eps")
            for optimizer in optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        self._weights = [
            _Weight(name, parameter, _vanishing(eps.get(id(parameter)), parameter.dtype))
            for name, parameter in pairs
            if parameter.dtype in _FORMATS
        ]
        self._copies: list[Tensor | None] = []
        self._pending = False

    @torch.no_grad()
    def keep(self) -> None:
        """Notes that a step follows, and copies the weights that an epsilon of 0 endangers."""
        self._pending = bool(self._weights)
        self._copies = [
            None if weight.eps is None else weight.parameter.detach().clone()
            for weight in self._weights
        ]

    @torch.no_grad()
    def check(self) -> tuple[str | None, bool]:
        """Returns why the guard must stop, and whether the step is undone already.

        The reason is None if all weights are finite.
        """
        if not self._pending:
            return None, True
        self._pending = False
        largest = torch._foreach_norm(
            [each.parameter.detach() for each in self._weights], torch.inf
        )
        devices = {norm.device for norm in largest}
        if all(
            bool(torch.stack([norm for norm in largest if norm.device == device]).isfinite().all())
            for device in devices
        ):
            return None, True
        broken = [
            weight
            for weight, norm in zip(self._weights, largest, strict=True)
            if not bool(norm.isfinite())
        ]
        for weight, copy in zip(self._weights, self._copies, strict=True):
            if copy is not None:
                weight.parameter.copy_(copy)
        return _reason(broken), all(weight.eps is not None for weight in broken)


def _vanishing(eps: object, dtype: torch.dtype) -> float | None:
    """Returns an epsilon above 0 that is 0 in this number format."""
    if not isinstance(eps, float) or eps <= 0.0:
        return None
    return eps if torch.tensor(eps, dtype=dtype).item() == 0.0 else None


def _reason(broken: list[_Weight]) -> str:
    first = broken[0]
    dtype = str(first.parameter.dtype).removeprefix("torch.")
    others = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    made = (
        f"the optimizer's step made `{first.name}`{others} non-finite from finite gradients; the "
        "step was undone"
    )
    if first.eps is not None:
        return (
            f"{made}. Its eps of {first.eps:g} is 0 in {dtype}, so that an entry without a "
            "gradient is 0/0. Keep the weights in float32 and compute in autocast, or give the "
            "optimizer eps=1e-4"
        )
    return (
        f"{made}: it went back to the last good state. A number of its update does not fit in "
        f"{dtype}. Keep the weights in float32 and compute in autocast"
    )
