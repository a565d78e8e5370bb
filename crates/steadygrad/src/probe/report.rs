use serde::{Deserialize, Serialize};

use super::{GrowthForecast, Risk, Subnormals, TwinRun};
use crate::cure::SubjectSummary;
use crate::diagnose::{Case, Finding, diagnose};
use crate::dynamics::{Axis, PhaseDiagram};
use crate::float;
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Basis, Derivation, Family, Remedy, RemedyKind};

/// The remedy that the findings ask for first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstRemedy {
    /// Which family.
    pub family: Family,
    /// The change, its parameter computed.
    pub remedy: Remedy,
    /// How.
    pub derivation: Derivation,
    /// The finding it answers.
    pub answers: String,
}

/// Everything `probe` found: what a person sees, and what `--json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Version of steadygrad.
    pub version: String,
    /// What would be trained.
    pub subject: SubjectSummary,
    /// Seed of weights, batches and tangent vectors.
    pub seed: u64,
    /// Samples a step.
    pub batch_size: usize,
    /// Learning rate, momentum, depth.
    pub setup: TrainingSetup,
    /// The study as TOML, when there is one.
    pub study: Option<String>,
    /// Measured on the first batch.
    pub measurements: Measurements,
    /// When a number format gives out; `None` when the gradient has no growth rate.
    pub forecast: Option<GrowthForecast>,
    /// How likely it is that the run diverges; `None` where the optimizer is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// The line between vanishing and exploding, for this activation.
    pub phase_diagram: Option<PhaseDiagram>,
    /// Subnormal values and their cost.
    pub subnormals: Subnormals,
    /// Twins that were trained a few steps, one pair for each thing that they differed in; empty
    /// when there were none.
    pub butterfly: Vec<TwinRun>,
    /// What is wrong, root cause first. Empty when nothing is.
    pub findings: Vec<Finding>,
    /// What to try first; `None` when nothing is wrong or nothing applies.
    pub first_remedy: Option<FirstRemedy>,
    /// Wall-clock time of the whole job.
    #[serde(with = "float")]
    pub seconds: f64,
}

impl ProbeReport {
    /// The findings that follow from what was measured, and the first remedy for them.
    pub fn conclude(
        measurements: &Measurements,
        setup: &TrainingSetup,
    ) -> (Vec<Finding>, Option<FirstRemedy>) {
        let findings = diagnose(Case {
            measurements,
            setup,
            outcome: None,
        });
        let basis = Basis::new(measurements, setup);
        let first = findings.iter().find_map(|finding| {
            remedies_for(&finding.code, measurements.growth.axis)
                .iter()
                .flat_map(|family| RemedyKind::of_family(*family))
                .find_map(|kind| {
                    let (remedy, derivation) = kind.derive(basis).ok()?;
                    Some(FirstRemedy {
                        family: kind.family,
                        remedy,
                        derivation,
                        answers: finding.code.clone(),
                    })
                })
        });
        (findings, first)
    }

    /// The largest learning rate that is stable at the measured sharpness; `None` when the
    /// sharpness is not known or not positive.
    pub fn largest_stable_learning_rate(&self) -> Option<f64> {
        self.measurements
            .sharpness?
            .largest_stable_learning_rate(self.setup.momentum)
    }
}

/// The families that answer a finding, the one to try first in front.
fn remedies_for(code: &str, axis: Axis) -> &'static [Family] {
    match (code, axis) {
        // All time steps share one matrix, and training moves it: a better start does not last.
        // Clipping does (Pascanu et al., 2013; docs/LOG.md, "Choosing the recurrent subject").
        ("SG007" | "SG004" | "SG010", Axis::Time) => {
            &[Family::Clip, Family::Regularize, Family::Simplify]
        }
        // What normalises the steps of an LSTM is no layer that can be put in.
        ("SG012", Axis::Time) => &[Family::Initialize],
        ("SG018" | "SG007" | "SG012", _) => &[Family::Initialize, Family::Normalize],
        ("SG003" | "SG010", _) => &[Family::Initialize, Family::Normalize, Family::Simplify],
        ("SG006", _) => &[Family::SlowDown],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, setup};
    use crate::dynamics::GrowthProfile;
    use crate::measurements::MatrixRole;

    #[test]
    fn a_healthy_network_needs_nothing() {
        assert_eq!(
            ProbeReport::conclude(&healthy_measurements(), &setup()),
            (vec![], None)
        );
    }

    #[test]
    fn each_fault_has_its_remedy() {
        let mut measurements = healthy_measurements();
        measurements.input_rms = 8.0;
        let (findings, first) = ProbeReport::conclude(&measurements, &setup());
        assert_eq!(findings[0].code, "SG018");
        let first = first.unwrap();
        assert_eq!(
            (first.family, first.answers.as_str()),
            (Family::Initialize, "SG018")
        );

        let mut measurements = healthy_measurements();
        measurements.sharpness.as_mut().unwrap().lambda_max = 1e6;
        let (_, first) = ProbeReport::conclude(&measurements, &setup());
        assert_eq!(first.unwrap().family, Family::SlowDown);
    }

    #[test]
    fn a_recurrent_network_is_clipped_first() {
        let mut measurements = healthy_measurements();
        measurements.growth = GrowthProfile::new(
            Axis::Time,
            (0..50).map(|t| (format!("t={t}"), 1.0, 1.3f64.powi(49 - t))),
        );
        let (findings, first) = ProbeReport::conclude(&measurements, &setup());
        assert_eq!(findings[0].code, "SG004");
        let first = first.unwrap();
        assert_eq!(first.family, Family::Clip);
        assert!(first.derivation.formula.contains("nothing has run yet"));
    }

    #[test]
    fn nothing_is_put_between_the_steps_of_a_recurrent_network_that_vanishes() {
        let vanishing = |axis| {
            let mut measurements = healthy_measurements();
            let points = (0..50).map(|t| (format!("{t}"), 1.0, 0.7f64.powi(49 - t)));
            measurements.growth = GrowthProfile::new(axis, points);
            // As of a gated cell: no matrix has a critical gain.
            for weight in &mut measurements.weights {
                weight.role = MatrixRole::Output;
            }
            ProbeReport::conclude(&measurements, &setup())
        };
        let (findings, first) = vanishing(Axis::Time);
        assert_eq!((findings[0].code.as_str(), first), ("SG012", None));
        let (_, first) = vanishing(Axis::Depth);
        assert_eq!(first.unwrap().family, Family::Normalize);
    }
}
