use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::detect::Detection;
use crate::float;

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum End {
    /// All planned steps were done.
    Completed,
    /// The guard stopped it, or nothing finite was left to train.
    Failed {
        /// Why.
        reason: String,
    },
    /// A person stopped it.
    Interrupted,
}

/// Loss and gradient norm of every step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Training loss, one entry a step.
    #[serde(with = "float::list")]
    pub loss: Vec<f64>,
    /// Global gradient norm before clipping, one entry a step.
    #[serde(with = "float::list")]
    pub grad_norm: Vec<f64>,
}

/// What became of one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What that means.
    pub verdict: Verdict,
    /// Optimizer steps done.
    pub steps_done: u64,
    /// The first detection of each detector, by step.
    pub detections: Vec<Detection>,
    /// Steps at which any detector spoke of an explosion.
    pub detection_steps: u64,
    /// First step with a non-finite loss or gradient.
    pub first_non_finite_step: Option<u64>,
    /// Loss of the first batch.
    #[serde(with = "float")]
    pub initial_loss: f64,
    /// Median loss of the last tenth of the steps done.
    #[serde(with = "float")]
    pub final_loss: f64,
    /// The task's validation metric at the end, larger is better. NaN when the model is lost.
    #[serde(with = "float")]
    pub validation_metric: f64,
    /// The largest tried multiple of its own learning rate at which a short run from the same
    /// start still survives. `None` when it was not measured.
    #[serde(with = "float::option")]
    pub stability_margin: Option<f64>,
    /// Share of steps that were clipped, in `0..=1`.
    #[serde(with = "float")]
    pub clip_rate: f64,
    /// Arithmetic of all planned steps relative to the baseline's (forward and backward
    /// multiplications). Does not depend on the machine, unlike `seconds`.
    #[serde(with = "float")]
    pub work: f64,
    /// Loss and gradient norm.
    pub trace: Trace,
    /// Wall-clock time of the training steps.
    #[serde(with = "float")]
    pub seconds: f64,
}

impl Outcome {
    /// The first step at which any detector spoke of an explosion.
    pub fn first_detection(&self) -> Option<&Detection> {
        self.detections
            .iter()
            .filter(|detection| detection.detector.is_about_explosion())
            .min_by_key(|detection| detection.step)
    }

    /// Global norms of the steps before anything was detected.
    pub fn healthy_norms(&self) -> &[f64] {
        let until = self
            .first_detection()
            .map_or(self.trace.grad_norm.len(), |detection| {
                detection.step as usize
            });
        &self.trace.grad_norm[..until.min(self.trace.grad_norm.len())]
    }
}
