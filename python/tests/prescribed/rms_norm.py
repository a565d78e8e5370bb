# Each repeated layer gets `self.norm = layer_norm(index, width)` and runs
# `before = self.norm(before)` right before its activation. The cell of a recurrent network is
# layer 0, at every time step.
import torch

EVERY = 3


def layer_norm(index, width):
    if index % EVERY == 0:
        return torch.nn.RMSNorm(width, eps=1e-5)
    return torch.nn.Identity()
