//! How fast spectra are measured. Peers: `benches/peers/dynamics.py`, which calls this program
//! between its own rounds.
//!
//! `cargo bench -p steadygrad --bench dynamics -- [towel|engelken|rnn]`; part of
//! `cargo xtask bench dynamics`. Prints JSON: seconds, and the leading exponents.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to its standard output"
)]

#[path = "../tests/systems/mod.rs"]
mod systems;

use std::time::Instant;

use serde_json::json;
use steadygrad::dynamics::{LyapunovSettings, LyapunovSpectrum, TangentSystem};
use systems::{RandomRnn, towel};

fn time(name: &str, system: &mut impl TangentSystem, settings: LyapunovSettings) {
    let start = Instant::now();
    let spectrum = LyapunovSpectrum::measure(system, settings).expect("a known system");
    let seconds = start.elapsed().as_secs_f64();
    let values: Vec<f64> = spectrum.exponents.iter().map(|e| e.value).collect();
    let line = json!({
        "name": name,
        "seconds": seconds,
        "lambda_1": values[0],
        "last": values[values.len() - 1],
        "longest_interval": spectrum.longest_interval,
    });
    println!("{line}");
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let steps = |steps| LyapunovSettings {
        steps: Some(steps),
        ..LyapunovSettings::default()
    };
    if runs("towel") {
        // The first one warms the processor up.
        (0..8).for_each(|_| time("towel", &mut towel(), steps(10_000)));
    }
    if runs("engelken") {
        time(
            "engelken",
            &mut RandomRnn::new(100, 4.0, 0.1, 1),
            steps(10_000),
        );
    }
    if runs("rnn") {
        let leading = LyapunovSettings {
            vectors: Some(10),
            ..steps(1_000)
        };
        time("rnn", &mut RandomRnn::new(512, 4.0, 1.0, 1), leading);
    }
}
