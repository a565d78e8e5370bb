use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use steadygrad::cure::Goal;
use steadygrad::dynamics::Activation;
use steadygrad::measurements::MatrixRole;
use steadygrad_burn::Stages;

use crate::butterfly::moved;
use crate::data::TemporalOrder;
use crate::faults::Distortion;
use crate::models::{Inputs, Rnn, RnnConfig};
use crate::{Structure, Subject, Summary, Tape};

/// A plain tanh recurrent network on the temporal order task.
#[derive(Debug, Clone)]
pub struct TemporalOrderRnn {
    training: TemporalOrder,
    validation: TemporalOrder,
    config: RnnConfig,
    goal: f64,
    /// Added to the first one-hot vector of each training sequence; empty if nothing is added.
    first_inputs: Vec<f32>,
}

impl TemporalOrderRnn {
    /// Number of training sequences. Few of them are repeated in a run, so that none is memorised.
    const TRAINING: usize = 20_000;
    const VALIDATION: usize = 1_000;

    /// The task at this length, and a network of `hidden_size` units. All weights are drawn with
    /// the standard deviation `init_std`; `goal` is the accuracy that counts as solved.
    pub fn new(sequence_length: usize, hidden_size: usize, init_std: f64, goal: f64) -> Self {
        Self {
            training: TemporalOrder::generate(sequence_length, Self::TRAINING, 0),
            validation: TemporalOrder::generate(sequence_length, Self::VALIDATION, 1),
            config: RnnConfig {
                symbols: TemporalOrder::SYMBOLS,
                hidden_size,
                classes: TemporalOrder::CLASSES,
                init_std,
            },
            goal,
            first_inputs: Vec::new(),
        }
    }

    fn batch(&self, rows: &[usize]) -> (Vec<&[u8]>, Vec<u8>) {
        rows.iter()
            .map(|row| (self.training.sequence(*row), self.training.classes[*row]))
            .unzip()
    }

    fn distorted(&self, rows: &[usize], distortion: &Distortion) -> Batch<'_> {
        let (sequences, classes) = self.batch(rows);
        let mut distorted: Vec<usize> = classes.into_iter().map(usize::from).collect();
        distortion.classes(&mut distorted, TemporalOrder::CLASSES);
        let values = distortion.changes_inputs().then(|| {
            let mut values = one_hot(&sequences);
            distortion.inputs(&mut values);
            values
        });
        Batch {
            sequences,
            values,
            classes: distorted.into_iter().map(|class| class as u8).collect(),
        }
    }

    /// The one-hot vectors of these rows with the first one of each sequence moved; `None` if none
    /// is moved.
    fn moved_inputs(&self, rows: &[usize], sequences: &[&[u8]]) -> Option<Vec<f32>> {
        if self.first_inputs.is_empty() {
            return None;
        }
        let mut values = one_hot(sequences);
        let sequence = self.training.sequence_length * TemporalOrder::SYMBOLS;
        for (values, row) in values.chunks_exact_mut(sequence).zip(rows) {
            let added =
                &self.first_inputs[row * TemporalOrder::SYMBOLS..][..TemporalOrder::SYMBOLS];
            values.iter_mut().zip(added).for_each(|(to, by)| *to += by);
        }
        Some(values)
    }

    fn vectors<'a>(&self, values: &'a [f32], batch: usize) -> Inputs<'a> {
        Inputs::Vectors {
            values,
            batch,
            steps: self.training.sequence_length,
            symbols: TemporalOrder::SYMBOLS,
        }
    }
}

/// A batch after a faulty pipeline. `values` are its one-hot vectors, if they were changed.
struct Batch<'a> {
    sequences: Vec<&'a [u8]>,
    values: Option<Vec<f32>>,
    classes: Vec<u8>,
}

impl Batch<'_> {
    fn inputs<'b>(&'b self, subject: &TemporalOrderRnn) -> Inputs<'b> {
        match &self.values {
            Some(values) => subject.vectors(values, self.classes.len()),
            None => Inputs::Symbols(&self.sequences),
        }
    }
}

/// Mean over the batch; in the logits' type.
fn cross_entropy(logits: Tensor<2>, classes: &[u8]) -> Tensor<1> {
    let device = logits.device();
    let targets: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [classes.len()]), &device);
    CrossEntropyLossConfig::new()
        .init(&device)
        .forward(logits, targets)
}

