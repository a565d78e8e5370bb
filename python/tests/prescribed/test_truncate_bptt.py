import pytest
import torch
from pasted import paste
from torch import nn


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_of_a_module(kind, batch_first):
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
    """The last state, and the gradient of its size with respect to each input: 0 if none."""
    recurrent = torch.tensor([[0.9, 0.4], [-0.4, 0.9]])
    inputs = [torch.tensor([0.3, 0.1 * t], requires_grad=True) for t in range(steps)]
    state = torch.zeros(2)
    for t in range(steps):
        state = truncate(state, t, steps)
        state = torch.tanh(recurrent @ state + inputs[t])
    state.square().sum().backward()
    sizes = [0.0 if x.grad is None else x.grad.norm().item() for x in inputs]
    return state.tolist(), sizes


def test_reaches_the_last_four_steps_only():
    plain_state, plain = run_recurrent(10)
    state, sizes = run_recurrent(10, paste("truncate_bptt").truncate_bptt)
    assert state == plain_state
    assert all(size > 0 for size in plain)
    assert sizes == [0.0] * 6 + plain[6:]


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_does_not_cut_a_shorter_sequence(steps):
    assert run_recurrent(steps, paste("truncate_bptt").truncate_bptt) == run_recurrent(steps)
