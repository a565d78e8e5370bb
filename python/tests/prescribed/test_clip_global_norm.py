import pytest
import torch
from pasted import mlp, paste


def gradients(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def backward_with_norm(model, norm):
    model(torch.randn(16, 3)).square().mean().backward()
    scale = norm / gradients(model).double().norm().item()
    for parameter in model.parameters():
        parameter.grad.mul_(scale)
    return gradients(model).clone()


@pytest.mark.parametrize("norm", [2.6, 40.0, 1e12])
def test_bounds_and_keeps_the_direction(norm):
    model = mlp()
    before = backward_with_norm(model, norm)
    paste("clip_global_norm", model=model)
    assert gradients(model).norm().item() == pytest.approx(2.5, rel=1e-5)
    torch.testing.assert_close(gradients(model) / 2.5, before / norm)


@pytest.mark.parametrize("norm", [0.0, 1.0, 2.4999])
def test_leaves_a_smaller_norm(norm):
    model = mlp()
    before = backward_with_norm(model, norm)
    paste("clip_global_norm", model=model)
    assert torch.equal(gradients(model), before)
