"""Measures and clips exploding gradients.

Nothing is imported with this package; the parts are `steadygrad.torch`.
"""

from ._native import VERSION as __version__

__all__ = ["__version__"]
