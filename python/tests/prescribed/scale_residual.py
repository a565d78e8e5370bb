# Once, on the model as it was built, before weights are loaded or trained: scale_residual(blocks),
# with the residual blocks. Each one's input and output have the same shape.
RESIDUAL_SCALE = 0.25


def scale_residual(blocks):
    def scaled(block, inputs, output):
        return inputs[0] + RESIDUAL_SCALE * (output - inputs[0])

    for block in blocks:
        block.register_forward_hook(scaled)
