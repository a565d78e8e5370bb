//! Compares the time of steadygrad's global-norm clipping, statistics included, with Burn's own
//! clipping by each parameter's norm. Both get the same model and gradients.
//!
//! Run it with `cargo bench --workspace --bench clip`; it is part of `cargo xtask bench clip`. It
//! prints one JSON object for each model and mode, with medians in microseconds. The rounds
//! alternate between the two. Burn clips on one thread, steadygrad on the number given.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to its standard output"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::optim::grad_clipping::{GradientClipping, GradientClippingConfig};
use burn::tensor::{Device, Tensor};
use serde_json::json;
use steadygrad::clip::GlobalNormClip;
use steadygrad::{Decision, Workers};
use steadygrad_burn::GradientClipper;

#[derive(Module, Debug)]
struct Model {
    embeddings: Vec<Embedding>,
    layers: Vec<Linear>,
    norms: Vec<LayerNorm>,
}

fn mlp(layers: usize, width: usize, device: &Device) -> Model {
    Model {
        embeddings: Vec::new(),
        layers: (0..layers)
            .map(|_| LinearConfig::new(width, width).init(device))
            .collect(),
        norms: Vec::new(),
    }
}

fn gpt2_small(device: &Device) -> Model {
    const D: usize = 768;
    let shapes = [(D, 3 * D), (D, D), (D, 4 * D), (4 * D, D)];
    Model {
        embeddings: [50_257, 1024]
            .map(|rows| EmbeddingConfig::new(rows, D).init(device))
            .to_vec(),
        layers: (0..12)
            .flat_map(|_| shapes)
            .map(|(d_in, d_out)| LinearConfig::new(d_in, d_out).init(device))
            .collect(),
        norms: (0..25)
            .map(|_| LayerNormConfig::new(D).init(device))
            .collect(),
    }
}

/// A gradient of ones for every parameter, each in its own memory.
fn gradients(model: &Model) -> GradientsParams {
    struct Visitor(GradientsParams);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let weight = param.val();
            self.0.register(
                param.id,
                Tensor::<D>::ones(weight.shape(), &weight.device()),
            );
        }
    }
    let mut visitor = Visitor(GradientsParams::new());
    model.visit(&mut visitor);
    visitor.0
}

/// Clips as Burn's optimizers do: each parameter by its own norm.
fn clip_as_burn(model: &Model, gradients: GradientsParams, max_norm: f32) -> GradientsParams {
    struct Visitor(GradientsParams, GradientClipping);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, self.1.clip_gradient(gradient));
            }
        }
    }
    let mut visitor = Visitor(gradients, GradientClippingConfig::Norm(max_norm).init());
    model.visit(&mut visitor);
    visitor.0
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn main() {
    let device = Device::flex();
    let models = [
        ("3x128 MLP", mlp(3, 128, &device), 200),
        ("100x256 MLP", mlp(100, 256, &device), 30),
        ("GPT-2 small", gpt2_small(&device), 7),
        ("1000x100 MLP", mlp(1000, 100, &device), 20),
    ];
    for (name, model, rounds) in models {
        let cases = [
            ("keep", 1e9, 1),
            ("clip", 1e-3, 1),
            ("keep", 1e9, 2),
            ("clip", 1e-3, 2),
        ];
        for (mode, max_norm, threads) in cases {
            let clipper = GradientClipper::new(GlobalNormClip::new(max_norm));
            let (Ok(clipper), Ok(workers)) = (clipper, Workers::new(threads)) else {
                return println!("no clipper with {threads} threads");
            };
            let mut clipper = clipper.with_workers(workers);
            let (mut ours, mut burns) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let given = gradients(&model);
                let start = Instant::now();
                let (given, clipped) = black_box(clipper.clip(&model, given));
                ours.push(start.elapsed());
                assert_eq!(mode == "keep", clipped.decisions == [Decision::Keep]);
                drop(given);

                let given = gradients(&model);
                let start = Instant::now();
                black_box(clip_as_burn(&model, given, max_norm as f32));
                burns.push(start.elapsed());
            }
            let (ours, burns) = (median(ours), median(burns));
            println!(
                "{}",
                json!({
                    "set": name, "mode": mode, "threads": threads, "values": model.num_params(),
                    "ours_us": ours, "burn_us": burns, "ratio": ours / burns,
                })
            );
        }
    }
}
