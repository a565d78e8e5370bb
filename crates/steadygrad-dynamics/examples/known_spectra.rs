//! Compares Lyapunov spectra of textbook systems and of random networks with published values.
//!
//! The target is an error of at most three standard errors and at most a thousandth of the
//! published value. The runs are long enough for it. For random networks the mean of three seeds
//! must be within 5 % of mean-field theory.
//!
//! `cargo run --release -p steadygrad-dynamics --example known_spectra [name ...]` takes about five
//! minutes and prints Markdown.
#![allow(
    clippy::print_stdout,
    reason = "an experiment reports to its standard output"
)]

#[path = "../tests/systems/mod.rs"]
mod systems;

use std::time::Instant;

use steadygrad_dynamics::{Exponent, Flow, LyapunovSettings, LyapunovSpectrum, TangentSystem};
use systems::{Lorenz, RandomRnn, Roessler, henon, logistic, mean_field_lambda_1, standard, towel};

/// A published value, and half a unit of its last digit.
type Printed = (f64, f64);

/// Prints one row per exponent. An exponent of 0 has no relative error. Its limit is a thousandth
/// of the smallest published one.
fn show(name: &str, system: &mut impl TangentSystem, steps: usize, printed: &[Printed]) {
    let settings = LyapunovSettings::default()
        .with_transient(steps / 100)
        .with_steps(steps);
    let start = Instant::now();
    let spectrum = match LyapunovSpectrum::measure(system, settings) {
        Ok(spectrum) => spectrum,
        Err(error) => return println!("| {name} | {error} | | | | | | |"),
    };
    let seconds = start.elapsed().as_secs_f64();
    let sizes = printed.iter().map(|(value, _)| value.abs());
    let smallest = sizes.filter(|size| *size > 0.0).fold(f64::MAX, f64::min);
    for (exponent, (printed, half)) in spectrum.exponents.iter().zip(printed) {
        let Exponent {
            value,
            standard_error,
        } = *exponent;
        let error = standard_error.unwrap_or(f64::NAN);
        let off = value - printed;
        let size = if *printed == 0.0 {
            smallest
        } else {
            printed.abs()
        };
        let (z, relative) = (off / error, off.abs() / size);
        // The published value is rounded.
        let beyond = (off.abs() - half).max(0.0);
        let verdict = match (beyond <= 3.0 * error, beyond <= 1e-3 * size) {
            (true, true) => "met",
            (true, false) => "within 3 errors, not a thousandth",
            (false, true) => "a thousandth, not within 3 errors",
            (false, false) => "MISSED",
        };
        println!(
            "| {name} | {printed} | {value:.6} | {error:.1e} | {z:.1} | {relative:.1e} | {verdict} \
             | {seconds:.0} s |"
        );
    }
    let dimension = spectrum.kaplan_yorke_dimension().unwrap_or(f64::NAN);
    println!(
        "| | | D_KY {dimension:.5} | | | | {steps} steps of {}, at most {} between two \
         factorisations, {:.1} digits lost | {:.0} ns a step |",
        spectrum.time_step,
        spectrum.longest_interval,
        spectrum.digits_lost,
        seconds / steps as f64 * 1e9
    );
}

fn random_networks() {
    println!(
        "\n| random RNN, N=400, seeds 1, 2, 3 | expected | found | largest error | mean off \
         | verdict |"
    );
    println!("|---|---|---|---|---|---|");
    for g in [0.5, 0.8, 2.0, 3.0, 5.0, 10.0, 20.0] {
        let mut found = Vec::new();
        let mut radii = Vec::new();
        for seed in 1..=3 {
            let mut rnn = RandomRnn::new(400, g, 1.0, seed);
            radii.push(rnn.spectral_radius().ln());
            let settings = LyapunovSettings::default()
                .with_vectors(1)
                .with_transient(1_000)
                .with_steps(20_000);
            let spectrum = LyapunovSpectrum::measure(&mut rnn, settings);
            found.extend(spectrum.ok().and_then(|spectrum| spectrum.lambda_1()));
        }
        let mean = found.iter().map(|e| e.value).sum::<f64>() / found.len() as f64;
        let error = found
            .iter()
            .filter_map(|e| e.standard_error)
            .fold(0.0, f64::max);
        let expected = if g < 1.0 {
            g.ln()
        } else {
            mean_field_lambda_1(g)
        };
        let off = (mean - expected) / expected.abs();
        let values: Vec<String> = found.iter().map(|e| format!("{:.4}", e.value)).collect();
        let note = if g < 1.0 {
            let radii: Vec<String> = radii.iter().map(|r| format!("{r:.4}")).collect();
            format!("ln of the spectral radii: {}", radii.join(", "))
        } else if off.abs() <= 0.05 {
            "met".into()
        } else {
            "MISSED".into()
        };
        println!(
            "| g = {g} | {expected:.4} | {} | {error:.1e} | {:.1} % | {note} |",
            values.join(", "),
            100.0 * off
        );
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    println!("| system | printed | found | standard error | errors off | relative | bar | time |");
    println!("|---|---|---|---|---|---|---|---|");
    if runs("logistic") {
        // The run is this short because rounding takes every orbit to 0 in some ten million steps.
        let name = "logistic r=4";
        show(
            name,
            &mut logistic(4.0, 0.1234567),
            4_000_000,
            &[(2f64.ln(), 0.0)],
        );
    }
    if runs("henon") {
        let printed = [(0.41922, 5e-6), (-1.62319, 5e-6)];
        show("Henon", &mut henon(), 20_000_000, &printed);
    }
    if runs("towel") {
        let printed = [(0.430, 5e-4), (0.377, 5e-4), (-3.299, 5e-4)];
        show("towel", &mut towel(), 20_000_000, &printed);
    }
    if runs("standard") {
        for start in [[0.0, 6.0], [0.1, 0.1], [3.0, 1.0]] {
            let name = format!("standard k=1 from {start:?}");
            let printed = [(0.10497, 5e-6), (-0.10497, 5e-6)];
            show(&name, &mut standard(1.0, start), 200_000_000, &printed);
        }
    }
    if runs("lorenz") {
        for (step, time) in [(0.005, 2e5), (0.01, 5e5), (0.02, 2e5)] {
            let mut flow = Flow::new(Lorenz, vec![1.0, 1.0, 20.0], step).expect("a valid start");
            let printed = [(0.9056, 5e-5), (0.0, 5e-5), (-14.5723, 5e-5)];
            let steps = (time / step) as usize;
            show("Lorenz", &mut flow, steps, &printed);
        }
    }
    if runs("roessler") {
        for (step, time) in [(0.01, 5e5), (0.02, 6e6), (0.05, 5e5)] {
            let mut flow = Flow::new(Roessler, vec![1.0, 1.0, 0.0], step).expect("a valid start");
            let printed = [(0.0714, 5e-5), (0.0, 5e-5), (-5.3943, 5e-5)];
            let steps = (time / step) as usize;
            show("Roessler", &mut flow, steps, &printed);
        }
    }
    if runs("rnn") {
        random_networks();
    }
}
