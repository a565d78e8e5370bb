use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::Inputs;

/// Added to the mean square before its root, as Burn's `RmsNorm` does.
pub(super) const NORM_EPSILON: f32 = 1e-5;

/// The parameters as plain memory. Burn stores `[in, out]` row by row. Read column by column this
/// is the transposed matrix `[out, in]`, which multiplies states that are stored one a column.
pub(super) struct Weights {
    pub(super) symbols: usize,
    pub(super) hidden: usize,
    pub(super) classes: usize,
    pub(super) input: Vec<f32>,
    pub(super) recurrent: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) norm: Option<Vec<f32>>,
    pub(super) output: Vec<f32>,
    pub(super) output_bias: Vec<f32>,
}

/// All time steps of a forward pass. Each list holds `steps * batch` columns of `hidden` values.
pub(super) struct States {
    /// The zero state before the first step, then `h_t` for each step.
    pub(super) after: Vec<f32>,
    /// The normalised pre-activation `z / rms(z)`; empty without a norm.
    pub(super) normalized: Vec<f32>,
    /// `1 / rms(z)`, one a column; empty without a norm.
    pub(super) inverse_rms: Vec<f32>,
    /// Values of one time step.
    pub(super) step_len: usize,
}

impl States {
    fn zeros(steps: usize, step_len: usize, columns_to_normalize: usize) -> Self {
        let normalizes = columns_to_normalize > 0;
        Self {
            after: vec![0.0; (steps + 1) * step_len],
            normalized: vec![0.0; if normalizes { steps * step_len } else { 0 }],
            inverse_rms: vec![0.0; columns_to_normalize],
            step_len,
        }
    }

    pub(super) fn last(&self) -> &[f32] {
        &self.after[self.after.len() - self.step_len..]
    }

    pub(super) fn state(&self, t: usize) -> &[f32] {
        &self.after[(t + 1) * self.step_len..(t + 2) * self.step_len]
    }
}

impl Weights {
    /// The states of all time steps.
    pub(super) fn forward(&self, inputs: Inputs<'_>) -> States {
        let (h, batch, steps) = (self.hidden, inputs.batch(), inputs.steps());
        let step_len = h * batch;
        let recurrent = MatRef::from_column_major_slice(&self.recurrent, h, h);
        let columns_to_normalize = self.norm.as_ref().map_or(0, |_| steps * batch);
        let mut states = States::zeros(steps, step_len, columns_to_normalize);
        for t in 0..steps {
            let (past, rest) = states.after.split_at_mut((t + 1) * step_len);
            let now = &mut rest[..step_len];
            self.read_inputs(inputs, t, now);
            let before = MatRef::from_column_major_slice(&past[t * step_len..], h, batch);
            let out = MatMut::from_column_major_slice_mut(now, h, batch);
            matmul(out, Accum::Add, recurrent, before, 1.0, Par::Seq);
            if let Some(gamma) = &self.norm {
                let normalized = &mut states.normalized[t * step_len..][..step_len];
                let inverse_rms = &mut states.inverse_rms[t * batch..][..batch];
                normalize(now, gamma, normalized, inverse_rms);
            }
            now.iter_mut().for_each(|z| *z = z.tanh());
        }
        states
    }

    /// Writes the bias and what the inputs of step `t` add to the units, one column a sequence.
    fn read_inputs(&self, inputs: Inputs<'_>, t: usize, now: &mut [f32]) {
        let h = self.hidden;
        for (b, column) in now.chunks_exact_mut(h).enumerate() {
            column.copy_from_slice(&self.bias);
            inputs.for_each(b, t, |symbol, value| {
                let row = &self.input[symbol * h..(symbol + 1) * h];
                for (out, x) in column.iter_mut().zip(row) {
                    *out += x * value;
                }
            });
        }
    }

    /// The logits, one row a sequence.
    pub(super) fn logits(&self, last: &[f32], batch: usize) -> Vec<f32> {
        let mut logits: Vec<f32> = self.output_bias.repeat(batch);
        matmul(
            MatMut::from_column_major_slice_mut(&mut logits, self.classes, batch),
            Accum::Add,
            MatRef::from_column_major_slice(&self.output, self.classes, self.hidden),
            MatRef::from_column_major_slice(last, self.hidden, batch),
            1.0,
            Par::Seq,
        );
        logits
    }
}

/// RMSNorm of each column; keeps what the backward pass needs.
fn normalize(now: &mut [f32], gamma: &[f32], normalized: &mut [f32], inverse_rms: &mut [f32]) {
    let h = gamma.len();
    let columns = now.chunks_exact_mut(h).zip(normalized.chunks_exact_mut(h));
    for ((column, kept), inverse) in columns.zip(inverse_rms) {
        let mean = column.iter().map(|z| z * z).sum::<f32>() / h as f32;
        *inverse = 1.0 / (mean + NORM_EPSILON).sqrt();
        for ((z, kept), gamma) in column.iter_mut().zip(kept).zip(gamma) {
            *kept = *z * *inverse;
            *z = *kept * gamma;
        }
    }
}

/// Mean cross-entropy of logits (one row a sample) and its gradient.
pub(super) fn cross_entropy(mut logits: Vec<f32>, classes: &[u8], count: usize) -> (f64, Vec<f32>) {
    let mut loss = 0.0f64;
    let scale = 1.0 / classes.len() as f32;
    for (row, class) in logits.chunks_exact_mut(count).zip(classes) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row
            .iter()
            .map(|logit| f64::from(logit - largest).exp())
            .sum();
        loss += sum.ln() - f64::from(row[usize::from(*class)] - largest);
        for logit in row.iter_mut() {
            *logit = (f64::from(*logit - largest).exp() / sum) as f32 * scale;
        }
        row[usize::from(*class)] -= scale;
    }
    (loss / classes.len() as f64, logits)
}
