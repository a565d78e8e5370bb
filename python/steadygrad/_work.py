"""How much a model computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Counted(TorchDispatchMode):
    """Adds up the floating-point operations of matrix products, convolutions and attention while it lasts.

    `torch.utils.flop_counter.FlopCounterMode` does so by module as well; its hooks for that fail on a model that
    differentiates by its own inputs.
    """

    operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Optional[Mapping[str, Any]] = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=made)
        return made
