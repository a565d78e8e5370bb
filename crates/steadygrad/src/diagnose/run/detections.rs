use std::collections::HashMap;

use super::Row;
use crate::StepReading;
use crate::detect::{Detection, Detector};
use crate::guard::{Guard, Preset};
use crate::stats::{GradientStats, NamedStats, TensorStats};

/// Of each detector so many detections are kept of one after the other: the first ones tell what began.
const KEPT: usize = 16;

/// And so many in all: a log may be all noise.
const MOST: usize = 65_536;

/// What a guard that only watches would have said.
pub(super) fn detections(rows: &[Row]) -> Vec<(usize, Detection)> {
    let mut guard = Guard::from(Preset::Observe);
    // Of each detector the last row it spoke in, and for how many rows on end it has.
    let mut lasts: HashMap<Detector, (usize, usize)> = HashMap::new();
    let (mut loss, mut rate) = (0.0, 0.0);
    let mut seen = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        // What was not logged is what it was: no detector sees a change in that.
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
