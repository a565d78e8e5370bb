//! A guard in a training loop of your own. The loop accumulates gradients over several batches and
//! has two optimizers for two parts of the model. One batch is broken (NaN).
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
/// Number of batches whose gradients are summed for one update.
const ACCUMULATE: u64 = 4;
/// The update with a broken batch.
const BROKEN: u64 = 150;

/// 32 points of `sin(3 x)`, different ones for each batch.
fn batch(number: u64, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let x = (0..32u64).map(|row| ((row * 67 + number * 13) % 200) as f32 / 100.0 - 1.0);
    let x: Vec<f32> = x.collect();
    let y: Vec<f32> = x.iter().map(|x| (3.0 * x).sin()).collect();
    let column = |values| Tensor::from_data(TensorData::new(values, [32, 1]), device);
    (column(x), column(y))
}

/// Trains both parts. A test also runs this function.
pub(crate) fn main() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut body = Body {
        first: LinearConfig::new(1, 32).init(&device),
        second: LinearConfig::new(32, 32).init(&device),
    };
    let mut head: Linear = LinearConfig::new(32, 1).init(&device);
    // Each part has its own guard, so that a fault in one does not stop the other.
    let mut body_optimizer = GuardedOptimizer::new(Guard::default(), AdamConfig::new().init());
    let mut head_optimizer = GuardedOptimizer::new(Guard::default(), SgdConfig::new().init());
    let mut last_loss = f64::NAN;
    for update in 0..UPDATES {
        let mut body_gradients = GradientsAccumulator::new();
        let mut head_gradients = GradientsAccumulator::new();
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
            let part = GradientsParams::from_module(&mut gradients, &body);
            body_gradients.accumulate(&body, part);
            let part = GradientsParams::from_module(&mut gradients, &head);
            head_gradients.accumulate(&head, part);
        }
        // One guarded step for each update, with the accumulated gradients.
        let outcome = body_optimizer.step(0.003, body, body_gradients.grads(), loss);
        body = outcome.model;
        if let Decision::Skip { reason } = &outcome.report.judgement.decision {
            println!("update {update} of the body was skipped: {reason}");
        }
        let outcome = head_optimizer.step(0.02, head, head_gradients.grads(), loss);
        head = outcome.model;
        last_loss = loss;
    }
    println!("loss of the last update: {last_loss:.4}");
    let (body, head) = (
        body_optimizer.guard().summary(),
        head_optimizer.guard().summary(),
    );
    assert_eq!((body.skipped, head.skipped), (1, 1));
    assert_eq!((body.readings, body.kept), (UPDATES, UPDATES - 1));
    assert!(last_loss < 0.05, "{last_loss}");
}
