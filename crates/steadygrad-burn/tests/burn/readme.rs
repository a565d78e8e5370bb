//! README's Rust code compiles as pasted, and runs.

#![allow(
    clippy::print_stdout,
    reason = "README's snippets print what they found"
)]

use std::error::Error;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use steadygrad::Guard;
use steadygrad::clip::ZClip;
use steadygrad::dynamics::{JacobianProduct, ProductSettings};
use steadygrad_burn::{GuardedOptimizer, Stages};

/// The first layer changes the width, from 4 to 6.
fn layers() -> [Linear; 2] {
    let device = Device::flex().autodiff();
    [(4, 6), (6, 6)].map(|(inputs, outputs)| LinearConfig::new(inputs, outputs).init(&device))
}

fn input() -> Tensor<2> {
    Tensor::ones([1, 4], &Device::flex().autodiff())
}

#[test]
fn guarded() -> Result<(), Box<dyn Error>> {
    let [mut model, _] = layers();
    let learning_rate = 0.1;
    let loss = model.forward(input()).powi_scalar(2).mean();
    let gradients = GradientsParams::from_grads(loss.clone().backward(), &model);
    let loss = f64::from(loss.into_scalar::<f32>());
    let before = model.weight.val().into_data();
    // README
    let mut optimizer = GuardedOptimizer::new(Guard::default(), AdamConfig::new().init());
    let outcome = optimizer.step(learning_rate, model, gradients, loss); // after any accumulation
    model = outcome.model;
    // README
    assert_ne!(model.weight.val().into_data(), before);
    Ok(())
}

#[test]
fn clipper() -> Result<(), Box<dyn Error>> {
    let [mut model, _] = layers();
    let (mut optimizer, learning_rate) = (SgdConfig::new().init(), 0.1);
    let loss = model.forward(input()).powi_scalar(2).mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    // README
    let mut clipper = steadygrad_burn::GradientClipper::new(ZClip::default())?;
    let outcome = clipper.step(&mut optimizer, learning_rate, model, gradients);
    println!("norm before: {}", outcome.report.before.global_norm());
    model = outcome.model;
    // README
    assert_eq!(model.num_params(), 30);
    Ok(())
}

#[test]
fn stages() -> Result<(), Box<dyn Error>> {
    let ([first, second], input) = (layers(), input());
    // README
    let stages = Stages::new()
        .stage("hidden.0", |x| tanh(first.forward(x)))
        .stage("hidden.1", |x| tanh(second.forward(x)));
    let mut backward = stages.linearize(input)?; // at one sample, [1, in]
    let product = JacobianProduct::measure(&mut backward, ProductSettings::default())?;
    println!("ln sigma: {:?}", product.log_singular_values);
    // README
    // There is one value per unit of the narrowest state, which is the input.
    assert_eq!(product.log_singular_values.len(), 4);
    Ok(())
}

/// Every Rust block of README stands above, between two marks.
#[test]
fn every_rust_block_of_the_readme_is_compiled_here() {
    let here = include_str!("readme.rs");
    let compiled: Vec<String> = here
        .split("    // README\n")
        .skip(1)
        .step_by(2)
        .map(|code| code.lines().map(|line| line.trim_start().to_owned() + "\n"))
        .map(String::from_iter)
        .collect();
    let readme = include_str!("../../../../README.md");
    let blocks: Vec<String> = readme
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(|code| code.lines().map(|line| line.trim_start().to_owned() + "\n"))
        .map(String::from_iter)
        .collect();
    assert_eq!(blocks, compiled);
}
