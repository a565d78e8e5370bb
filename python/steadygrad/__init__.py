"""Predicts, detects, explains and cures exploding gradients.

`import steadygrad` is fast: `steadygrad.torch` and the other parts are imported at first use.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ._native import VERSION as __version__

__all__ = ["__version__"]

_PARTS = ("clip", "lightning", "torch", "transformers")


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(
        f"module `{__name__}` has no attribute `{name}`; its parts are {', '.join(_PARTS)}"
    )
