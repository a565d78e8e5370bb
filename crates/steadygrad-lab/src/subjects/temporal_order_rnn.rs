use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use steadygrad::cure::Goal;
use steadygrad::dynamics::Activation;
use steadygrad::measurements::MatrixRole;
use steadygrad_burn::Stages;

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
        let scanned = model.scan(&sequences, &classes, tape);
        (scanned.loss, scanned.gradients)
    }

    /// Inputs are distorted as the one-hot vectors that the symbols stand for.
    fn distorted_loss_and_gradients(
        &self,
        model: &Rnn,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<(f64, GradientsParams)> {
        let (sequences, classes) = self.batch(rows);
        let mut distorted: Vec<usize> = classes.into_iter().map(usize::from).collect();
        distortion.classes(&mut distorted, TemporalOrder::CLASSES);
        let classes: Vec<u8> = distorted.into_iter().map(|class| class as u8).collect();
        let mut values = Vec::new();
        let inputs = if distortion.changes_inputs() {
            for symbol in sequences.iter().copied().flatten() {
                let one_hot = |s: usize| f32::from(u8::from(s == usize::from(*symbol)));
                values.extend((0..TemporalOrder::SYMBOLS).map(one_hot));
            }
            distortion.inputs(&mut values);
            Inputs::Vectors {
                values: &values,
                batch: rows.len(),
                steps: self.training.sequence_length,
                symbols: TemporalOrder::SYMBOLS,
            }
        } else {
            Inputs::Symbols(&sequences)
        };
        let scanned = model.scan_inputs(inputs, &classes, tape);
        Some((scanned.loss, scanned.gradients))
    }

    fn stages<'a>(&'a self, model: &'a Rnn, row: usize) -> Option<(Stages<'a>, Tensor<2>)> {
        Some(model.stages(self.training.sequence(row)))
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
