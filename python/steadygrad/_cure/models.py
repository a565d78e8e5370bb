"""Makes a new model for each run."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .._probe.batch import outputs_of, seeded
from .settings import A_BUILD, CureData, CureSettings


class ModelFactory:
    """Calls the user's `build` at a seed."""

    def __init__(self, settings: CureSettings, data: CureData) -> None:
        self._settings, self._data = settings, data
        self._last: nn.Module | None = None

    def make(self, seed: int) -> nn.Module:
        """Returns a new model in training mode, with lazy parameters initialised.

        Raises:
            TypeError: `build` did not return a module.
            ValueError: `build` returned the same module as before.
        """
        with seeded(seed):
            model = self._settings.build()
        if not isinstance(model, nn.Module):
            raise TypeError(f"`build` gave a {type(model).__name__}; give {A_BUILD}")
        if model is self._last:
            raise ValueError(
                "`build` gave the same module twice; give a function that makes a new one"
            )
        self._last = model.train()
        if any(map(is_lazy, model.parameters())):
            with torch.no_grad(), seeded(seed):
                outputs_of(model, self._data.first)
        return model

    def warn_of_fixed_seeds(self, model: nn.Module) -> None:
        """Warns if the model of the next seed has the same weights as this one."""
        seed = self._settings.seed
        pairs = list(zip(model.parameters(), self.make(seed + 1).parameters()))
        if pairs and all(torch.equal(one, other) for one, other in pairs):
            warnings.warn(
                f"`build` gives the same weights at seeds {seed} and {seed + 1}, so runs on fresh "
                "seeds differ only in the order of the data. A cure that holds on them may hold "
                "only for these weights. Leave `torch.manual_seed` and weights from a file out of "
                "`build`",
                stacklevel=4,
            )
