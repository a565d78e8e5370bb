//! Lyapunov spectra of textbook systems beside the printed values, with long runs.
//!
//! `cargo run --release -p steadygrad --example known_spectra`
#![allow(clippy::print_stdout)]

#[path = "../tests/systems/mod.rs"]
mod systems;

use steadygrad::dynamics::{Flow, LyapunovSettings, LyapunovSpectrum, TangentSystem};
use systems::{Lorenz, Roessler, henon, logistic, standard, towel};

fn show(name: &str, system: &mut impl TangentSystem, steps: usize, printed: &[f64]) {
    let settings = LyapunovSettings {
        transient: steps / 100,
        steps: Some(steps),
        ..LyapunovSettings::default()
    };
    let start = std::time::Instant::now();
    match LyapunovSpectrum::measure(system, settings) {
        Ok(spectrum) => {
            for (exponent, printed) in spectrum.exponents.iter().zip(printed) {
                let error = exponent.standard_error.unwrap_or(f64::NAN);
                let off = exponent.value - printed;
                println!(
                    "{name:<26} {:>12.6} +- {error:.6}  printed {printed:>10}  off {off:>10.6} = {:>5.1} errors",
                    exponent.value,
                    off / error
                );
            }
            let per_step = start.elapsed().as_secs_f64() / steps as f64 * 1e9;
            println!(
                "{:<26} {steps} steps of {}, a factorisation every {} at most, {per_step:.0} ns a step",
                "", spectrum.time_step, spectrum.longest_interval
            );
        }
        Err(error) => println!("{name}: {error}"),
    }
}

fn main() {
    // Not longer: rounding ends every orbit of this map in 0 after some ten million steps.
    show(
        "logistic r=4",
        &mut logistic(4.0, 0.1234567),
        1_000_000,
        &[2f64.ln()],
    );
    show("Henon", &mut henon(), 20_000_000, &[0.41922, -1.62319]);
    show("towel", &mut towel(), 20_000_000, &[0.430, 0.377, -3.299]);
    for start in [[0.0, 6.0], [0.1, 0.1]] {
        let name = format!("standard k=1 from {start:?}");
        show(
            &name,
            &mut standard(1.0, start),
            100_000_000,
            &[0.10497, -0.10497],
        );
    }
    for step in [0.005, 0.01, 0.02] {
        let flow = || Flow::new(Lorenz, vec![1.0, 1.0, 20.0], step);
        let mut flow = flow().expect("a valid start");
        let steps = (2e5 / step) as usize;
        show("Lorenz", &mut flow, steps, &[0.9056, 0.0, -14.5723]);
    }
    for (step, time) in [(0.01, 5e5), (0.05, 5e5), (0.02, 6e6)] {
        let flow = || Flow::new(Roessler, vec![1.0, 1.0, 0.0], step);
        let mut flow = flow().expect("a valid start");
        let steps = (time / step) as usize;
        show("Roessler", &mut flow, steps, &[0.0714, 0.0, -5.3943]);
    }
}
