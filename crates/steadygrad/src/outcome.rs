//! The outcome of a training run: how it ended, its verdict and its numbers.
//!
//! [`diagnose`](crate::diagnose), [`remedy`](crate::remedy) and [`cure`](crate::cure) build on it.

mod end;
mod verdict;
mod weight_growth;

use serde::{Deserialize, Serialize};

use crate::detect::Detection;
use crate::float;

pub use end::End;
pub(crate) use verdict::final_loss;
pub use verdict::{Goal, Verdict};
pub use weight_growth::WeightGrowth;

/// Loss and gradient norm of every step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Training loss, one entry per step.
    #[serde(with = "float::list")]
    pub loss: Vec<f64>,
    /// Global gradient norm before clipping, one entry per step.
    #[serde(with = "float::list")]
    pub grad_norm: Vec<f64>,
}

/// The outcome of one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How the trial ended.
    pub end: End,
    /// The verdict on the trial.
    pub verdict: Verdict,
    /// Optimizer steps done.
    pub steps_done: u64,
    /// The first detection of each detector, by step.
    pub detections: Vec<Detection>,
    /// Number of steps at which any detector reported an explosion.
    pub detection_steps: u64,
    /// First step with a non-finite loss or gradient.
    pub first_non_finite_step: Option<u64>,
    /// Loss of the first batch.
    #[serde(with = "float")]
    pub initial_loss: f64,
    /// Median loss of the last tenth of the steps done.
    #[serde(with = "float")]
    pub final_loss: f64,
    /// The task's validation metric at the end; larger is better. NaN if the model is lost.
    #[serde(with = "float")]
    pub validation_metric: f64,
    /// The largest tested multiple of the learning rate at which a short run from the same start
    /// survives. `None` if it was not measured.
    #[serde(with = "float::option")]
    pub stability_margin: Option<f64>,
    /// The growth of the weight norm before the first detection. `None` without measurements at two
    /// healthy steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_growth: Option<WeightGrowth>,
    /// Share of steps that were clipped, in `0..=1`.
    #[serde(with = "float")]
    pub clip_rate: f64,
    /// Multiplications of all planned steps, forward and backward, relative to the baseline. Unlike
    /// `seconds`, it does not depend on the machine.
    #[serde(with = "float")]
    pub work: f64,
    /// Loss and gradient norm.
    pub trace: Curves,
    /// Wall-clock time of the training steps.
    #[serde(with = "float")]
    pub seconds: f64,
}

impl Outcome {
    /// Returns the first detection of an explosion, by any detector.
    pub fn first_detection(&self) -> Option<&Detection> {
        self.detections
            .iter()
            .filter(|detection| detection.detector.is_about_explosion())
            .min_by_key(|detection| detection.step)
    }

    /// Returns the global gradient norms before the first detection of an explosion.
    pub fn healthy_norms(&self) -> &[f64] {
        let until = self
            .first_detection()
            .map_or(self.trace.grad_norm.len(), |detection| {
                detection.step as usize
            });
        &self.trace.grad_norm[..until.min(self.trace.grad_norm.len())]
    }
}
