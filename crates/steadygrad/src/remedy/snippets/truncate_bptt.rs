// First in the loop over the time steps `t in 0..steps`: `state = truncate_bptt(state, t, steps);`.
// For a loss on the last state; with a loss at every step, detach whenever `t % TIME_STEPS == 0`.
use burn::tensor::Tensor;

const TIME_STEPS: usize = 4;

fn truncate_bptt<const D: usize>(state: Tensor<D>, t: usize, steps: usize) -> Tensor<D> {
    match t + TIME_STEPS == steps {
        true => state.detach(),
        false => state,
    }
}
