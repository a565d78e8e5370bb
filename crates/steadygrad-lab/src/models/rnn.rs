use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Int, Tensor, TensorData};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rand_chacha::ChaCha8Rng;
use steadygrad::dynamics::GradientSize;

use steadygrad_burn::Stages;

use crate::random::normal;
use crate::tape::{Signals, rms};
use crate::{Structure, Tape};

/// Added to the mean square before its root, as Burn's `RmsNorm` does.
const NORM_EPSILON: f32 = 1e-5;

/// Shape and initialisation of a plain tanh recurrent network over symbols.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RnnConfig {
    /// Number of input symbols (one-hot).
    pub symbols: usize,
    /// Units of the recurrent state.
    pub hidden_size: usize,
    /// Number of classes.
    pub classes: usize,
    /// All weights are drawn from a normal distribution with this standard deviation.
    pub init_std: f64,
}

/// `h_t = tanh(W_x x_t + W_h h_(t-1) + b)`, and logits from the last state.
///
/// Its loss and gradients come from [`Rnn::scan`], one pass forward and one back, linear in the
/// sequence length; [`Rnn::logits`] is the same network by Burn's autodiff, for comparison.
#[derive(Module, Debug)]
pub struct Rnn {
    input: Param<Tensor<2>>,
    recurrent: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    norm: Option<Param<Tensor<1>>>,
    output: Param<Tensor<2>>,
    output_bias: Param<Tensor<1>>,
    #[module(skip)]
    bptt_steps: Option<usize>,
}

impl RnnConfig {
    /// Builds the model; every weight is drawn from `rng`.
    pub fn init(&self, structure: &Structure, rng: &mut ChaCha8Rng, device: &Device) -> Rnn {
        let h = self.hidden_size;
        let mut draw = |shape| Param::from_tensor(normal(shape, self.init_std, rng, device));
        Rnn {
            input: draw([self.symbols, h]),
            recurrent: draw([h, h]),
            output: draw([h, self.classes]),
            bias: Param::from_tensor(Tensor::zeros([h], device)),
            output_bias: Param::from_tensor(Tensor::zeros([self.classes], device)),
            norm: structure
                .rms_norm_every
                .map(|_| Param::from_tensor(Tensor::ones([h], device))),
            bptt_steps: structure.bptt_steps,
        }
    }
}

/// What one scan gives.
#[derive(Debug)]
pub struct ScanGradients {
    /// Mean cross-entropy of the batch.
    pub loss: f64,
    /// Gradients of all parameters.
    pub gradients: GradientsParams,
}

impl Rnn {
    /// Logits `[batch, classes]` by Burn's own operations, differentiable.
    pub fn logits(&self, sequences: &[&[u8]]) -> Tensor<2> {
        self.logits_of(Inputs::Symbols(sequences), &mut Tape::off())
    }

    /// [`Rnn::logits`] of any input vectors, in the parameters' type.
    pub(crate) fn logits_of(&self, inputs: Inputs<'_>, tape: &mut Tape) -> Tensor<2> {
        let (batch, steps) = (inputs.batch(), inputs.steps());
        let [_, h] = self.input.dims();
        let options = (&self.recurrent.device(), self.recurrent.val().dtype());
        let mut state = Tensor::<2>::zeros([batch, h], options);
        for t in 0..steps {
            if self.bptt_steps.is_some_and(|kept| t + kept == steps) {
                state = state.detach();
            }
            let layer = format!("t={t}");
            let input = tape.operation(&*layer, "input", self.read(inputs, t));
            state = tape.operation(layer, "recurrent step", self.advance(input, state));
        }
        let output = state.matmul(self.output.val()) + self.output_bias.val().unsqueeze();
        tape.operation("output", "linear", output)
    }

