# After each optimizer.step(), before the learning-rate scheduler's: `decay_weights(optimizer)`.
import torch

WEIGHT_DECAY = 0.5


@torch.no_grad()
def decay_weights(optimizer):
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.mul_(1 - group["lr"] * WEIGHT_DECAY)
