//! The guard around a loop of your own, with what such loops have: gradients accumulated over
//! several batches, two optimizers for two parts of a model, and a batch that is broken (NaN).
//!
//! Run it with `cargo run --release -p steadygrad-burn --example hand_written_loop`.
#![allow(clippy::print_stdout)]

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsAccumulator, GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData, activation::tanh};
use steadygrad::{Decision, Guard};
use steadygrad_burn::GuardedOptimizer;

#[derive(Module, Debug)]
struct Body {
    first: Linear,
    second: Linear,
}

const UPDATES: u64 = 300;
/// Batches whose gradients are added up for one update.
const ACCUMULATE: u64 = 4;
const BROKEN: u64 = 150;

/// 32 points of `sin(3 x)`, others for each batch.
fn batch(number: u64, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let x = (0..32u64).map(|row| ((row * 67 + number * 13) % 200) as f32 / 100.0 - 1.0);
    let x: Vec<f32> = x.collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let column = |values| Tensor::from_data(TensorData::new(values, [32, 1]), device);
    (column(x), column(y))
}

/// A test runs it too.
pub(crate) fn main() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut body = Body {
        first: LinearConfig::new(1, 32).init(&device),
        second: LinearConfig::new(32, 32).init(&device),
    };
    let mut head: Linear = LinearConfig::new(32, 1).init(&device);
    // Each part has a guard of its own: what goes wrong in one does not stop the other.
    let mut for_body = GuardedOptimizer::new(Guard::default(), AdamConfig::new().init());
    let mut for_head = GuardedOptimizer::new(Guard::default(), SgdConfig::new().init());
    let mut last_loss = f64::NAN;
    for update in 0..UPDATES {
        let (mut of_body, mut of_head) = (GradientsAccumulator::new(), GradientsAccumulator::new());
        let mut loss = 0.0;
        for part in 0..ACCUMULATE {
            let (mut x, y) = batch(update * ACCUMULATE + part, &device);
            if update == BROKEN && part == 2 {
                x = x * f32::NAN;
            }
            let hidden = tanh(body.second.forward(tanh(body.first.forward(x))));
            let error = (head.forward(hidden) - y).square().mean() / ACCUMULATE as f32;
            loss += error.clone().into_scalar::<f64>();
            let mut gradients = error.backward();
            of_body.accumulate(&body, GradientsParams::from_module(&mut gradients, &body));
            of_head.accumulate(&head, GradientsParams::from_module(&mut gradients, &head));
        }
        // Measured once, at the boundary: the gradients of the whole update.
        let done = for_body.step(0.003, body, of_body.grads(), loss);
        body = done.model;
        if let Decision::Skip { reason } = &done.judgement.decision {
            println!("update {update} of the body was skipped: {reason}");
        }
        head = for_head.step(0.02, head, of_head.grads(), loss).model;
        last_loss = loss;
    }
    println!("loss of the last update: {last_loss:.4}");
    let (body, head) = (for_body.guard().summary(), for_head.guard().summary());
    assert_eq!((body.skipped, head.skipped), (1, 1));
    assert_eq!((body.readings, body.kept), (UPDATES, UPDATES - 1));
    assert!(last_loss < 0.05, "{last_loss}");
}