fn one_hot(sequences: &[&[u8]]) -> Vec<f32> {
    let symbols = sequences.iter().copied().flatten();
    let vector = |symbol: &u8| {
        let symbol = usize::from(*symbol);
        (0..TemporalOrder::SYMBOLS).map(move |s| f32::from(u8::from(s == symbol)))
    };
    symbols.flat_map(vector).collect()
}

impl Subject for TemporalOrderRnn {
    type Model = Rnn;

    fn summary(&self) -> Summary {
        Summary {
            name: "temporal-order-rnn".into(),
            description: format!(
                "temporal order task over {} time steps; plain RNN, {} tanh units, \
                 weights ~ N(0, {}^2)",
                self.training.sequence_length, self.config.hidden_size, self.config.init_std
            ),
            activation: Activation::Tanh,
            depth: None,
            sequence_length: Some(self.training.sequence_length),
            training_samples: Self::TRAINING,
            validation_samples: Self::VALIDATION,
            metric: "accuracy",
            // The four classes have the same probability.
            goal: Goal {
                metric: self.goal,
                trivial: 0.25,
            },
        }
    }

    fn build(&self, structure: &Structure, rng: &mut dyn Rng, device: &Device) -> Rnn {
        self.config.init(structure, rng, device)
    }

    fn loss(&self, model: &Rnn, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        let (sequences, classes) = self.batch(rows);
        cross_entropy(model.logits_of(Inputs::Symbols(&sequences), tape), &classes)
    }

    fn loss_and_gradients(
        &self,
        model: &Rnn,
        rows: &[usize],
        tape: &mut Tape,
    ) -> (f64, GradientsParams) {
        let (sequences, classes) = self.batch(rows);
        let values = self.moved_inputs(rows, &sequences);
        let inputs = match &values {
            Some(values) => self.vectors(values, rows.len()),
            None => Inputs::Symbols(&sequences),
        };
        let scanned = model.scan_inputs(inputs, &classes, tape);
        (scanned.loss, scanned.gradients)
    }

    /// The one-hot vectors of the symbols are distorted.
    fn distorted_loss_and_gradients(
        &self,
        model: &Rnn,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<(f64, GradientsParams)> {
        let batch = self.distorted(rows, distortion);
        let scanned = model.scan_inputs(batch.inputs(self), &batch.classes, tape);
        Some((scanned.loss, scanned.gradients))
    }

    /// By Burn's operations instead of the scan: a replay inspects them one by one.
    fn distorted_loss(
        &self,
        model: &Rnn,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<Tensor<1>> {
        let batch = self.distorted(rows, distortion);
        let logits = model.logits_of(batch.inputs(self), tape);
        let loss = cross_entropy(logits, &batch.classes);
        Some(tape.operation("loss", "cross-entropy", loss))
    }

    fn loss_in_f64(&self, _model: &Rnn) -> bool {
        true
    }

    fn stages<'a>(&'a self, model: &'a Rnn, row: usize) -> Option<(Stages<'a>, Tensor<2>)> {
        Some(model.stages(self.training.sequence(row)))
    }

    fn with_moved_inputs(&self, size: f64, rng: &mut dyn Rng) -> Option<Self> {
        // A one-hot vector has length 1.
        let mut unit = [0.0f32; TemporalOrder::SYMBOLS];
        unit[0] = 1.0;
        let mut first_inputs = Vec::with_capacity(Self::TRAINING * unit.len());
        for _ in 0..Self::TRAINING {
            let moved = moved(&unit, size, rng);
            let added = moved
                .iter()
                .zip(unit)
                .map(|(to, from)| (to - f64::from(from)) as f32);
            first_inputs.extend(added);
        }
        Some(Self {
            first_inputs,
            ..self.clone()
        })
    }

    fn bias_std(&self, model: &Rnn) -> f64 {
        model.bias_std()
    }

    fn validate(&self, model: &Rnn) -> f64 {
        let sequences: Vec<&[u8]> = (0..Self::VALIDATION)
            .map(|row| self.validation.sequence(row))
            .collect();
        let Some(classes) = model.classify(&sequences) else {
            return f64::NAN;
        };
        let hits = classes
            .iter()
            .zip(&self.validation.classes)
            .filter(|(a, b)| a == b)
            .count();
        hits as f64 / Self::VALIDATION as f64
    }

    fn input_rms(&self, _rows: &[usize]) -> f64 {
        // A one-hot vector selects one row of the input matrix.
        1.0
    }

    fn role(&self, parameter: &str) -> Option<MatrixRole> {
        (parameter == "recurrent").then_some(MatrixRole::Recurrent)
    }

    fn work(&self, model: &Rnn) -> f64 {
        model.work(self.training.sequence_length)
    }
}
