use std::collections::HashMap;

use super::Row;
use crate::StepReading;
use crate::detect::{Detection, Detector};
use crate::guard::{Guard, Preset};
use crate::stats::{GradientStats, NamedStats, TensorStats};

/// A detector's detections in consecutive rows are kept up to this many: the first show how it
/// began.
const KEPT: usize = 16;

/// The most detections of a log: a log may be all noise.
const MOST: usize = 65_536;

/// Returns what a guard that only watches sees in each row.
pub(super) fn detections(rows: &[Row]) -> Vec<(usize, Detection)> {
    let mut guard = Guard::from(Preset::Observe);
    // For each detector the last row it fired in, and how many consecutive rows it has fired in.
    let mut lasts: HashMap<Detector, (usize, usize)> = HashMap::new();
    let (mut loss, mut rate) = (0.0, 0.0);
    let mut seen = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        // A value that was not logged repeats the last one: no detector sees a change in it.
        loss = row.loss.unwrap_or(loss);
        rate = row.learning_rate().unwrap_or(rate);
        let tensors = row.grad_norm.map(|tensor_norm| NamedStats {
            name: String::new(),
            stats: TensorStats {
                tensor_norm,
                ..TensorStats::default()
            },
        });
        let gradients = GradientStats {
            tensors: tensors.into_iter().collect(),
        };
        let reading = StepReading::new(row.step, loss, rate, gradients);
        for detection in guard.step(&reading).detections {
            let (last, length) = lasts.entry(detection.detector).or_insert((index, 0));
            *length = if *last + 1 >= index { *length + 1 } else { 1 };
            *last = index;
            if *length <= KEPT && seen.len() < MOST {
                seen.push((index, detection));
            }
        }
    }
    seen
}
