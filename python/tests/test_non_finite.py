"""The operation that made a NaN is named, not those that passed it on."""

import math

import pytest
import torch
from steadygrad.torch import find_non_finite
from torch import nn

mse = nn.functional.mse_loss


class Logs(nn.Module):
    def forward(self, x):
        return x.log()


class Roots(nn.Module):
    """Is finite at 0, where its gradient is infinite."""

    def forward(self, x):
        return x.abs().sqrt()


class Attention(nn.Module):
    def forward(self, x):
        mask = torch.zeros(len(x), 4, dtype=torch.bool)
        # Everything in row 2 is masked.
        mask[2] = True
        mask[:, 3] = True
        return torch.softmax(x[:, :4].masked_fill(mask, -math.inf), dim=1)


def batch(rows=6, width=4):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, width, generator=generator) + 0.5, torch.ones(rows, 1)


def model(middle=None, width=4):
    torch.manual_seed(0)
    layers = [
        nn.Identity(),
        middle or nn.Identity(),
        nn.Linear(width, 8),
        nn.Tanh(),
        nn.Linear(8, 1),
    ]
    return nn.Sequential(*layers)


def test_a_healthy_pass_has_none():
    assert find_non_finite(model(), batch(), mse) is None
    # A mask's infinities do not count.

    class Masked(Attention):
        def forward(self, x):
            return super().forward(x)[[0, 1, 3, 4, 5, 0]]

    assert find_non_finite(model(nn.Sequential(nn.Softmax(1))), batch(), mse) is None


def test_what_makes_it_in_the_forward_pass_and_in_which_row():
    inputs, targets = batch()
    inputs[4, 1] = -1.0
    found = find_non_finite(model(Logs()), (inputs, targets), mse)
    assert (found.where, found.name, found.operation) == ("forward", "1", "aten.log")
    assert (found.value, found.rows) == ("nan", (4,))
    assert str(found) == "aten.log in `1` makes the first NaN from finite values, in row 4"
    inputs[4, 1] = 0.0
    found = find_non_finite(model(Logs()), (inputs, targets), mse)
    assert (found.operation, found.value, found.rows) == ("aten.log", "inf", (4,))


