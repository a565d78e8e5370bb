"""The result of applying a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer


class RemedyRefused(Exception):
    """The model cannot take this remedy; the message says why."""


@dataclass(frozen=True)
class AppliedRemedy:
    """What a remedy did to a model, and what it changes in the training loop."""

    changes: str = ""
    """A sentence with the names of the changed modules."""
    after_step: Callable[[Optimizer], None] | None = None
    """Called after each step of the optimizer, with the optimizer."""
    max_norm: float | None = None
    """The largest global norm of the gradients."""
    learning_rate: float | None = None
    """The largest learning rate of all parameter groups."""


def list_names(names: list[str]) -> str:
    """Returns the names in backquotes, shortened if there are more than six."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > 6:
        quoted = [*quoted[:3], "...", *quoted[-2:]]
    return ", ".join(quoted)
