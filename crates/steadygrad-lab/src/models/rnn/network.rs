use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use steadygrad_burn::Stages;

use super::Inputs;
use super::backward::ParameterGradients;
use super::scan::{NORM_EPSILON, Weights, cross_entropy};
use crate::random::normal;
use crate::tape::rms;
use crate::{Structure, Tape};

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
/// [`Rnn::scan`] computes its loss and gradients in a time linear in the sequence length.
/// [`Rnn::logits`] is the same network by Burn's operations, for comparison.
#[derive(Module, Debug)]
pub struct Rnn {
    pub(super) input: Param<Tensor<2>>,
    recurrent: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    norm: Option<Param<Tensor<1>>>,
    pub(super) output: Param<Tensor<2>>,
    pub(super) output_bias: Param<Tensor<1>>,
    #[module(skip)]
    bptt_steps: Option<usize>,
}

impl RnnConfig {
    /// Builds the model; every weight is drawn from `rng`.
    pub fn init(&self, structure: &Structure, rng: &mut dyn Rng, device: &Device) -> Rnn {
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

/// The result of a scan.
#[derive(Debug)]
#[non_exhaustive]
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

    /// [`Rnn::logits`] for any input vectors, in the parameters' type.
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

    /// The contribution of a time step's inputs to the units: `[batch, h]`.
    fn read(&self, inputs: Inputs<'_>, t: usize) -> Tensor<2> {
        let weights = self.input.val();
        let options = (&weights.device(), weights.dtype());
        match inputs {
            // A product with a one-hot vector would spread non-finite values of other rows.
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

    /// One time step of `[batch, h]` states. `input` is the contribution of the inputs: `[batch,
    /// h]`, or `[1, h]` for all sequences.
    pub(super) fn advance(&self, input: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        let mut before = input + state.matmul(self.recurrent.val()) + self.bias.val().unsqueeze();
        if let Some(gamma) = &self.norm {
            let mean_square = before.clone().square().mean_dim(1);
            before =
                before / (mean_square + f64::from(NORM_EPSILON)).sqrt() * gamma.val().unsqueeze();
        }
        tanh(before)
    }

    /// Standard deviation of the contribution of a symbol and of the bias to a unit.
    pub fn bias_std(&self) -> f64 {
        let weights = self.weights();
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

    /// Multiplications of one training step on one sequence of this length: one for each weight and
    /// time step forward, and two for each time step that the gradient flows back.
    pub fn work(&self, sequence_length: usize) -> f64 {
        let back = self
            .bptt_steps
            .map_or(sequence_length, |kept| kept.min(sequence_length));
        self.num_params() as f64 * (sequence_length + 2 * back) as f64
    }

    /// The class with the largest logit of each sequence; `None` if any logit is not finite.
    pub fn classify(&self, sequences: &[&[u8]]) -> Option<Vec<u8>> {
        let weights = self.weights();
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

    /// Loss and gradients of a batch of equally long sequences, by backpropagation through time.
    ///
    /// Backward signals below the smallest normal f32 (1.2e-38) are set to zero. They carry no
    /// information and make a CPU ten times slower.
    pub fn scan(&self, sequences: &[&[u8]], classes: &[u8], tape: &mut Tape) -> ScanGradients {
        self.scan_inputs(Inputs::Symbols(sequences), classes, tape)
    }

    /// [`Rnn::scan`] for any input vectors.
    pub(crate) fn scan_inputs(
        &self,
        inputs: Inputs<'_>,
        classes: &[u8],
        tape: &mut Tape,
    ) -> ScanGradients {
        let weights = self.weights();
        let states = weights.forward(inputs);
        let (loss, d_logits) = cross_entropy(
            weights.logits(states.last(), inputs.batch()),
            classes,
            weights.classes,
        );
        let back = weights.backward(&states, inputs, &d_logits, self.bptt_steps, tape);
        let gradients = self.register(&weights, back);
        ScanGradients { loss, gradients }
    }

    fn register(&self, weights: &Weights, found: ParameterGradients) -> GradientsParams {
        let device = self.recurrent.device().inner();
        let (s, h, c) = (weights.symbols, weights.hidden, weights.classes);
        let matrix = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), &device)
        };
        let vector = |values: Vec<f32>| {
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), &device)
        };
        let mut gradients = GradientsParams::new();
        gradients.register(self.input.id, matrix(found.input, [s, h]));
        gradients.register(self.recurrent.id, matrix(found.recurrent, [h, h]));
        gradients.register(self.bias.id, vector(found.bias));
        if let (Some(norm), Some(values)) = (&self.norm, found.norm) {
            gradients.register(norm.id, vector(values));
        }
        gradients.register(self.output.id, matrix(found.output, [h, c]));
        gradients.register(self.output_bias.id, vector(found.output_bias));
        gradients
    }

    fn weights(&self) -> Weights {
        let matrix =
            |tensor: Tensor<2>| tensor.inner().into_data().iter::<f32>().collect::<Vec<_>>();
        let vector =
            |tensor: Tensor<1>| tensor.inner().into_data().iter::<f32>().collect::<Vec<_>>();
        let [symbols, hidden] = self.input.dims();
        let [_, classes] = self.output.dims();
        Weights {
            symbols,
            hidden,
            classes,
            input: matrix(self.input.val()),
            recurrent: matrix(self.recurrent.val()),
            bias: vector(self.bias.val()),
            norm: self.norm.as_ref().map(|norm| vector(norm.val())),
            output: matrix(self.output.val()),
            output_bias: vector(self.output_bias.val()),
        }
    }
}