def test_what_makes_it_in_the_backward_pass():
    inputs, targets = batch()
    inputs[2, 0] = 0.0
    inputs.requires_grad_()
    net = nn.Sequential(nn.Linear(4, 4, bias=False), Roots(), nn.Linear(4, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(4))
    found = find_non_finite(net, (inputs.detach(), targets), mse)
    assert (found.where, found.name) == ("backward", "1")
    assert found.rows == (2,)
    assert "the gradient of `sqrt` in `1`" in str(found)


def test_a_row_that_is_masked_whole():
    found = find_non_finite(model(Attention()), batch(), mse)
    assert (found.where, found.name, found.operation) == ("forward", "1", "aten._softmax")
    assert (found.value, found.rows) == ("nan", (2,))


def test_a_loss_that_overflows_is_outside_of_all_modules():
    inputs, targets = batch()
    found = find_non_finite(
        model(), (inputs, targets), lambda out, target: (out * 1e30).pow(2).mean() * 1e10
    )
    assert (found.where, found.name, found.operation) == ("forward", "", "aten.pow")
    assert "in the loss" in str(found)


class Own(nn.Module):
    """Computes in its own `forward`, before and after its layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))

    def forward(self, x):
        return self.layers(x).sub(100.0).log()


class Last(Own):
    def forward(self, x):
        return self.layers(x - x).mul(0.0).abs().sqrt()


def test_what_the_model_does_itself_is_not_the_loss():
    found = find_non_finite(Own(), batch(), mse)
    assert (found.where, found.name, found.operation) == ("forward", "Own", "aten.log")
    assert str(found).startswith("aten.log in `Own` makes the first NaN from finite values")
    model = Last()
    with torch.no_grad():
        model.layers[1].bias.zero_()
    found = find_non_finite(model, batch(), mse)
    assert (found.where, found.name) == ("backward", "Last")
    # The last layer's output is the model's, so the gradient belongs to the layer.
    assert (
        find_non_finite(
            nn.Sequential(nn.Linear(4, 1), Roots()), (torch.zeros(6, 4), torch.ones(6, 1)), mse
        )
        is None
    )
    zero = nn.Sequential(nn.Linear(4, 1, bias=False), Roots())
    assert find_non_finite(zero, (torch.zeros(6, 4), torch.ones(6, 1)), mse).name == "1"


def test_weights_and_inputs_that_are_broken_already():
    inputs, targets = batch()
    inputs[1, 2], inputs[5, 0] = math.nan, math.inf
    found = find_non_finite(model(), (inputs, targets), mse)
    assert (found.where, found.value, found.rows) == ("input", "nan", (1, 5))
    assert str(found) == "the batch holds a NaN, in rows 1, 5"
    broken = model()
    with torch.no_grad():
        broken[2].bias[3] = math.inf
    found = find_non_finite(broken, batch(), mse)
    assert str(found) == "the parameter `2.bias` already holds an infinite value"


def test_half_precision_that_overflows():
    inputs, targets = batch()
    net = model().half()
    # tanh of an overflow is 1, and all results are finite.
    assert find_non_finite(net, (inputs.half(), targets.half()), mse) is None
    net[3] = nn.ReLU()
    with torch.no_grad():
        net[2].weight.fill_(3e4)
    found = find_non_finite(net, (inputs.half(), targets.half()), mse)
    assert (found.where, found.name, found.value) == ("forward", "2", "inf")
    assert found.rows == tuple(range(6))


def test_the_callers_model_is_left_alone():
    net = model(nn.BatchNorm1d(4))
    before = [tensor.clone() for tensor in net.state_dict().values()]
    random = torch.random.get_rng_state()
    find_non_finite(net, batch(), mse)
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values()))
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(random, torch.random.get_rng_state())


def test_recurrent_modules_and_what_cannot_be_run():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    assert find_non_finite(Net(), (torch.randn(6, 5, 4), torch.ones(6, 1)), mse) is None
    with pytest.raises(TypeError):
        find_non_finite(model(), 3, mse)
    with pytest.raises(TypeError, match=r"is the model's output, here a .*, and not the model"):
        find_non_finite(model(), batch(), lambda model, batch: mse(model(batch[0]), batch[1]))
    with pytest.raises(TypeError, match="one number"):
        find_non_finite(model(), batch(), lambda output, target: output - target)


def penalised(critic, fake):
    """A gradient penalty, which runs the critic itself."""
    point = fake.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(point).sum(), point, create_graph=True)
    return (slope.square().sum(1).sqrt() - 1).square().mean()


def test_a_penalty_s_root_is_the_loss_s_and_the_caller_s_model_stays_as_it_was():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    nn.init.zeros_(critic[3].weight)
    for parameter in critic.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    inputs, targets = batch()
    random = torch.get_rng_state()

    def loss(output, _):
        return output.mean() + penalised(critic, inputs)

    found = find_non_finite(critic, (inputs, targets), loss)
    assert (found.where, found.name, found.gradient_of) == ("backward", "", "sqrt")
    assert "the gradient of `sqrt` in the loss" in str(found)
    assert all(bool((p.grad == 1).all()) for p in critic.parameters())
    assert all(torch.equal(before[name], value) for name, value in critic.state_dict().items())
    assert torch.equal(random, torch.get_rng_state()) and critic.training
    assert all(p.requires_grad for p in critic.parameters())


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.inner = nn.Linear(4, 1)
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, x):
        return self.inner(x) * self.scale


def test_buffers_and_what_a_loss_holds_are_named():
    found = find_non_finite(Scaled(math.nan), batch(), mse)
    assert str(found) == "the buffer `scale` already holds a NaN"
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    net[1].running_var[2] = math.nan
    # Training does not use the statistic, but keeps it NaN.
    for mode in (True, False):
        net.train(mode)
        assert find_non_finite(net, batch(), mse).name == "1.running_var"
        assert net.training is mode and bool(net[1].running_var[2].isnan())
    net = nn.Linear(4, 3)
    inputs, _ = batch()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, math.inf, 1.0]))
    found = find_non_finite(net, (inputs, labels), weighted)
    assert (found.where, found.name, found.value) == ("loss", "weight", "inf")
    prior = torch.tensor([0.0, math.nan, 0.0])

    def adjusted(output, target):
        return nn.functional.cross_entropy(output + prior, target)

    found = find_non_finite(net, (inputs, labels), adjusted)
    assert str(found) == "`prior`, which the loss uses, already holds a NaN"
    assert find_non_finite(net, (inputs, labels), nn.CrossEntropyLoss()) is None


class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        mask = torch.full((4, 4), -math.inf).triu(1)
        self.register_buffer("mask", mask)
        self.register_buffer("spare", torch.tensor(math.nan))
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        weights = torch.softmax(x.unsqueeze(1) * x.unsqueeze(2) + self.mask, dim=-1)
        return self.out((weights @ x.unsqueeze(2)).squeeze(2))


def test_a_mask_in_a_buffer_and_a_buffer_that_nothing_uses_are_no_origin():
    assert find_non_finite(Causal(), batch(), mse) is None
    inputs, targets = batch()

    def logs(output, target):
        return (output - 1e9 * target).log().mean()

    found = find_non_finite(Causal(), (inputs, targets), logs)
    assert (found.where, found.name, found.operation) == ("forward", "", "aten.log")


def test_means_over_nothing_and_deviations_of_one():
    net, inputs = nn.Linear(4, 3), batch()[0]
    ignored = torch.full((6,), -100)
    found = find_non_finite(net, (inputs, ignored), nn.CrossEntropyLoss())
    assert (found.where, found.name, found.value) == ("forward", "", "nan")
    one = inputs[:1], torch.zeros(1, 3)
    with pytest.warns(UserWarning, match="degrees of freedom"):
        found = find_non_finite(net, one, lambda out, y: ((out - y) / out.std(0)).sum())
    assert (found.name, found.operation) == ("", "aten.std")


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.last(checkpoint(lambda x: self.first(x).log(), x, use_reentrant=True))


def test_a_checkpoint_is_run_through():
    inputs, targets = batch()
    found = find_non_finite(Checkpointed(), (inputs.requires_grad_(), targets), mse)
    assert found.operation == "aten.log" and found.value == "nan"
    assert inputs.grad is None
