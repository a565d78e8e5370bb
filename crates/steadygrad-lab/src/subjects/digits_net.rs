use burn::module::Module;
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{Linear, LinearConfig, Lstm, LstmConfig};
use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor};
use rand::Rng;
use steadygrad::dynamics::Activation;
use steadygrad_burn::map_parameters;

use super::healthy;
use super::table_task::TableTask;
use crate::faults::Distortion;
use crate::{Structure, Subject, Summary, Tape};

/// An architecture of Burn's own layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetKind {
    /// Fully connected layers, each added to its input.
    Residual,
    /// Long short-term memory over an image's rows.
    Lstm,
    /// Gated recurrent units over an image's rows.
    Gru,
    /// A transformer encoder over an image's rows, with the normalisation before each part.
    Transformer,
}

/// Networks of Burn's own layers on the handwritten digits: the families that the other subjects do
/// not cover.
#[derive(Debug, Clone)]
pub struct DigitsNet {
    task: TableTask,
    kind: NetKind,
    /// Number of repeated layers; recurrent networks have one.
    depth: usize,
    width: usize,
    /// Factor of every weight matrix after Burn's own initialisation.
    gain: f32,
}

/// Rows of an image. Each has as many values.
const ROWS: usize = 8;

/// The model.
#[derive(Module, Debug)]
pub struct Net {
    input: Linear,
    middle: Middle,
    output: Linear,
}

#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a model has one of them, and Burn moves modules anyway"
)]
enum Middle {
    Residual(Vec<Linear>),
    Lstm(Lstm),
    Gru(Gru),
    Transformer(TransformerEncoder),
}

impl DigitsNet {
    /// `depth` layers of `width` units on digits of unit size.
    pub fn new(kind: NetKind, depth: usize, width: usize, gain: f32, device: Device) -> Self {
        Self {
            task: TableTask::new(healthy::images(), healthy::GOAL, device),
            kind,
            depth,
            width,
            gain,
        }
    }

    fn loss_of(&self, model: &Net, rows: &[usize], distortion: &Distortion) -> Tensor<1> {
        let input = self.task.input(rows, DType::F32, distortion);
        self.task.loss(model.forward(input), rows, distortion)
    }
}

impl Net {
    /// `[batch, pixels] -> [batch, classes]` logits.
    fn forward(&self, pixels: Tensor<2>) -> Tensor<2> {
        let [batch, values] = pixels.dims();
        let rows = || pixels.clone().reshape([batch, ROWS, values / ROWS]);
        let last = |states: Tensor<3>| {
            let [batch, _, width] = states.dims();
            states
                .slice([0..batch, ROWS - 1..ROWS, 0..width])
                .reshape([batch, width])
        };
        let signal = match &self.middle {
            Middle::Residual(layers) => layers
                .iter()
                .fold(relu(self.input.forward(pixels.clone())), |signal, layer| {
                    signal.clone() + relu(layer.forward(signal))
                }),
            Middle::Lstm(lstm) => last(lstm.forward(self.input.forward(rows()), None).0),
            Middle::Gru(gru) => last(gru.forward(self.input.forward(rows()), None)),
            Middle::Transformer(encoder) => {
                let tokens = TransformerEncoderInput::new(self.input.forward(rows()));
                let states = encoder.forward(tokens);
                let [batch, _, width] = states.dims();
                states.mean_dim(1).reshape([batch, width])
            }
        };
        self.output.forward(signal)
    }
}

impl Subject for DigitsNet {
    type Model = Net;

    fn summary(&self) -> Summary {
        Summary {
            name: format!("digits-{:?}", self.kind).to_lowercase(),
            description: format!(
                "1,797 handwritten digits; {:?}, {} layers of {} units, Burn's weights times {}",
                self.kind, self.depth, self.width, self.gain
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

    fn build(&self, _: &Structure, _: &mut dyn Rng, device: &Device) -> Net {
        let (width, depth) = (self.width, self.depth);
        let pixels = self.task.table.features;
        let inputs = match self.kind {
            NetKind::Residual => pixels,
            _ => pixels / ROWS,
        };
        let middle = match self.kind {
            NetKind::Residual => Middle::Residual(
                (0..depth)
                    .map(|_| LinearConfig::new(width, width).init(device))
                    .collect(),
            ),
            NetKind::Lstm => Middle::Lstm(LstmConfig::new(width, width, true).init(device)),
            NetKind::Gru => Middle::Gru(GruConfig::new(width, width, true).init(device)),
            NetKind::Transformer => Middle::Transformer(
                TransformerEncoderConfig::new(width, 2 * width, 2, depth)
                    .with_dropout(0.0)
                    .with_norm_first(true)
                    .init(device),
            ),
        };
        let net = Net {
            input: LinearConfig::new(inputs, width).init(device),
            middle,
            output: LinearConfig::new(width, self.task.table.outputs()).init(device),
        };
        let gain = self.gain;
        map_parameters(net, |_, shape, values| {
            // Only matrices have a gain; scales of normalisations and biases have none.
            let matrix = shape.len() > 1;
            if matrix {
                values.iter_mut().for_each(|value| *value *= gain);
            }
            matrix
        })
    }

    fn loss(&self, model: &Net, rows: &[usize], _: &mut Tape) -> Tensor<1> {
        self.loss_of(model, rows, &Distortion::default())
    }

    fn distorted_loss(
        &self,
        model: &Net,
        rows: &[usize],
        distortion: &Distortion,
        _: &mut Tape,
    ) -> Option<Tensor<1>> {
        Some(self.loss_of(model, rows, distortion))
    }

    fn validate(&self, model: &Net) -> f64 {
        let input = self.task.validation_input(DType::F32);
        self.task.score(model.valid().forward(input))
    }

    fn input_rms(&self, rows: &[usize]) -> f64 {
        self.task.input_rms(rows)
    }
}
