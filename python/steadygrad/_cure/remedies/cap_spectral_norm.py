"""Caps the spectral norm of every repeated weight matrix after each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..._probe.chain import Chain, matrices_of
from .applied import AppliedRemedy, list_names

KIND = "cap_spectral_norm"
STRONGEST = None

# Power iterations for the first singular vector, and for each later one, which starts from it.
_FIRST_ITERATIONS, _NEXT_ITERATIONS = 30, 1


def apply(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> AppliedRemedy:
    """Caps all repeated matrices now, and after each step."""
    cap = _SpectralCap(model, chain, remedy["max_spectral_norm"])
    cap()
    return AppliedRemedy(f"Here it was done to {list_names(cap.names)}.", cap)


class _SpectralCap:
    """Scales every repeated matrix with a larger spectral norm down to the maximum."""

    def __init__(self, model: nn.Module, chain: Chain, maximum: float) -> None:
        repeated = [m for m in matrices_of(model, chain) if m[1] in ("hidden", "recurrent")]
        self.names = [name for name, *_ in repeated]
        self._weights = [parameter for *_, parameter in repeated]
        self._vectors: list[Tensor | None] = [None] * len(self._weights)
        self._maximum = maximum

    @torch.no_grad()
    def __call__(self, optimizer: Optimizer | None = None) -> None:
        for place, parameter in enumerate(self._weights):
            weight, vector = parameter.detach().flatten(1), self._vectors[place]
            iterations = _NEXT_ITERATIONS
            if vector is None:
                vector = torch.arange(1, weight.shape[1] + 1).to(weight).sin()
                iterations = _FIRST_ITERATIONS
            for _ in range(iterations):
                vector = weight.T @ (weight @ vector)
                vector = vector / vector.norm()
            norm = (weight @ vector).norm()
            self._vectors[place] = vector if norm > 0 else None
            if norm > self._maximum:
                parameter.mul_(self._maximum / norm)
