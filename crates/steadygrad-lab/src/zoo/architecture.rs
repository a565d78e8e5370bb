use std::f64::consts::SQRT_2;

use burn::tensor::Device;
use steadygrad::dynamics::Activation;

use crate::SubjectVisitor;
use crate::models::{CnnConfig, MlpConfig};
use crate::subjects::{DigitsCnn, DigitsNet, NetKind, TableMlp, TemporalOrderRnn, healthy};

/// Units of an MLP's layer.
const WIDTH: usize = 64;

/// Units of a recurrent network.
const HIDDEN: usize = 32;

/// A network, by its depth and by its weight scale relative to the critical one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// A fully connected network.
    Mlp {
        /// Hidden layers.
        depth: usize,
        /// Weight scale relative to the critical one.
        gain: f64,
    },
    /// A fully connected network with RMSNorm in every layer.
    NormalizedMlp {
        /// Hidden layers.
        depth: usize,
        /// Weight scale relative to the critical one.
        gain: f64,
    },
    /// A convolutional network.
    Cnn {
        /// Convolutions.
        depth: usize,
        /// Weight scale relative to the critical one.
        gain: f64,
    },
    /// A plain recurrent network.
    Rnn {
        /// Time steps.
        length: usize,
        /// Weight scale relative to the critical one.
        gain: f64,
    },
    /// A network of Burn's own layers.
    Net {
        /// Its kind.
        kind: NetKind,
        /// Layers.
        depth: usize,
        /// Weight scale relative to Burn's own.
        gain: f64,
    },
}

impl Architecture {
    /// The name of its family.
    pub fn family(self) -> &'static str {
        match self {
            Self::Mlp { .. } => "mlp",
            Self::NormalizedMlp { .. } => "mlp-norm",
            Self::Cnn { .. } => "cnn",
            Self::Rnn { .. } => "rnn",
            Self::Net { kind, .. } => match kind {
                NetKind::Residual => "residual",
                NetKind::Lstm => "lstm",
                NetKind::Gru => "gru",
                NetKind::Transformer => "transformer",
            },
        }
    }

    /// Builds the network's subject and hands it to a visitor.
    pub(super) fn visit<V: SubjectVisitor>(self, device: &Device, visitor: V) -> V::Output {
        let device = device.clone();
        match self {
            Self::Mlp { depth, gain } | Self::NormalizedMlp { depth, gain } => {
                visitor.visit(&mlp(depth, gain, device))
            }
            Self::Cnn { depth, gain } => visitor.visit(&cnn(depth, gain, device)),
            Self::Rnn { length, gain } => visitor.visit(&rnn(length, gain)),
            Self::Net { kind, depth, gain } => {
                visitor.visit(&DigitsNet::new(kind, depth, HIDDEN, gain as f32, device))
            }
        }
    }
}

fn mlp(depth: usize, gain: f64, device: Device) -> TableMlp {
    let config = MlpConfig {
        depth,
        width: WIDTH,
        activation: Activation::Relu,
        init_std: gain * SQRT_2 / (WIDTH as f64).sqrt(),
    };
    let source = "1,797 handwritten digits of unit size";
    let images = healthy::images();
    TableMlp::new("zoo", source, images, config, healthy::GOAL, device)
}

fn cnn(depth: usize, gain: f64, device: Device) -> DigitsCnn {
    let config = CnnConfig {
        depth,
        channels: 8,
        gain: gain * SQRT_2,
    };
    DigitsCnn::on(healthy::images(), config, healthy::GOAL, device)
}

fn rnn(length: usize, gain: f64) -> TemporalOrderRnn {
    let init_std = gain / (HIDDEN as f64).sqrt();
    TemporalOrderRnn::new(length, HIDDEN, init_std, healthy::GOAL)
}