    /// What the inputs of a time step add to the units: `[batch, h]`.
    fn read(&self, inputs: Inputs<'_>, t: usize) -> Tensor<2> {
        let weights = self.input.val();
        let options = (&weights.device(), weights.dtype());
        match inputs {
            // A product with a one-hot vector would spread what is not finite in other rows.
            Inputs::Symbols(sequences) => {
                let symbols = sequences.iter().map(|sequence| i64::from(sequence[t]));
                let data = TensorData::new(symbols.collect(), [sequences.len()]);
                let symbols = Tensor::<1, Int>::from_data(data, options.0);
                weights.select(0, symbols)
            }
            Inputs::Vectors {
                values,
                batch,
                steps,
                symbols,
            } => {
                let of = |b: usize| &values[(b * steps + t) * symbols..][..symbols];
                let now: Vec<f32> = (0..batch).flat_map(of).copied().collect();
                let data = TensorData::new(now, [batch, symbols]);
                Tensor::<2>::from_data(data, options).matmul(weights)
            }
        }
    }

    /// One time step: `[batch, h]` states, and what the symbols add to them (`[batch, h]`, or
    /// `[1, h]` for all).
    fn advance(&self, input: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        let mut before = input + state.matmul(self.recurrent.val()) + self.bias.val().unsqueeze();
        if let Some(gamma) = &self.norm {
            let mean_square = before.clone().square().mean_dim(1);
            before =
                before / (mean_square + f64::from(NORM_EPSILON)).sqrt() * gamma.val().unsqueeze();
        }
        tanh(before)
    }

    /// Standard deviation of what a symbol and the bias add to a unit.
    pub fn bias_std(&self) -> f64 {
        let weights = Weights::read(self);
        rms(&weights.input).hypot(rms(&weights.bias))
    }

    /// The time steps of one sequence as stages, and the zero state they start from.
    pub fn stages(&self, sequence: &[u8]) -> (Stages<'_>, Tensor<2>) {
        let [h, _] = self.recurrent.dims();
        let device = self.recurrent.device();
        let input = self.input.val();
        let mut stages = Stages::new();
        for (t, symbol) in sequence.iter().enumerate() {
            let symbol = usize::from(*symbol);
            let row = input.clone().slice([symbol..symbol + 1, 0..h]).detach();
            stages = stages.stage(format!("t={t}"), move |state: Tensor<2>| {
                self.advance(row.clone(), state)
            });
        }
        (stages, Tensor::zeros([1, h], &device))
    }

    /// Multiplications of one step on one sequence of this length: forward and, for each time
    /// step the gradient flows back, two more.
    pub fn work(&self, sequence_length: usize) -> f64 {
        let back = self
            .bptt_steps
            .map_or(sequence_length, |kept| kept.min(sequence_length));
        self.num_params() as f64 * (sequence_length + 2 * back) as f64
    }

    /// The class with the largest logit of each sequence, or `None` if any logit is not finite.
    pub fn classify(&self, sequences: &[&[u8]]) -> Option<Vec<u8>> {
        let weights = Weights::read(self);
        let states = weights.forward(Inputs::Symbols(sequences));
        let logits = weights.logits(states.last(), sequences.len());
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        Some(
            logits
                .chunks_exact(weights.classes)
                .map(|row| {
                    let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
                    best.unwrap_or(0) as u8
                })
                .collect(),
        )
    }

    /// Loss and gradients of one batch of equally long sequences by backpropagation through time.
    ///
    /// A backward signal that falls below the smallest normal f32 (1.2e-38) is set to zero: such
    /// values carry nothing and make a CPU ten times slower.
    pub fn scan(&self, sequences: &[&[u8]], classes: &[u8], tape: &mut Tape) -> ScanGradients {
        self.scan_inputs(Inputs::Symbols(sequences), classes, tape)
    }

