//! Finds the remedy that works on a model: lists the trials, judges them and ranks them.
//!
//! Everything here is pure. The lab and Python run the trials.

mod candidates;
mod conclude;
mod control;
mod prescription;
mod rank;
mod recorder;
mod report;
mod trial;
mod verification;

pub use crate::outcome::{Curves, End, Goal, Outcome, Verdict, WeightGrowth};
pub use conclude::{prescribe, ranking, winner};
pub use control::{CLIP_ONE, random_remedy};
pub use prescription::Prescription;
pub use rank::{RankedTrial, rank};
pub use report::{CureReport, SubjectSummary};
pub use trial::{BASELINE, Trial, TrialKind};
pub use verification::{SeedOutcome, Verification};

/// Items with which this project's own adapters run a race. They may change in any release.
#[doc(hidden)]
pub mod unstable {
    pub use super::candidates::Start;
    pub use super::conclude::contenders;
    pub use super::recorder::{TrialEnd, TrialRecorder};
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Curves, End, Outcome, Verdict};
    use crate::dynamics::{Activation, Axis, GrowthProfile};
    use crate::measurements::{
        MatrixRole, Measurements, Sharpness, TrainingSetup, UpdateRule, WeightMatrix,
    };

    pub(crate) fn setup() -> TrainingSetup {
        TrainingSetup {
            learning_rate: 0.1,
            momentum: 0.0,
            update_rule: Some(UpdateRule::Sgd),
            depth: Some(30),
            sequence_length: None,
        }
    }

    /// A 30-layer ReLU network at its critical point.
    pub(crate) fn healthy_measurements() -> Measurements {
        let matrix = |name: String, role, fan_in: usize, gain: f64| WeightMatrix {
            name,
            role,
            fan_in,
            fan_out: 64,
            frobenius_norm: gain * 8.0,
            spectral_norm: 2.0 * gain,
        };
        let critical = std::f64::consts::SQRT_2;
        let mut weights = vec![matrix(
            "hidden.0.weight".into(),
            MatrixRole::Input,
            64,
            critical,
        )];
        weights.extend((1..30).map(|l| {
            matrix(
                format!("hidden.{l}.weight"),
                MatrixRole::Hidden,
                64,
                critical,
            )
        }));
        weights.push(matrix("output.weight".into(), MatrixRole::Output, 64, 1.0));
        Measurements {
            loss: 2.3,
            input_rms: 1.0,
            growth: GrowthProfile::new(
                Axis::Depth,
                (0..30).map(|l| (format!("hidden.{l}"), 1.0, 0.1)),
            ),
            spectrum: None,
            criticality: None,
            normalized: false,
            activation: Activation::Relu,
            weights,
            weight_norm: 60.0,
            global_norm: 1.0,
            subnormal_share: 0.0,
            skip_share: None,
            sharpness: Some(Sharpness {
                lambda_max: 10.0,
                lambda_min: -0.5,
                residual: 0.1,
                iterations: 20,
                rows: 32,
                relative_step: 1e-5,
            }),
        }
    }

    pub(crate) fn healthy_outcome() -> Outcome {
        Outcome {
            end: End::Completed,
            verdict: Verdict::Cured,
            steps_done: 100,
            detections: vec![],
            detection_steps: 0,
            first_non_finite_step: None,
            initial_loss: 2.3,
            final_loss: 0.1,
            validation_metric: 0.97,
            stability_margin: Some(4.0),
            weight_growth: None,
            clip_rate: 0.0,
            work: 1.0,
            trace: Curves {
                loss: vec![2.3, 0.1],
                grad_norm: vec![1.0, 0.5],
            },
            seconds: 1.0,
        }
    }
}
