use super::{Param, assert_close, device, l2};

include!("../../../../steadygrad/src/remedy/snippets/truncate_bptt.rs");

/// Returns the L2 norm of a small recurrent network's last state, and the norm of its gradient by
/// the input of each time step. Without a gradient the norm is 0.
fn run(steps: usize, truncated: bool) -> (f64, Vec<f64>) {
    let device = device();
    let recurrent = Param::from_data([[0.9, 0.4], [-0.4, 0.9]], &device);
    let inputs: Vec<Tensor<2>> = (0..steps)
        .map(|t| Tensor::from_data([[0.3, 0.1 * t as f32]], &device).require_grad())
        .collect();
    let mut state = Tensor::<2>::zeros([1, 2], &device);
    for (t, input) in inputs.iter().enumerate() {
        if truncated {
            state = truncate_bptt(state, t, steps);
        }
        state = (state.matmul(recurrent.val()) + input.clone()).tanh();
    }
    let grads = state.clone().square().sum().backward();
    let sizes = inputs
        .iter()
        .map(|input| input.grad(&grads).map_or(0.0, l2))
        .collect();
    (l2(state), sizes)
}

#[test]
fn the_gradient_reaches_the_last_four_steps_only() {
    let (plain_state, plain) = run(10, false);
    let (state, sizes) = run(10, true);
    assert_eq!(state, plain_state);
    assert!(plain.iter().all(|size| *size > 0.0));
    assert_eq!(sizes[..6], [0.0; 6]);
    for (size, plain) in sizes[6..].iter().zip(&plain[6..]) {
        assert_close(*size, *plain);
    }
}

#[test]
fn a_shorter_sequence_is_not_cut() {
    for steps in [1, 3, 4] {
        assert_eq!(run(steps, true), run(steps, false));
    }
}
