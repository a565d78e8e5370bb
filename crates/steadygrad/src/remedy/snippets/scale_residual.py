# Once, on the model as it was built, before weights are loaded or trained: scale_residual(blocks),
# with the residual blocks; `added=True` where they give only what the model then adds to what they
# took. Each one's input and output have the same shape, and none adds to its input in place.
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
