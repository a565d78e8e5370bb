use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use steadygrad::dynamics::GradientSize;

use super::Inputs;
use super::scan::{States, Weights};
use crate::Tape;
use crate::tape::{Signals, rms};

/// Gradients of all parameters, in the memory layout of [`Weights`].
pub(super) struct ParameterGradients {
    pub(super) input: Vec<f32>,
    pub(super) recurrent: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) norm: Option<Vec<f32>>,
    pub(super) output: Vec<f32>,
    pub(super) output_bias: Vec<f32>,
}

/// What the signal leaves at each time step on its way back.
struct ThroughTime {
    /// Gradients of the pre-activations, one column a sequence and time step.
    before: Vec<f32>,
    input: Vec<f32>,
    bias: Vec<f32>,
    norm: Option<Vec<f32>>,
}

impl Weights {
    /// Backpropagation through the last `bptt_steps` time steps, or through all.
    pub(super) fn backward(
        &self,
        states: &States,
        inputs: Inputs<'_>,
        d_logits: &[f32],
        bptt_steps: Option<usize>,
        tape: &mut Tape,
    ) -> ParameterGradients {
        let first = bptt_steps.map_or(0, |kept| inputs.steps().saturating_sub(kept));
        let (output, output_bias) = self.output_gradients(states, d_logits);
        let d_last = self.last_state_gradient(d_logits);
        let through = self.through_time(states, inputs, d_last, first, tape);
        let recurrent = self.recurrent_gradient(states, &through.before, first);
        ParameterGradients {
            input: through.input,
            recurrent,
            bias: through.bias,
            norm: through.norm,
            output,
            output_bias,
        }
    }

    /// Gradients of the output matrix and of its bias.
    fn output_gradients(&self, states: &States, d_logits: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (h, c) = (self.hidden, self.classes);
        let batch = d_logits.len() / c;
        let last = MatRef::from_column_major_slice(states.last(), h, batch);
        let mut output = vec![0.0; c * h];
        matmul(
            MatMut::from_column_major_slice_mut(&mut output, c, h),
            Accum::Replace,
            MatRef::from_column_major_slice(d_logits, c, batch),
            last.transpose(),
            1.0,
            Par::Seq,
        );
        let mut output_bias = vec![0.0; c];
        for column in d_logits.chunks_exact(c) {
            add(&mut output_bias, column);
        }
        (output, output_bias)
    }

    /// The gradient that the last state gets from the logits.
    fn last_state_gradient(&self, d_logits: &[f32]) -> Vec<f32> {
        let (h, c) = (self.hidden, self.classes);
        let batch = d_logits.len() / c;
        let output_weights = MatRef::from_column_major_slice(&self.output, c, h);
        let mut d_state = vec![0.0f32; h * batch];
        matmul(
            MatMut::from_column_major_slice_mut(&mut d_state, h, batch),
            Accum::Replace,
            output_weights.transpose(),
            MatRef::from_column_major_slice(d_logits, c, batch),
            1.0,
            Par::Seq,
        );
        d_state
    }

    /// Carries `d_state` back from the last time step to step `first`, and records it on the tape.
    fn through_time(
        &self,
        states: &States,
        inputs: Inputs<'_>,
        mut d_state: Vec<f32>,
        first: usize,
        tape: &mut Tape,
    ) -> ThroughTime {
        let (h, batch, steps) = (self.hidden, inputs.batch(), inputs.steps());
        let step_len = states.step_len;
        let recurrent = MatRef::from_column_major_slice(&self.recurrent, h, h);
        let mut sums = ThroughTime {
            before: vec![0.0f32; (steps - first) * step_len],
            input: vec![0.0f32; self.symbols * h],
            bias: vec![0.0f32; h],
            norm: self.norm.as_ref().map(|_| vec![0.0f32; h]),
        };
        let zero = GradientSize::from(0.0);
        let mut sizes = vec![zero; if tape.is_on() { steps } else { 0 }];
        let mut fading = vec![false; batch];
        let least = least_signal(tape);
        for t in (first..steps).rev() {
            if tape.is_on() {
                sizes[t] = GradientSize::of(&d_state);
                tape.count(below_normal(&d_state, states.state(t), h, &mut fading));
            }
            let d_now = &mut sums.before[(t - first) * step_len..][..step_len];
            through_tanh(d_now, &d_state, states.state(t), least);
            if let (Some(gamma), Some(d_gamma)) = (&self.norm, &mut sums.norm) {
                through_norm(d_now, gamma, d_gamma, states, t);
            }
            for (b, column) in d_now.chunks_exact(h).enumerate() {
                add(&mut sums.bias, column);
                inputs.for_each(b, t, |symbol, value| {
                    let row = &mut sums.input[symbol * h..(symbol + 1) * h];
                    row.iter_mut()
                        .zip(column)
                        .for_each(|(sum, d)| *sum += d * value);
                });
            }
            matmul(
                MatMut::from_column_major_slice_mut(&mut d_state, h, batch),
                Accum::Replace,
                recurrent.transpose(),
                MatRef::from_column_major_slice(d_now, h, batch),
                1.0,
                Par::Seq,
            );
        }
        for (t, size) in sizes.into_iter().enumerate() {
            tape.record(format!("t={t}"), rms(states.state(t)), size);
        }
        sums
    }