    /// [`Rnn::scan`] on any input vectors.
    pub(crate) fn scan_inputs(
        &self,
        inputs: Inputs<'_>,
        classes: &[u8],
        tape: &mut Tape,
    ) -> ScanGradients {
        let weights = Weights::read(self);
        let states = weights.forward(inputs);
        let (loss, d_logits) = cross_entropy(
            weights.logits(states.last(), inputs.batch()),
            classes,
            weights.classes,
        );
        let back = weights.backward(&states, inputs, &d_logits, self.bptt_steps, tape);
        let mut gradients = GradientsParams::new();
        let device = self.recurrent.device().inner();
        let (s, h, c) = (weights.symbols, weights.hidden, weights.classes);
        let matrix = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), &device)
        };
        let vector = |values: Vec<f32>| {
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), &device)
        };
        gradients.register(self.input.id, matrix(back.input, [s, h]));
        gradients.register(self.recurrent.id, matrix(back.recurrent, [h, h]));
        gradients.register(self.bias.id, vector(back.bias));
        if let (Some(norm), Some(values)) = (&self.norm, back.norm) {
            gradients.register(norm.id, vector(values));
        }
        gradients.register(self.output.id, matrix(back.output, [h, c]));
        gradients.register(self.output_bias.id, vector(back.output_bias));
        ScanGradients { loss, gradients }
    }
}

/// What a recurrent network reads.
#[derive(Clone, Copy)]
pub(crate) enum Inputs<'a> {
    /// One symbol a time step of each sequence: a one-hot vector.
    Symbols(&'a [&'a [u8]]),
    /// Any vectors: `values[(b * steps + t) * symbols..]` is that of sequence `b` at step `t`.
    Vectors {
        values: &'a [f32],
        batch: usize,
        steps: usize,
        symbols: usize,
    },
}

impl Inputs<'_> {
    fn batch(&self) -> usize {
        match self {
            Inputs::Symbols(sequences) => sequences.len(),
            Inputs::Vectors { batch, .. } => *batch,
        }
    }

    fn steps(&self) -> usize {
        match self {
            Inputs::Symbols(sequences) => sequences.first().map_or(0, |sequence| sequence.len()),
            Inputs::Vectors { steps, .. } => *steps,
        }
    }

    /// Calls `each` with the components of sequence `b` at step `t` that may not be zero.
    fn for_each(&self, b: usize, t: usize, mut each: impl FnMut(usize, f32)) {
        match *self {
            Inputs::Symbols(sequences) => each(usize::from(sequences[b][t]), 1.0),
            Inputs::Vectors {
                values,
                steps,
                symbols,
                ..
            } => {
                let vector = &values[(b * steps + t) * symbols..][..symbols];
                for (symbol, value) in vector.iter().enumerate() {
                    each(symbol, *value);
                }
            }
        }
    }
}

/// The parameters as plain memory. Burn stores `[in, out]` row by row, which read column by
/// column is the transposed matrix `[out, in]`: the form that multiplies states kept one a column.
struct Weights {
    symbols: usize,
    hidden: usize,
    classes: usize,
    input: Vec<f32>,
    recurrent: Vec<f32>,
    bias: Vec<f32>,
    norm: Option<Vec<f32>>,
    output: Vec<f32>,
    output_bias: Vec<f32>,
}

/// All time steps of a forward pass; every list holds `steps * batch` columns of `hidden` values.
struct States {
    /// `h_t`, with the zero state before the first step in front.
    after: Vec<f32>,
    /// The normalised pre-activation `z / rms(z)`, when there is a norm.
    normalized: Vec<f32>,
    /// `1 / rms(z)`, one a column.
    inverse_rms: Vec<f32>,
    step_len: usize,
}

impl States {
    fn last(&self) -> &[f32] {
        &self.after[self.after.len() - self.step_len..]
    }

    fn state(&self, t: usize) -> &[f32] {
        &self.after[(t + 1) * self.step_len..(t + 2) * self.step_len]
    }
}

struct Backward {
    input: Vec<f32>,
    recurrent: Vec<f32>,
    bias: Vec<f32>,
    norm: Option<Vec<f32>>,
    output: Vec<f32>,
    output_bias: Vec<f32>,
}

