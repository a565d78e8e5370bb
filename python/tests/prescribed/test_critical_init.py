import math

import pytest
import torch
from pasted import mlp, paste
from torch import nn


def gain(weight):
    """std * sqrt(fan_in), the standard deviation about zero."""
    return weight.detach().square().mean().sqrt().item() * math.sqrt(weight.shape[1])


def test_of_a_feed_forward_network():
    model = mlp(depth=4)
    first, *repeated, output = [layer.weight for layer in model if isinstance(layer, nn.Linear)]
    paste("critical_init").critical_init(repeated, first, output)
    assert gain(first) == pytest.approx(math.sqrt(2) / 7.5, rel=1e-5)
    for weight in repeated:
        assert gain(weight) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert gain(output) == pytest.approx(1, rel=1e-5)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_of_a_recurrent_network_and_a_zero_matrix():
    cell, zero = nn.RNNCell(3, 8), torch.zeros(4, 4)
    inputs = cell.weight_ih.detach().clone()
    paste("critical_init").critical_init([cell.weight_hh, zero])
    assert gain(cell.weight_hh) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert torch.equal(cell.weight_ih, inputs)
    assert not zero.any()
