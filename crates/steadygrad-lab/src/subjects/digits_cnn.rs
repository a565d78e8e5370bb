use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use steadygrad::dynamics::Activation;
use steadygrad::measurements::MatrixRole;

use super::table_task::TableTask;
use crate::data::{Table, digits};
use crate::faults::Distortion;
use crate::models::{Cnn, CnnConfig};
use crate::{Structure, Subject, Summary, Tape};

/// A small convolutional network on the handwritten digits, whose pixels are scaled to 0..1.
#[derive(Debug, Clone)]
pub struct DigitsCnn {
    task: TableTask,
    config: CnnConfig,
}

impl DigitsCnn {
    /// Pixels along each side of an image.
    const SIDE: usize = 8;
    /// The largest value of a raw pixel.
    const WHITE: f32 = 16.0;

    /// The network on the digits. `goal` is the accuracy that counts as solved.
    pub fn new(config: CnnConfig, goal: f64, device: Device) -> Self {
        Self::on(digits().scaled(Self::WHITE.recip()), config, goal, device)
    }

    /// The network on these images of `SIDE * SIDE` features.
    pub(crate) fn on(table: Table, config: CnnConfig, goal: f64, device: Device) -> Self {
        Self {
            task: TableTask::new(table, goal, device),
            config,
        }
    }

    fn loss_of(
        &self,
        model: &Cnn,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Tensor<1> {
        let input = self.task.input(rows, model.dtype(), distortion);
        let input = tape.operation("input", "batch", input);
        let output = model.forward(images(input), tape);
        let output = tape.operation("output", "linear", output);
        let loss = self.task.loss(output, rows, distortion);
        tape.operation("loss", self.task.loss_name(), loss)
    }
}

/// `[batch, pixels] -> [batch, 1, height, width]`
fn images(input: Tensor<2>) -> Tensor<4> {
    let [batch, _] = input.dims();
    input.reshape([batch, 1, DigitsCnn::SIDE, DigitsCnn::SIDE])
}

impl Subject for DigitsCnn {
    type Model = Cnn;

    fn summary(&self) -> Summary {
        let CnnConfig {
            depth,
            channels,
            gain,
        } = self.config;
        Summary {
            name: "digits-cnn".into(),
            description: format!(
                "1,797 handwritten digits; plain CNN, {depth} convolutions of 3x3 with {channels} \
                 relu channels, weights of gain {gain}"
            ),
            activation: Activation::Relu,
            depth: None,
            sequence_length: None,
            training_samples: self.task.table.training.len(),
            validation_samples: self.task.table.validation.len(),
            metric: self.task.metric(),
            goal: self.task.goal,
        }
    }

    fn build(&self, _: &Structure, rng: &mut dyn Rng, device: &Device) -> Cnn {
        self.config
            .init(Self::SIDE, self.task.table.outputs(), rng, device)
    }

    fn loss(&self, model: &Cnn, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        self.loss_of(model, rows, &Distortion::default(), tape)
    }

    fn distorted_loss(
        &self,
        model: &Cnn,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<Tensor<1>> {
        Some(self.loss_of(model, rows, distortion, tape))
    }

    fn loss_in_f64(&self, _model: &Cnn) -> bool {
        true
    }

    fn with_moved_inputs(&self, size: f64, rng: &mut dyn Rng) -> Option<Self> {
        Some(Self {
            task: self.task.with_moved_inputs(size, rng),
            ..self.clone()
        })
    }

    fn validate(&self, model: &Cnn) -> f64 {
        let input = images(self.task.validation_input(model.dtype()));
        self.task
            .score(model.valid().forward(input, &mut Tape::off()))
    }

    fn input_rms(&self, rows: &[usize]) -> f64 {
        self.task.input_rms(rows)
    }

    fn role(&self, parameter: &str) -> Option<MatrixRole> {
        // It is the only matrix; the other weights are kernels.
        (parameter == "output.weight").then_some(MatrixRole::Output)
    }

    fn work(&self, model: &Cnn) -> f64 {
        model.work(Self::SIDE)
    }
}
