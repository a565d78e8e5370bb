import math

import pytest
import torch
from pasted import mlp, paste
from steadygrad._cure.surgery import apply_remedy
from steadygrad._probe.layers import chain_of
from torch import nn


def backward(model):
    model(torch.randn(16, 3)).square().mean().backward()


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_every_weight_shrinks_by_its_groups_share():
    model = mlp()
    backward(model)
    first, *others = model.parameters()
    groups = [{"params": [first], "lr": 0.3}, {"params": others}]
    pasted = paste("weight_decay")
    before = weights(model)
    pasted.decay_weights(torch.optim.SGD(groups, lr=1e-3))
    factors = [1 - 0.3 * 0.5] + [1 - 1e-3 * 0.5] * len(others)
    for was, now, factor in zip(before, weights(model), factors):
        assert torch.equal(now, was * factor)


def test_weights_without_a_gradient_stay():
    model = mlp()
    model[0].requires_grad_(False)
    backward(model)
    before = weights(model)
    paste("weight_decay").decay_weights(torch.optim.SGD(model.parameters(), lr=0.1))
    same = [torch.equal(was, now) for was, now in zip(before, weights(model))]
    assert same == [True, True] + [False] * (len(same) - 2)


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan])
def test_zero_stays_zero_and_a_lost_weight_stays_lost(value):
    weight = nn.Parameter(torch.full((2,), value))
    weight.grad = torch.ones(2)
    paste("weight_decay").decay_weights(torch.optim.SGD([weight], lr=0.1))
    expected = torch.full((2,), value)
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_trial_does_the_same_to_the_bit(kind):
    pasted, trained = paste("weight_decay"), []
    for tried in (False, True):
        torch.manual_seed(3)
        model = mlp()
        chain = chain_of(model, lambda model=model: model(torch.randn(16, 3)))
        torch.manual_seed(4)
        after_step = pasted.decay_weights
        if tried:
            remedy = {"kind": "weight_decay", "decay": pasted.WEIGHT_DECAY}
            after_step = apply_remedy(model, chain, remedy).after_step
        optimizer = kind(model.parameters(), lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            backward(model)
            optimizer.step()
            after_step(optimizer)
        trained.append(weights(model))
    assert all(torch.equal(one, other) for one, other in zip(*trained))
