"""The PyTorch code that is prescribed runs as it is pasted, and does what its remedy says.

`crates/steadygrad/tests/prescribed_pytorch.rs` holds that these files are what is prescribed.
"""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

FOLDER = Path(__file__).parent / "prescribed"


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(7)


def paste(name, **surroundings):
    """Runs a prescribed file with these names, and returns all names afterwards."""
    names = dict(surroundings)
    code = compile((FOLDER / f"{name}.py").read_text(), f"{name}.py", "exec")
    exec(code, names)
    return SimpleNamespace(**names)


def mlp(depth=3):
    layers = []
    for index in range(depth):
        layers += [nn.Linear(3 if index == 0 else 8, 8), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(8, 2))


def test_every_file_is_tested():
    tested = {name.removeprefix("test_").split("__")[0] for name in globals()}
    assert {path.stem for path in FOLDER.glob("*.py")} <= tested


def gradients(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def backward_with_norm(model, norm):
    model(torch.randn(16, 3)).square().mean().backward()
    scale = norm / gradients(model).double().norm().item()
    for parameter in model.parameters():
        parameter.grad.mul_(scale)
    return gradients(model).clone()


@pytest.mark.parametrize("norm", [2.6, 40.0, 1e12])
def test_clip_global_norm__bounds_and_keeps_the_direction(norm):
    model = mlp()
    before = backward_with_norm(model, norm)
    paste("clip_global_norm", model=model)
    assert gradients(model).norm().item() == pytest.approx(2.5, rel=1e-5)
    torch.testing.assert_close(gradients(model) / 2.5, before / norm)


@pytest.mark.parametrize("norm", [0.0, 1.0, 2.4999])
def test_clip_global_norm__leaves_a_smaller_norm(norm):
    model = mlp()
    before = backward_with_norm(model, norm)
    paste("clip_global_norm", model=model)
    assert torch.equal(gradients(model), before)


def spectral_norm(weight):
    return torch.linalg.matrix_norm(weight.detach().double(), ord=2).item()


# Singular values 5 and 1; the second has row sums of zero.
@pytest.mark.parametrize("rows", [[[3, 0, 4], [0, 1, 0]], [[4, -4, 0], [0, 0, 0]]])
def test_cap_spectral_norm__scales_a_larger_matrix(rows):
    pasted = paste("cap_spectral_norm")
    weight = nn.Parameter(torch.tensor(rows, dtype=torch.float32))
    expected = weight.detach() * (4 / 3) / spectral_norm(weight)
    pasted.cap_spectral_norm(weight, {})
    assert weight.requires_grad
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize("value", [0.1, 0.0, math.nan])
def test_cap_spectral_norm__leaves_a_smaller_matrix(value):
    pasted = paste("cap_spectral_norm")
    weight = nn.Parameter(torch.full((2, 3), value))
    before = weight.detach().clone()
    pasted.cap_spectral_norm(weight, {})
    torch.testing.assert_close(weight.detach(), before, rtol=0, atol=0, equal_nan=True)


def test_cap_spectral_norm__holds_while_training_from_zero():
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


def gain(weight):
    """Returns std * sqrt(fan_in), with the standard deviation about zero."""
    return weight.detach().square().mean().sqrt().item() * math.sqrt(weight.shape[1])


def test_critical_init__of_a_feed_forward_network():
    model = mlp(depth=4)
    first, *repeated, output = [layer.weight for layer in model if isinstance(layer, nn.Linear)]
    paste("critical_init").critical_init(repeated, first, output)
    assert gain(first) == pytest.approx(math.sqrt(2) / 7.5, rel=1e-5)
    for weight in repeated:
        assert gain(weight) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert gain(output) == pytest.approx(1, rel=1e-5)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_critical_init__of_a_recurrent_network_and_a_zero_matrix():
    cell, zero = nn.RNNCell(3, 8), torch.zeros(4, 4)
    inputs = cell.weight_ih.detach().clone()
    paste("critical_init").critical_init([cell.weight_hh, zero])
    assert gain(cell.weight_hh) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert torch.equal(cell.weight_ih, inputs)
    assert not zero.any()


def test_rms_norm__of_every_third_layer_from_the_first():
    pasted = paste("rms_norm")
    before = 1e4 * torch.randn(5, 64)
    for index in range(7):
        after = pasted.layer_norm(index, 64)(before)
        if index in (0, 3, 6):
            torch.testing.assert_close(after.square().mean(1), torch.ones(5))
        else:
            assert torch.equal(after, before)


def test_rms_norm__of_images():
    pasted, images = paste("rms_norm"), 5.0 * torch.randn(4, 7, 8, 6)
    norm = pasted.layer_norm(0, 7, images=True)
    torch.testing.assert_close(norm(images).square().mean((1, 2, 3)), torch.ones(4))
    with torch.no_grad():
        norm.weight[2] = 3.0
    torch.testing.assert_close(
        norm(images)[:, 2], 3.0 * norm(images)[:, 1] * images[:, 2] / images[:, 1]
    )
    assert torch.equal(pasted.layer_norm(1, 7, images=True)(images), images)


def test_scale_residual__leaves_a_quarter_of_what_each_block_adds():
    blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    expected = inputs = torch.randn(5, 4)
    for block in blocks:
        expected = expected + 0.25 * (block(expected) - expected)
    paste("scale_residual").scale_residual(blocks)
    for block in blocks:
        inputs = block(inputs)
    torch.testing.assert_close(inputs, expected)


def test_scale_residual__of_blocks_that_the_model_adds():
    block, inputs = nn.Linear(4, 4), torch.randn(5, 4)
    expected = inputs + 0.25 * block(inputs)
    paste("scale_residual").scale_residual([block], added=True)
    torch.testing.assert_close(inputs + block(inputs), expected)


def test_scale_residual__of_blocks_that_return_more():
    lstm, inputs = nn.LSTM(4, 4), torch.randn(3, 2, 4)
    output, state = lstm(inputs)
    paste("scale_residual").scale_residual([lstm])
    scaled, same = lstm(inputs)
    torch.testing.assert_close(scaled, inputs + 0.25 * (output - inputs))
    assert torch.equal(same[0], state[0]) and torch.equal(same[1], state[1])


def test_reduce_depth__leaves_five_layers():
    layers = nn.ModuleList(nn.Linear(3 if index == 0 else 8, 8) for index in range(9))
    kept = paste("reduce_depth").reduce_depth(layers)
    assert isinstance(kept, nn.ModuleList)
    assert list(kept) == list(layers)[:5]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_truncate_bptt__of_a_module(kind, batch_first):
    pasted = paste("truncate_bptt")
    module = kind(3, 4, batch_first=batch_first)
    for length in (pasted.TIME_STEPS + 2, 2 * pasted.TIME_STEPS, 1):
        inputs = torch.randn(5, length, 3).requires_grad_()
        ordered = (lambda x: x) if batch_first else (lambda x: x.transpose(0, 1))
        whole, state = kind.forward(module, ordered(inputs))
        pasted.truncate(module)
        parts, same = module(ordered(inputs))
        torch.testing.assert_close(parts, whole)
        torch.testing.assert_close(same, state)
        ordered(parts)[:, -1].sum().backward()
        reached = inputs.grad.abs().sum((0, 2)) > 0
        assert reached.tolist() == [at >= length - pasted.TIME_STEPS for at in range(length)]
        del module.forward


def run_recurrent(steps, truncate=lambda state, t, steps: state):
    """Returns the last state, and the gradient of its norm for each input (0 if there is none)."""
    recurrent = torch.tensor([[0.9, 0.4], [-0.4, 0.9]])
    inputs = [torch.tensor([0.3, 0.1 * t], requires_grad=True) for t in range(steps)]
    state = torch.zeros(2)
    for t in range(steps):
        state = truncate(state, t, steps)
        state = torch.tanh(recurrent @ state + inputs[t])
    state.square().sum().backward()
    sizes = [0.0 if x.grad is None else x.grad.norm().item() for x in inputs]
    return state.tolist(), sizes


def test_truncate_bptt__reaches_the_last_four_steps_only():
    plain_state, plain = run_recurrent(10)
    state, sizes = run_recurrent(10, paste("truncate_bptt").truncate_bptt)
    assert state == plain_state
    assert all(size > 0 for size in plain)
    assert sizes == [0.0] * 6 + plain[6:]


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_truncate_bptt__does_not_cut_a_shorter_sequence(steps):
    assert run_recurrent(steps, paste("truncate_bptt").truncate_bptt) == run_recurrent(steps)


def test_lower_learning_rate__is_what_the_optimizer_steps_by():
    weight = nn.Parameter(torch.zeros(2, 2))
    bias = nn.Parameter(torch.zeros(2))
    frozen = nn.Parameter(torch.zeros(2))
    groups = [{"params": [weight], "lr": 3.0}, {"params": [bias]}, {"params": [frozen], "lr": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.3)
    paste("lower_learning_rate", optimizer=optimizer)
    (1000 * (weight.sum() + bias.sum() + frozen.sum())).backward()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), -0.0125))
    # One factor for all groups.
    torch.testing.assert_close(bias.detach(), torch.full((2,), -0.00125))
    assert not frozen.detach().any()
