# First in the loop `for t in range(steps)`: `state = truncate_bptt(state, t, steps)`. For a loss on
# the last state; with a loss at every step, detach whenever `t % TIME_STEPS == 0`.
import torch

TIME_STEPS = 4


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
