import math

import pytest
import torch
from pasted import paste
from torch import nn


def spectral_norm(weight):
    return torch.linalg.matrix_norm(weight.detach().double(), ord=2).item()


# Singular values 5 and 1; the second has row sums of zero.
@pytest.mark.parametrize("rows", [[[3, 0, 4], [0, 1, 0]], [[4, -4, 0], [0, 0, 0]]])
def test_scales_a_larger_matrix(rows):
    pasted = paste("cap_spectral_norm")
    weight = nn.Parameter(torch.tensor(rows, dtype=torch.float32))
    expected = weight.detach() * (4 / 3) / spectral_norm(weight)
    pasted.cap_spectral_norm(weight, {})
    assert weight.requires_grad
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize("value", [0.1, 0.0, math.nan])
def test_leaves_a_smaller_matrix(value):
    pasted = paste("cap_spectral_norm")
    weight = nn.Parameter(torch.full((2, 3), value))
    before = weight.detach().clone()
    pasted.cap_spectral_norm(weight, {})
    torch.testing.assert_close(weight.detach(), before, rtol=0, atol=0, equal_nan=True)


def test_holds_while_training_from_zero():
    pasted = paste("cap_spectral_norm")
    layer, directions, capped = nn.Linear(6, 6), {}, 0
    nn.init.zeros_(layer.weight)
    pasted.cap_spectral_norm(layer.weight, directions)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.02)
    for step in range(200):
        optimizer.zero_grad()
        target = torch.diag(2 + 0.01 * step + torch.arange(6.0) / 6)
        (layer.weight - target).square().sum().backward()
        optimizer.step()
        capped += spectral_norm(layer.weight) > 4 / 3
        pasted.cap_spectral_norm(layer.weight, directions)
        assert spectral_norm(layer.weight) < 1.01 * 4 / 3
    assert capped > 100
