//! Measures the time of spectra. `benches/peers/dynamics.py` measures the peers and calls this
//! program between its own rounds.
//!
//! `cargo bench --workspace --bench dynamics -- [towel|engelken|rnn]` is part of
//! `cargo xtask bench dynamics`. It prints JSON: seconds, and the leading exponents.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to its standard output"
)]

#[path = "../tests/systems/mod.rs"]
mod systems;

use std::time::Instant;

use serde_json::json;
use steadygrad_dynamics::{LyapunovSettings, LyapunovSpectrum, TangentSystem};
use systems::{RandomRnn, towel};

/// Times each run on its own system, which is built before the clock starts.
fn time<S: TangentSystem>(
    name: &str,
    runs: usize,
    build: impl Fn() -> S,
    settings: LyapunovSettings,
) {
    for _ in 0..runs {
        let mut system = build();
        let start = Instant::now();
        let spectrum = LyapunovSpectrum::measure(&mut system, settings).expect("a known system");
        let seconds = start.elapsed().as_secs_f64();
        let values: Vec<f64> = spectrum.exponents.iter().map(|e| e.value).collect();
        let line = json!({
            "name": name,
            "interval": settings.interval,
            "seconds": seconds,
            "lambda_1": values[0],
            "last": values[values.len() - 1],
            "longest_interval": spectrum.longest_interval,
            "digits_lost": spectrum.digits_lost,
        });
        println!("{line}");
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    // Each system runs at the automatic interval and at the peer's interval.
    let each = |steps, vectors, peer| {
        [None, Some(peer)].map(|interval| {
            let mut settings = LyapunovSettings::default().with_steps(steps);
            (settings.vectors, settings.interval) = (vectors, interval);
            settings
        })
    };
    if runs("towel") {
        // The first runs warm up the processor.
        for settings in each(10_000, None, 1) {
            time("towel", 21, towel, settings);
        }
    }
    if runs("engelken") {
        for settings in each(10_000, None, 10) {
            time("engelken", 3, || RandomRnn::new(100, 4.0, 0.1, 1), settings);
        }
    }
    if runs("rnn") {
        for settings in each(1_000, Some(10), 1) {
            time("rnn", 3, || RandomRnn::new(512, 4.0, 1.0, 1), settings);
        }
    }
}
