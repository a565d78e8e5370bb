"""The size of a model's weights and of their gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .._gradients.operators import as_real, norm_of
from .chain import Chain, matrices_of
from .growth import rms_of


@torch.no_grad()
def measure_weights(
    model: nn.Module, chain: Chain, grads: dict[str, Tensor], plain: bool
) -> dict[str, Any]:
    """Returns norms of all matrices and of all gradients, as the native part expects them.

    Args:
        plain: whether the layers are plain ones, which mean-field theory describes.
    """
    weights = []
    for name, role, parameter in matrices_of(model, chain):
        # The native part applies mean-field theory to repeated matrices, so there must be none in
        # a model that it does not describe.
        role = role if plain or role == "input" else "output"
        matrix = parameter.detach().float().flatten(1)
        largest = _spectral_norm(matrix)
        weights.append((name, role, matrix.shape[1], matrix.shape[0], norm_of(matrix), largest))
    dense = [as_real(grad.to_dense()) for grad in grads.values()]
    values = sum(grad.numel() for grad in dense)
    # Quantized parameters hold integer codes, whose size means nothing.
    numbers = [p for p in model.parameters() if p.is_floating_point() or p.is_complex()]
    tiny = sum(int(((g.abs() > 0) & (g.abs() < torch.finfo(g.dtype).tiny)).sum()) for g in dense)
    return {
        "weights": weights,
        "weight_norm": math.hypot(*map(norm_of, numbers)),
        "global_norm": rms_of(dense) * math.sqrt(values),
        "subnormal_share": tiny / max(values, 1),
    }


def _spectral_norm(matrix: Tensor) -> float:
    """Returns the largest singular value by power iteration, as the command line does."""
    if not matrix.isfinite().all():
        return math.nan
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(matrix.shape[1], generator=generator, dtype=matrix.dtype).to(matrix.device)
    norm = 0.0
    for _ in range(50):
        vector = matrix.T @ (matrix @ vector)
        length = float(vector.norm())
        if length == 0.0 or not math.isfinite(length):
            return 0.0 if length == 0.0 else float(torch.linalg.matrix_norm(matrix, 2))
        vector, norm = vector / length, math.sqrt(length)
    return norm