impl Weights {
    fn read(model: &Rnn) -> Self {
        let values =
            |tensor: Tensor<2>| tensor.inner().into_data().iter::<f32>().collect::<Vec<_>>();
        let vector =
            |tensor: Tensor<1>| tensor.inner().into_data().iter::<f32>().collect::<Vec<_>>();
        let [symbols, hidden] = model.input.dims();
        let [_, classes] = model.output.dims();
        Self {
            symbols,
            hidden,
            classes,
            input: values(model.input.val()),
            recurrent: values(model.recurrent.val()),
            bias: vector(model.bias.val()),
            norm: model.norm.as_ref().map(|norm| vector(norm.val())),
            output: values(model.output.val()),
            output_bias: vector(model.output_bias.val()),
        }
    }

    fn forward(&self, inputs: Inputs<'_>) -> States {
        let (h, batch, steps) = (self.hidden, inputs.batch(), inputs.steps());
        let step_len = h * batch;
        let recurrent = MatRef::from_column_major_slice(&self.recurrent, h, h);
        let mut states = States {
            after: vec![0.0; (steps + 1) * step_len],
            normalized: Vec::new(),
            inverse_rms: Vec::new(),
            step_len,
        };
        if self.norm.is_some() {
            states.normalized = vec![0.0; steps * step_len];
            states.inverse_rms = vec![0.0; steps * batch];
        }
        for t in 0..steps {
            let (past, rest) = states.after.split_at_mut((t + 1) * step_len);
            let now = &mut rest[..step_len];
            for (b, column) in now.chunks_exact_mut(h).enumerate() {
                column.copy_from_slice(&self.bias);
                inputs.for_each(b, t, |symbol, value| {
                    let row = &self.input[symbol * h..(symbol + 1) * h];
                    for (out, x) in column.iter_mut().zip(row) {
                        *out += x * value;
                    }
                });
            }
            let before = MatRef::from_column_major_slice(&past[t * step_len..], h, batch);
            let out = MatMut::from_column_major_slice_mut(now, h, batch);
            matmul(out, Accum::Add, recurrent, before, 1.0, Par::Seq);
            if let Some(gamma) = &self.norm {
                for (b, column) in now.chunks_exact_mut(h).enumerate() {
                    let mean = column.iter().map(|z| z * z).sum::<f32>() / h as f32;
                    let inverse = 1.0 / (mean + NORM_EPSILON).sqrt();
                    states.inverse_rms[t * batch + b] = inverse;
                    let kept = &mut states.normalized[t * step_len + b * h..][..h];
                    for ((z, kept), gamma) in column.iter_mut().zip(kept).zip(gamma) {
                        *kept = *z * inverse;
                        *z = *kept * gamma;
                    }
                }
            }
            now.iter_mut().for_each(|z| *z = z.tanh());
        }
        states
    }

