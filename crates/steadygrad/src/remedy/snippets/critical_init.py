# Once, on the untrained model. A recurrent network gives only its recurrent matrix, as [matrix].
import math

import torch

GAIN = 1.4142135623730951
INPUT_RMS = 7.5


def critical_init(repeated, first=None, output=None):
    for weight in repeated:
        set_gain(weight, GAIN)
    if first is not None:
        set_gain(first, GAIN / INPUT_RMS)
    if output is not None:
        set_gain(output, 1.0)


@torch.no_grad()
def set_gain(weight, gain):
    """Scales a weight of shape [fan_out, fan_in] to std = gain / sqrt(fan_in)."""
    scale = gain * math.sqrt(weight.shape[0]) / weight.norm()
    if scale.isfinite():
        weight.mul_(scale)
