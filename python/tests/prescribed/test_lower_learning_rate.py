import torch
from pasted import paste
from torch import nn


def test_is_what_the_optimizer_steps_by():
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
