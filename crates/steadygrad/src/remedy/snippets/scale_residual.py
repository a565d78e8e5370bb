# Once, on the new model, before weights are loaded or trained: `scale_residual(blocks)`, with the
# residual blocks. `added=True` if they return only the branch, which the model itself adds. Each
# block's input and output must have the same shape, and none may add to its input in place.
from functools import partial

RESIDUAL_SCALE = 0.25


def scaled(block, inputs, output, added):
    if isinstance(output, tuple):
        return (scaled(block, inputs, output[0], added), *output[1:])
    if added:
        return RESIDUAL_SCALE * output
    return inputs[0] + RESIDUAL_SCALE * (output - inputs[0])


def scale_residual(blocks, added=False):
    for block in blocks:
        block.register_forward_hook(partial(scaled, added=added))
