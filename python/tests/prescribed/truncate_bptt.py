# First in the loop `for t in range(steps)`: `state = truncate_bptt(state, t, steps)`. For a loss on
# the last state; with a loss at every step, detach whenever `t % TIME_STEPS == 0`.
TIME_STEPS = 4


def truncate_bptt(state, t, steps):
    return state.detach() if t + TIME_STEPS == steps else state
