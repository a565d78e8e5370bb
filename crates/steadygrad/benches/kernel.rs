//! Compares the speed of gradient statistics with a plain sum over the same memory. It also
//! compares the distance of two models with a loop that the compiler vectorizes.
//!
//! `cargo bench --workspace --bench kernel` is part of `cargo xtask bench clip`. It prints one JSON
//! object for each shape set and number of threads. The values are medians over alternating rounds,
//! in microseconds.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to its standard output"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use fearless_simd::{Level, dispatch, f32x8, prelude::*};
use serde_json::json;
use steadygrad::Workers;
use steadygrad::stats::{Values, distance};

/// Returns each set's name, the number of values of each tensor, and the percentage of zeros. ReLUs
/// and zero inputs make such zeros.
fn shape_sets() -> Vec<(&'static str, Vec<usize>, usize)> {
    vec![
        ("3x128 MLP", mlp(3, 128), 0),
        ("3x128 MLP with zeros", mlp(3, 128), 5),
        ("100x256 MLP", mlp(100, 256), 0),
        ("100x256 MLP with zeros", mlp(100, 256), 5),
        ("GPT-2 small", gpt2_small(), 0),
        ("1000x100 MLP", mlp(1000, 100), 0),
    ]
}

fn mlp(layers: usize, width: usize) -> Vec<usize> {
    (0..layers).flat_map(|_| [width * width, width]).collect()
}

fn gpt2_small() -> Vec<usize> {
    const D: usize = 768;
    let block = [
        D,
        D,
        3 * D * D,
        3 * D,
        D * D,
        D,
        D,
        D,
        4 * D * D,
        4 * D,
        4 * D * D,
        D,
    ];
    let mut tensors = vec![50_257 * D, 1024 * D];
    (0..12).for_each(|_| tensors.extend(block));
    tensors.extend([D, D]);
    tensors
}

/// A plain sum of f32, with enough lanes to use the full memory bandwidth.
fn plain_sum(values: &[f32]) -> f32 {
    dispatch!(Level::new(), simd => {
        let mut sums = [f32x8::splat(simd, 0.0); 8];
        let (chunks, tail) = values.as_chunks::<64>();
        for chunk in chunks {
            for (sum, part) in sums.iter_mut().zip(chunk.chunks(8)) {
                *sum += f32x8::from_slice(simd, part);
            }
        }
        sums.into_iter().map(|sum| sum.reduce_sum()).sum::<f32>() + tail.iter().sum::<f32>()
    })
}

fn plain_sums(tensors: &[Vec<f32>], threads: usize) -> f32 {
    const PORTION: usize = 1 << 16;
    let portions: Vec<&[f32]> = tensors
        .iter()
        .flat_map(|tensor| tensor.chunks(PORTION))
        .collect();
    if threads == 1 {
        return portions.iter().map(|portion| plain_sum(portion)).sum();
    }
    let share = portions.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let handles: Vec<_> = portions
            .chunks(share)
            .map(|share| {
                scope.spawn(|| share.iter().map(|portion| plain_sum(portion)).sum::<f32>())
            })
            .collect();
        handles
            .into_iter()
            .filter_map(|handle| handle.join().ok())
            .sum()
    })
}

/// Computes the distance with sixteen sums in a loop that the compiler vectorizes.
fn plain_distance(before: &[f32], after: &[f32]) -> f64 {
    let mut sums = [0.0; 16];
    let (befores, rest_before) = before.as_chunks::<16>();
    let (afters, rest_after) = after.as_chunks::<16>();
    let square = |before: &f32, after: &f32| f64::from(after - before).powi(2);
    for (before, after) in befores.iter().zip(afters) {
        for (sum, (before, after)) in sums.iter_mut().zip(before.iter().zip(after)) {
            *sum += square(before, after);
        }
    }
    let rest = rest_before.iter().zip(rest_after);
    let rest: f64 = rest.map(|(before, after)| square(before, after)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// Times both ways to compute the distances of all tensors, in alternating rounds.
fn distances(name: &str, tensors: &[Vec<f32>], rounds: usize) {
    let after: Vec<Vec<f32>> = tensors
        .iter()
        .map(|tensor| tensor.iter().map(|value| 1.001 * value).collect())
        .collect();
    let timed = |way: fn(&[f32], &[f32]) -> f64| {
        let start = Instant::now();
        for (before, after) in black_box(tensors).iter().zip(black_box(&after)) {
            black_box(way(before, after));
        }
        start.elapsed()
    };
    let (ours, plain): (Vec<_>, Vec<_>) = (0..rounds)
        .map(|_| (timed(distance), timed(plain_distance)))
        .unzip();
    let (ours, plain) = (median(ours), median(plain));
    println!(
        "{}",
        json!({
            "set": name, "distance_us": ours, "plain_distance_us": plain,
            "speed_ratio": plain / ours,
        })
    );
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn main() {
    for (name, lens, zeros) in shape_sets() {
        let value = |index: usize| {
            if index % 100 < zeros {
                return 0.0;
            }
            ((index % 1009) as f32 + 0.5) * 1e-3
        };
        let tensors: Vec<Vec<f32>> = lens
            .iter()
            .map(|&len| (0..len).map(value).collect())
            .collect();
        let values: Vec<Values<'_>> = tensors.iter().map(|tensor| tensor[..].into()).collect();
        let total: usize = lens.iter().sum();
        let rounds = (400_000_000 / total).clamp(15, 400);
        distances(name, &tensors, rounds);
        for threads in [1, 2] {
            let Ok(workers) = Workers::new(threads) else {
                return;
            };
            let (mut ours, mut plain) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let start = Instant::now();
                black_box(workers.measure(black_box(&values)));
                ours.push(start.elapsed());
                // Starting threads would cost the plain sum of a small set more than the sum
                // itself.
                let start = Instant::now();
                let threads = if total < 1 << 18 { 1 } else { threads };
                black_box(plain_sums(black_box(&tensors), threads));
                plain.push(start.elapsed());
            }
            let (ours, plain) = (median(ours), median(plain));
            let speed = |time: f64| total as f64 * 4.0 / time / 1e3;
            println!(
                "{}",
                json!({
                    "set": name, "threads": threads, "tensors": lens.len(), "values": total,
                    "measure_us": ours, "plain_sum_us": plain, "speed_ratio": plain / ours,
                    "measure_gb_per_s": speed(ours), "plain_sum_gb_per_s": speed(plain),
                })
            );
        }
    }
}
