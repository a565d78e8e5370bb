use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use steadygrad::cure::Goal;
use steadygrad::dynamics::Activation;
use steadygrad::measurements::MatrixRole;
use steadygrad_burn::Stages;

use crate::butterfly::moved;
use crate::data::TemporalOrder;
use crate::models::{Rnn, RnnConfig};
use crate::{Structure, Subject, Summary, Tape};

/// A plain tanh recurrent network on the temporal order task.
#[derive(Debug, Clone)]
pub struct TemporalOrderRnn {
    training: TemporalOrder,
    validation: TemporalOrder,
    config: RnnConfig,
    goal: f64,
    /// What is added to each training sequence's first one-hot vector; empty: nothing.
    first_inputs: Vec<f32>,
}

impl TemporalOrderRnn {
    /// Training sequences: many more than a run draws batches from, so that none is learnt by
    /// heart.
    const TRAINING: usize = 20_000;
    const VALIDATION: usize = 1_000;

    /// The task at this length, and a network with `hidden_size` units whose weights are all
    /// drawn with standard deviation `init_std`. `goal` is the accuracy that counts as solved.
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
}

impl Subject for TemporalOrderRnn {
    type Model = Rnn;

    fn summary(&self) -> Summary {
        Summary {
            name: "temporal-order-rnn".into(),
            description: format!(
                "temporal order task over {} time steps; plain RNN, {} tanh units, weights ~ N(0, {}^2)",
                self.training.sequence_length, self.config.hidden_size, self.config.init_std
            ),
            activation: Activation::Tanh,
            depth: None,
            sequence_length: Some(self.training.sequence_length),
            training_samples: Self::TRAINING,
            validation_samples: Self::VALIDATION,
            metric: "accuracy",
            // The four classes are drawn with equal chance.
            goal: Goal {
                metric: self.goal,
                trivial: 0.25,
            },
        }
    }

    fn build(&self, structure: &Structure, rng: &mut ChaCha8Rng, device: &Device) -> Rnn {
        self.config.init(structure, rng, device)
    }

    fn loss(&self, model: &Rnn, rows: &[usize], _tape: &mut Tape) -> Tensor<1> {
        let (sequences, classes) = self.batch(rows);
        let logits = model.logits(&sequences);
        let device = logits.device();
        let targets: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [rows.len()]), &device);
        CrossEntropyLossConfig::new()
            .init(&device)
            .forward(logits, targets)
    }

    fn loss_and_gradients(
        &self,
        model: &Rnn,
        rows: &[usize],
        tape: &mut Tape,
    ) -> (f64, GradientsParams) {
        let (sequences, classes) = self.batch(rows);
        let of = |row: &usize| {
            self.first_inputs
                .chunks_exact(TemporalOrder::SYMBOLS)
                .nth(*row)
        };
        let first: Vec<&[f32]> = rows.iter().filter_map(of).collect();
        let scanned = model.scan_moved(&sequences, &first, &classes, tape);
        (scanned.loss, scanned.gradients)
    }

    fn stages<'a>(&'a self, model: &'a Rnn, row: usize) -> Option<(Stages<'a>, Tensor<2>)> {
        Some(model.stages(self.training.sequence(row)))
    }

    fn with_moved_inputs(&self, size: f64, rng: &mut ChaCha8Rng) -> Option<Self> {
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
        // One-hot: the symbol selects one row of the input matrix.
        1.0
    }

    fn role(&self, parameter: &str) -> Option<MatrixRole> {
        (parameter == "recurrent").then_some(MatrixRole::Recurrent)
    }

    fn work(&self, model: &Rnn) -> f64 {
        model.work(self.training.sequence_length)
    }
}
