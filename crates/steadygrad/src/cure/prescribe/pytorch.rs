use super::literal;
use crate::remedy::Remedy;

/// Python for PyTorch 2: functions to paste into a module, below a comment that says what calls
/// them, or the lines themselves where they are few.
pub(super) fn snippet(remedy: &Remedy) -> String {
    match *remedy {
        Remedy::ClipGlobalNorm { max_norm } => {
            CLIP_GLOBAL_NORM.replace("$max_norm", &literal(max_norm))
        }
        Remedy::CapSpectralNorm { max_spectral_norm } => {
            CAP_SPECTRAL_NORM.replace("$max_spectral_norm", &literal(max_spectral_norm))
        }
        Remedy::CriticalInit { gain, input_rms } => CRITICAL_INIT
            .replace("$gain", &literal(gain))
            .replace("$input_rms", &literal(input_rms)),
        Remedy::ScaleResidual { scale } => SCALE_RESIDUAL.replace("$scale", &literal(scale)),
        Remedy::RmsNorm { every } => RMS_NORM.replace("$every", &every.to_string()),
        Remedy::ReduceDepth { depth } => REDUCE_DEPTH.replace("$depth", &depth.to_string()),
        Remedy::TruncateBptt { time_steps } => {
            TRUNCATE_BPTT.replace("$time_steps", &time_steps.to_string())
        }
        Remedy::LowerLearningRate { learning_rate } => {
            LOWER_LEARNING_RATE.replace("$learning_rate", &literal(learning_rate))
        }
    }
}

const CLIP_GLOBAL_NORM: &str = "\
# Between loss.backward() and optimizer.step(); with a gradient scaler, after scaler.unscale_().
from torch.nn.utils import clip_grad_norm_

clip_grad_norm_(model.parameters(), max_norm=$max_norm)
";

const CAP_SPECTRAL_NORM: &str = "\
# Before the first step and after each optimizer.step(), for every repeated weight matrix: without
# the first, one step may be too many. `directions` starts as {} and is kept from step to step: the
# singular vector moves little, so one iteration follows it.
import torch

MAX_SPECTRAL_NORM = $max_spectral_norm


@torch.no_grad()
def cap_spectral_norm(weight, directions):
    v, iterations = directions.get(weight), 1
    if v is None:
        v, iterations = torch.arange(1, weight.shape[1] + 1).to(weight).sin(), 30
    for _ in range(iterations):
        v = weight.T @ (weight @ v)
        v = v / v.norm()
    norm = (weight @ v).norm()
    directions[weight] = v if norm > 0 else None
    if norm > MAX_SPECTRAL_NORM:
        weight.mul_(MAX_SPECTRAL_NORM / norm)
";

const CRITICAL_INIT: &str = "\
# Once, on the untrained model. A recurrent network gives only its recurrent matrix, as [matrix].
import math

import torch

GAIN = $gain
INPUT_RMS = $input_rms


def critical_init(repeated, first=None, output=None):
    for weight in repeated:
        set_gain(weight, GAIN)
    if first is not None:
        set_gain(first, GAIN / INPUT_RMS)
    if output is not None:
        set_gain(output, 1.0)


@torch.no_grad()
def set_gain(weight, gain):
    \"\"\"Scales a weight of shape [fan_out, fan_in] to std = gain / sqrt(fan_in).\"\"\"
    scale = gain * math.sqrt(weight.shape[0]) / weight.norm()
    if scale.isfinite():
        weight.mul_(scale)
";

const SCALE_RESIDUAL: &str = "\
# Once, on the model as it was built, before weights are loaded or trained: scale_residual(blocks),
# with the residual blocks; `added=True` where they give only what the model then adds to what they
# took. Each one's input and output have the same shape, and none adds to its input in place.
from functools import partial

RESIDUAL_SCALE = $scale


def scaled(block, inputs, output, added):
    if isinstance(output, tuple):
        return (scaled(block, inputs, output[0], added), *output[1:])
    if added:
        return RESIDUAL_SCALE * output
    return inputs[0] + RESIDUAL_SCALE * (output - inputs[0])


def scale_residual(blocks, added=False):
    for block in blocks:
        block.register_forward_hook(partial(scaled, added=added))
";

const RMS_NORM: &str = "\
# Each repeated layer gets `self.norm = layer_norm(index, width)` and runs
# `before = self.norm(before)` right before its activation. The cell of a recurrent network is
# layer 0, at every time step. Of images it is `layer_norm(index, channels, images=True)`.
import torch

EVERY = $every


def layer_norm(index, width, images=False):
    if index % EVERY == 0:
        return ImageNorm(width) if images else torch.nn.RMSNorm(width, eps=1e-5)
    return torch.nn.Identity()


class ImageNorm(torch.nn.Module):
    \"\"\"Over all values of an image, with one weight a channel.\"\"\"

    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, images):
        mean_square = images.square().mean((1, 2, 3), keepdim=True)
        return images * torch.rsqrt(mean_square + 1e-5) * self.weight
";

const REDUCE_DEPTH: &str = "\
# Where the model is built: `self.hidden = reduce_depth(self.hidden)`, a ModuleList of the layers
# that end in an activation, the one that reads the input included. All must have the same width.
DEPTH = $depth


def reduce_depth(hidden):
    return hidden[:DEPTH]
";

const TRUNCATE_BPTT: &str = "\
# First in the loop `for t in range(steps)`: `state = truncate_bptt(state, t, steps)`. For a loss on
# the last state; with a loss at every step, detach whenever `t % TIME_STEPS == 0`.
import torch

TIME_STEPS = $time_steps


def truncate_bptt(state, t, steps):
    return state.detach() if t + TIME_STEPS == steps else state


# An nn.RNN, nn.LSTM or nn.GRU has no such loop. Once, on the model: `truncate(model.lstm)`, which
# then takes sequences that are not packed.
def truncate(module):
    whole = module.forward

    def forward(inputs, hx=None):
        axis, outputs = 1 if module.batch_first else 0, []
        # From the end: the last part is as long as the gradient flows back.
        length = inputs.shape[axis]
        first = length % TIME_STEPS or min(TIME_STEPS, length)
        for part in inputs.tensor_split([*range(first, length, TIME_STEPS)], dim=axis):
            if outputs:
                hx = tuple(h.detach() for h in hx) if isinstance(hx, tuple) else hx.detach()
            output, hx = whole(part, hx)
            outputs.append(output)
        return torch.cat(outputs, dim=axis), hx

    module.forward = forward
";

const LOWER_LEARNING_RATE: &str = "\
# Once, after the optimizer is built and before any learning-rate scheduler is.
factor = $learning_rate / max(group[\"lr\"] for group in optimizer.param_groups)
for group in optimizer.param_groups:
    group[\"lr\"] *= factor
";