    /// The recurrent matrix's gradient, from the gradients of all pre-activations since `first`.
    fn recurrent_gradient(&self, states: &States, d_before: &[f32], first: usize) -> Vec<f32> {
        let h = self.hidden;
        let columns = d_before.len() / h;
        // The state before step t is column t: `after` begins with the zero state.
        let before = &states.after[first * states.step_len..][..d_before.len()];
        let mut recurrent = vec![0.0f32; h * h];
        matmul(
            MatMut::from_column_major_slice_mut(&mut recurrent, h, h),
            Accum::Replace,
            MatRef::from_column_major_slice(d_before, h, columns),
            MatRef::from_column_major_slice(before, h, columns).transpose(),
            1.0,
            Par::Seq,
        );
        recurrent
    }
}

fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}

/// Signals that are smaller are set to zero.
fn least_signal(tape: &Tape) -> f32 {
    if tape.keeps_subnormals() {
        0.0
    } else {
        f32::MIN_POSITIVE
    }
}

/// `d = d_after tanh'(z)`, zero where it is smaller than `least`.
fn through_tanh(d_now: &mut [f32], d_after: &[f32], after: &[f32], least: f32) {
    for ((d, d_after), after) in d_now.iter_mut().zip(d_after).zip(after) {
        let value = d_after * (1.0 - after * after);
        *d = if value.abs() < least { 0.0 } else { value };
    }
}

/// Takes the gradient of each column back through RMSNorm, and adds to the gradient of its scale.
fn through_norm(d_now: &mut [f32], gamma: &[f32], d_gamma: &mut [f32], states: &States, t: usize) {
    let (h, step_len) = (gamma.len(), states.step_len);
    let batch = step_len / h;
    for (b, column) in d_now.chunks_exact_mut(h).enumerate() {
        let kept = &states.normalized[t * step_len + b * h..][..h];
        let inverse = states.inverse_rms[t * batch + b];
        let mut dot = 0.0;
        for i in 0..h {
            d_gamma[i] += column[i] * kept[i];
            column[i] *= gamma[i];
            dot += column[i] * kept[i];
        }
        let mean = dot / h as f32;
        for i in 0..h {
            column[i] = (column[i] - kept[i] * mean) * inverse;
        }
    }
}

/// Counts the signals `d_after tanh'` that are subnormal, and those that have become zero in a
/// sequence whose signals were subnormal at a later time (`fading`). The signals of a saturated
/// unit are zero by right and do not count.
pub(super) fn below_normal(
    d_after: &[f32],
    after: &[f32],
    h: usize,
    fading: &mut [bool],
) -> Signals {
    let mut found = Signals {
        values: d_after.len() as u64,
        ..Signals::default()
    };
    let columns = d_after.chunks_exact(h).zip(after.chunks_exact(h));
    for ((d_after, after), fading) in columns.zip(fading) {
        let faded = *fading;
        for (d_after, after) in d_after.iter().zip(after) {
            let slope = 1.0 - after * after;
            let value = d_after * slope;
            if value.is_subnormal() {
                found.subnormal += 1;
                *fading = true;
            } else if value == 0.0 && slope != 0.0 && faded {
                found.lost += 1;
            }
        }
    }
    found
}