    /// Row by row: one row of logits a sequence.
    fn logits(&self, last: &[f32], batch: usize) -> Vec<f32> {
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

    fn backward(
        &self,
        states: &States,
        inputs: Inputs<'_>,
        d_logits: &[f32],
        bptt_steps: Option<usize>,
        tape: &mut Tape,
    ) -> Backward {
        let (h, c, batch) = (self.hidden, self.classes, inputs.batch());
        let steps = inputs.steps();
        let step_len = states.step_len;
        let first = bptt_steps.map_or(0, |kept| steps.saturating_sub(kept));
        let d_logits_columns = MatRef::from_column_major_slice(d_logits, c, batch);

        let mut output = vec![0.0; c * h];
        let last = MatRef::from_column_major_slice(states.last(), h, batch);
        matmul(
            MatMut::from_column_major_slice_mut(&mut output, c, h),
            Accum::Replace,
            d_logits_columns,
            last.transpose(),
            1.0,
            Par::Seq,
        );
        let mut output_bias = vec![0.0; c];
        for column in d_logits.chunks_exact(c) {
            output_bias
                .iter_mut()
                .zip(column)
                .for_each(|(sum, d)| *sum += d);
        }

        let mut d_state = vec![0.0f32; step_len];
        let output_weights = MatRef::from_column_major_slice(&self.output, c, h);
        matmul(
            MatMut::from_column_major_slice_mut(&mut d_state, h, batch),
            Accum::Replace,
            output_weights.transpose(),
            d_logits_columns,
            1.0,
            Par::Seq,
        );

        let recurrent = MatRef::from_column_major_slice(&self.recurrent, h, h);
        let mut d_before = vec![0.0f32; (steps - first) * step_len];
        let mut d_input = vec![0.0f32; self.symbols * h];
        let mut bias = vec![0.0f32; h];
        let mut norm = self.norm.as_ref().map(|_| vec![0.0f32; h]);
        let zero = GradientSize::from(0.0);
        let mut sizes = vec![zero; if tape.is_on() { steps } else { 0 }];
        let mut fading = vec![false; batch];
        // What is smaller is set to zero.
        let least = if tape.keeps_subnormals() {
            0.0
        } else {
            f32::MIN_POSITIVE
        };
        for t in (first..steps).rev() {
            if tape.is_on() {
                sizes[t] = GradientSize::of(&d_state);
                tape.count(below_normal(&d_state, states.state(t), h, &mut fading));
            }
            let d_now = &mut d_before[(t - first) * step_len..][..step_len];
            for ((d, d_after), after) in d_now.iter_mut().zip(&d_state).zip(states.state(t)) {
                let value = d_after * (1.0 - after * after);
                *d = if value.abs() < least { 0.0 } else { value };
            }
            if let (Some(gamma), Some(d_gamma)) = (&self.norm, &mut norm) {
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
            for (b, column) in d_now.chunks_exact(h).enumerate() {
                bias.iter_mut().zip(column).for_each(|(sum, d)| *sum += d);
                inputs.for_each(b, t, |symbol, value| {
                    let row = &mut d_input[symbol * h..(symbol + 1) * h];
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

        let columns = (steps - first) * batch;
        let mut d_recurrent = vec![0.0f32; h * h];
        let before = &states.after[first * step_len..steps * step_len];
        matmul(
            MatMut::from_column_major_slice_mut(&mut d_recurrent, h, h),
            Accum::Replace,
            MatRef::from_column_major_slice(&d_before, h, columns),
            MatRef::from_column_major_slice(before, h, columns).transpose(),
            1.0,
            Par::Seq,
        );
        Backward {
            input: d_input,
            recurrent: d_recurrent,
            bias,
            norm,
            output,
            output_bias,
        }
    }
}

/// How many of the signals `d_after tanh'` are subnormal, or have become zero in a sequence whose
/// signals were subnormal at a later time: those are `fading`. A saturated unit's are zero by right.
fn below_normal(d_after: &[f32], after: &[f32], h: usize, fading: &mut [bool]) -> Signals {
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

/// Mean cross-entropy of logits (one row a sample) and its gradient.
fn cross_entropy(mut logits: Vec<f32>, classes: &[u8], count: usize) -> (f64, Vec<f32>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};
    use burn::nn::loss::CrossEntropyLossConfig;
    use steadygrad_burn::gradient_values;

    /// The scan against Burn's autodiff on the unrolled network: plain, truncated, normalised.
    #[test]
    fn the_scan_agrees_with_autodiff() {
        let device = Device::flex().autodiff();
        let sequences: Vec<Vec<u8>> = (0..5u8)
            .map(|b| (0..12u8).map(|t| (b * 7 + t * 3) % 8).collect())
            .collect();
        let rows: Vec<&[u8]> = sequences.iter().map(Vec::as_slice).collect();
        let classes = [0u8, 1, 2, 3, 1];
        let config = RnnConfig {
            symbols: 8,
            hidden_size: 6,
            classes: 4,
            init_std: 0.5,
        };
        for structure in [
            Structure::default(),
            Structure {
                bptt_steps: Some(4),
                ..Structure::default()
            },
            Structure {
                rms_norm_every: Some(1),
                ..Structure::default()
            },
            Structure {
                rms_norm_every: Some(1),
                bptt_steps: Some(1),
                ..Structure::default()
            },
            Structure {
                bptt_steps: Some(99),
                ..Structure::default()
            },
        ] {
            let model = config.init(&structure, &mut generator(1, Purpose::Weights), &device);
            let scanned = model.scan(&rows, &classes, &mut Tape::off());
            let targets: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
            let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [5]), &device);
            let loss = CrossEntropyLossConfig::new()
                .init(&device)
                .forward(model.logits(&rows), targets);
            assert!((scanned.loss - f64::from(loss.clone().into_scalar::<f32>())).abs() < 1e-5);
            let expected = GradientsParams::from_grads(loss.backward(), &model);
            let (ours, theirs) = (
                gradient_values(&model, &scanned.gradients),
                gradient_values(&model, &expected),
            );
            assert_eq!(ours.len(), theirs.len(), "{structure:?}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!(theirs.iter().any(|value| *value != 0.0), "{structure:?}");
                for (a, b) in ours.iter().zip(theirs) {
                    assert!(
                        (a - b).abs() < 1e-5 + 1e-4 * b.abs(),
                        "{structure:?}: {a} and {b}"
                    );
                }
            }
        }
    }

    /// Inputs that are no symbols, against autodiff of the unrolled network on them.
    #[test]
    fn any_inputs_give_the_gradients_of_autodiff() {
        const STEPS: usize = 7;
        let device = Device::flex().autodiff();
        let config = RnnConfig {
            symbols: 3,
            hidden_size: 5,
            classes: 4,
            init_std: 0.5,
        };
        let mut rng = generator(2, Purpose::Weights);
        let model = config.init(&Structure::default(), &mut rng, &device);
        let classes = [2u8, 0];
        let values = crate::random::normal_values(2 * STEPS * 3, 2.0, &mut rng);
        let inputs = Inputs::Vectors {
            values: &values,
            batch: 2,
            steps: STEPS,
            symbols: 3,
        };
        let scanned = model.scan_inputs(inputs, &classes, &mut Tape::off());

        let all = Tensor::<3>::from_data(TensorData::new(values.clone(), [2, STEPS, 3]), &device);
        let mut state = Tensor::<2>::zeros([2, 5], &device);
        for t in 0..STEPS {
            let input = all.clone().narrow(1, t, 1).reshape([2, 3]);
            state = model.advance(input.matmul(model.input.val()), state);
        }
        let logits = state.matmul(model.output.val()) + model.output_bias.val().unsqueeze();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(vec![2i64, 0], [2]), &device);
        let loss = CrossEntropyLossConfig::new()
            .init(&device)
            .forward(logits, targets);
        assert!((scanned.loss - f64::from(loss.clone().into_scalar::<f32>())).abs() < 1e-5);
        let expected = GradientsParams::from_grads(loss.backward(), &model);
        let ours = gradient_values(&model, &scanned.gradients).concat();
        let theirs = gradient_values(&model, &expected).concat();
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(&theirs) {
            assert!((a - b).abs() < 1e-5 + 1e-4 * b.abs(), "{a} and {b}");
        }
    }

    #[test]
    fn signals_are_subnormal_or_lost_only_where_they_have_faded() {
        let least = f32::MIN_POSITIVE;
        // Two sequences of two units: the second unit of the second is saturated.
        let states = [0.0, 0.0, 0.0, 1.0];
        let mut fading = [false, false];
        let mut count = |d: [f32; 4]| below_normal(&d, &states, 2, &mut fading);
        let found = count([0.0, 1.0, least / 2.0, least / 2.0]);
        assert_eq!((found.values, found.subnormal, found.lost), (4, 1, 0));
        let found = count([0.0, 0.0, 0.0, 0.0]);
        assert_eq!((found.values, found.subnormal, found.lost), (4, 0, 1));
        let found = count([f32::NAN, f32::INFINITY, f32::NAN, least]);
        assert_eq!((found.subnormal, found.lost), (0, 0));
    }

    #[test]
    fn classification_says_when_the_model_is_lost() {
        let device = Device::flex().autodiff();
        let config = RnnConfig {
            symbols: 8,
            hidden_size: 6,
            classes: 4,
            init_std: f64::NAN,
        };
        let model = config.init(
            &Structure::default(),
            &mut generator(1, Purpose::Weights),
            &device,
        );
        assert_eq!(model.classify(&[&[0, 1, 2]]), None);
    }
}
