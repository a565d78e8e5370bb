//! Compares slopes of the log gradient norm in random networks with mean-field theory. The theory
//! predicts them from initialisation alone, without a fit.
//!
//! `cargo run --release -p steadygrad-dynamics --example gradient_slopes` prints Markdown.
#![allow(
    clippy::print_stdout,
    reason = "an experiment reports to its standard output"
)]

#[path = "../tests/slopes/errors.rs"]
mod errors;
#[path = "../tests/slopes/network.rs"]
mod network;

use errors::Errors;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use network::{Case, Slopes, grid};
use steadygrad_dynamics::Activation;

/// Units of each layer. Two widths show the effect of a finite width.
const WIDTHS: [usize; 2] = [200, 400];

/// Inputs per network.
const COLUMNS: usize = 8;

fn product(a: &[f64], transposed: bool, b: &[f64], c: &mut [f64], width: usize) {
    let a = MatRef::from_row_major_slice(a, width, width);
    let columns = b.len() / width;
    let b = MatRef::from_column_major_slice(b, width, columns);
    let c = MatMut::from_column_major_slice_mut(c, width, columns);
    let a = if transposed { a.transpose() } else { a };
    matmul(c, Accum::Replace, a, b, 1.0, Par::Seq);
}

fn main() {
    for width in WIDTHS {
        let rows: Vec<(Case, Slopes)> = grid()
            .into_iter()
            .map(|case| (case, case.slopes(width, COLUMNS, product)))
            .collect();
        println!("## Width {width}, {} networks\n", rows.len());
        summary(&rows);
        by_activation(&rows);
        each(&rows);
    }
}

fn summary(rows: &[(Case, Slopes)]) {
    let mean = rows.iter().map(|(_, s)| s.measured).sum::<f64>() / rows.len() as f64;
    println!("| predictor | R^2 | growth factor, median error | slope, median relative error |");
    println!("|---|---|---|---|");
    let line = |name: &str, rows: &[&(Case, Slopes)], predict: &dyn Fn(&Case, &Slopes) -> f64| {
        let pairs: Vec<(f64, f64)> = rows
            .iter()
            .map(|(c, s)| (predict(c, s), s.measured))
            .collect();
        let Errors {
            r_squared,
            factor,
            relative,
        } = Errors::of(&pairs);
        println!(
            "| {name} | {r_squared:.5} | {:.2} % | {:.2} % |",
            100.0 * factor,
            100.0 * relative
        );
    };
    let all: Vec<_> = rows.iter().collect();
    let gentle: Vec<_> = rows
        .iter()
        .filter(|(_, s)| s.measured.abs() < 0.5)
        .collect();
    line("mean field, layer by layer", &all, &|_, s| s.predicted);
    line("the fixed point alone", &all, &|_, s| s.settled);
    line("control: ln sigma_w", &all, &|c, _| c.sigma_w.ln());
    line("control: mean of the measured", &all, &|_, _| mean);
    let name = format!("mean field, the {} with a slope within 0.5", gentle.len());
    line(&name, &gentle, &|_, s| s.predicted);
    line("ln sigma_w on the same", &gentle, &|c, _| c.sigma_w.ln());
    let product = |s: &Slopes, c: &Case| s.measured * (c.depth - 1) as f64;
    let over = rows
        .iter()
        .filter(|(c, s)| product(s, c) > f64::MAX.ln())
        .count();
    let under = rows
        .iter()
        .filter(|(c, s)| product(s, c) < f64::MIN_POSITIVE.ln())
        .count();
    println!("\nGradients that overflow f64: {over}; that underflow it: {under}.\n");
}

fn by_activation(rows: &[(Case, Slopes)]) {
    println!(
        "| activation | measured - predicted, mean | largest | slope, median relative error |"
    );
    println!("|---|---|---|---|");
    for activation in Activation::ALL {
        let of = rows
            .iter()
            .filter(|(case, _)| case.activation == activation);
        let pairs: Vec<(f64, f64)> = of.map(|(_, s)| (s.predicted, s.measured)).collect();
        let gaps: Vec<f64> = pairs.iter().map(|(p, m)| m - p).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let largest = gaps
            .iter()
            .fold(0.0f64, |a, b| if b.abs() > a.abs() { *b } else { a });
        let relative = 100.0 * Errors::of(&pairs).relative;
        println!(
            "| {} | {mean:.5} | {largest:.5} | {relative:.2} % |",
            activation.name()
        );
    }
    println!();
}

fn each(rows: &[(Case, Slopes)]) {
    println!("| activation | sigma_w | sigma_b | layers | predicted | measured | settled |");
    println!("|---|---|---|---|---|---|---|");
    for (case, slopes) in rows {
        println!(
            "| {} | {} | {} | {} | {:.4} | {:.4} | {:.4} |",
            case.activation.name(),
            case.sigma_w,
            case.sigma_b,
            case.depth,
            slopes.predicted,
            slopes.measured,
            slopes.settled
        );
    }
    println!();
}
