//! Subjects that train well, each with a plan: the baselines for faults, and for guards that should
//! not act.
//!
//! They have unit inputs, weights at criticality and a learning rate that decays to zero. Half of
//! the digits are for validation, so that the final metric depends little on chance.
//! `examples/faults.rs` prints the results of such runs; `docs/LOG.md` has them too.

use std::f64::consts::SQRT_2;

use burn::tensor::Device;
use steadygrad::dynamics::Activation;

use super::{DigitsCnn, TableMlp, TemporalOrderRnn};
use crate::data::{Table, digits};
use crate::models::{CnnConfig, MlpConfig};
use crate::{Decay, Optimizer, Plan, Schedule};

/// Root mean square of the raw pixels. Divided by it, the inputs have size 1.
const PIXEL_RMS: f32 = 7.86;

/// The accuracy that counts as solved. All three subjects exceed it on every seed that was tried.
pub(crate) const GOAL: f64 = 0.95;

pub(crate) fn images() -> Table {
    digits().scaled(PIXEL_RMS.recip()).split_in_half()
}

/// A perceptron on the digits, trained by SGD with momentum.
pub fn mlp(device: &Device) -> (TableMlp, Plan) {
    const WIDTH: usize = 128;
    let config = MlpConfig {
        depth: 3,
        width: WIDTH,
        activation: Activation::Relu,
        init_std: SQRT_2 / (WIDTH as f64).sqrt(),
    };
    // The first layer has half as many inputs as the others and the same standard deviation. Its
    // gain is smaller by the square root of 2, which larger inputs compensate.
    let table = images().scaled(SQRT_2 as f32);
    let source = "1,797 handwritten digits of unit size";
    let subject = TableMlp::new("healthy-mlp", source, table, config, GOAL, device.clone());
    let plan = Plan {
        learning_rate: 0.02,
        batch_size: 32,
        steps: 800,
        ..plan()
    };
    (subject, plan)
}

/// A convolutional network on the digits, trained by SGD with momentum.
pub fn cnn(device: &Device) -> (DigitsCnn, Plan) {
    let config = CnnConfig {
        depth: 3,
        channels: 16,
        gain: SQRT_2,
    };
    (
        DigitsCnn::on(images(), config, GOAL, device.clone()),
        plan(),
    )
}

/// A recurrent network on short sequences of the temporal order task, trained by Adam.
pub fn rnn() -> (TemporalOrderRnn, Plan) {
    const HIDDEN: usize = 32;
    let init_std = (HIDDEN as f64).sqrt().recip();
    let subject = TemporalOrderRnn::new(10, HIDDEN, init_std, GOAL);
    let plan = Plan {
        optimizer: Optimizer::Adam,
        learning_rate: 0.003,
        momentum: 0.0,
        batch_size: 32,
        steps: 600,
        ..plan()
    };
    (subject, plan)
}

fn plan() -> Plan {
    Plan {
        learning_rate: 0.05,
        momentum: 0.9,
        schedule: Schedule {
            warmup_steps: 0,
            decay: Decay::Cosine,
        },
        steps: 300,
        ..Plan::default()
    }
}
