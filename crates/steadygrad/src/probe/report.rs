use serde::{Deserialize, Serialize};

use super::{GrowthForecast, Risk, Subnormals, TwinRun};
use crate::cure::SubjectSummary;
use crate::diagnose::{Finding, ModelCase, diagnose, rule};
use crate::dynamics::PhaseDiagram;
use crate::float;
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Basis, Derivation, Family, Remedy, RemedyKind};

/// The remedy to try first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstRemedy {
    /// The family of the remedy.
    pub family: Family,
    /// The remedy, with its parameter computed.
    pub remedy: Remedy,
    /// How the parameter was computed.
    pub derivation: Derivation,
    /// The code of the finding that it answers.
    pub answers: String,
}

/// Everything that `probe` found. A person sees it, and `--json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The version of steadygrad.
    pub version: String,
    /// The model and its task.
    pub subject: SubjectSummary,
    /// The seed of weights, batches and tangent vectors.
    pub seed: u64,
    /// The number of samples per step.
    pub batch_size: usize,
    /// The settings of the run: learning rate, momentum, depth.
    pub setup: TrainingSetup,
    /// The study as TOML, if there is one.
    pub study: Option<String>,
    /// The measurements on the first batch.
    pub measurements: Measurements,
    /// The depths at which number formats give out. `None` when the gradient has no growth rate.
    pub forecast: Option<GrowthForecast>,
    /// The probability that the run diverges. `None` where the optimizer is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// The line between vanishing and exploding gradients, for this activation.
    pub phase_diagram: Option<PhaseDiagram>,
    /// The subnormal values and their cost.
    pub subnormals: Subnormals,
    /// Twins that were trained for a few steps, one pair for each kind of difference. Empty without
    /// any.
    pub butterfly: Vec<TwinRun>,
    /// The faults, root causes first. Empty without any.
    pub findings: Vec<Finding>,
    /// The remedy to try first. `None` without a fault, or when no remedy applies.
    pub first_remedy: Option<FirstRemedy>,
    /// The wall-clock time of the whole probe.
    #[serde(with = "float")]
    pub seconds: f64,
}

impl ProbeReport {
    /// Finds the faults in the measurements, and the first remedy for them.
    pub fn conclude(
        measurements: &Measurements,
        setup: &TrainingSetup,
    ) -> (Vec<Finding>, Option<FirstRemedy>) {
        let findings = diagnose(&ModelCase::new(measurements, setup));
        let basis = Basis::new(measurements, setup);
        let first = findings.iter().find_map(|finding| {
            let families = rule(&finding.code)?
                .families
                .along(measurements.growth.axis);
            let mut kinds = families
                .iter()
                .flat_map(|family| RemedyKind::of_family(*family));
            kinds.find_map(|kind| {
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

    /// Whether the run is more likely to diverge than not. `false` where the risk is not known.
    pub fn is_likely_to_diverge(&self) -> bool {
        self.risk
            .as_ref()
            .is_some_and(|risk| risk.probability > 0.5)
    }

    /// Whether no fault was found, and the run is not likely to diverge.
    pub fn is_healthy(&self) -> bool {
        self.findings.is_empty() && !self.is_likely_to_diverge()
    }

    /// The largest learning rate that is stable at the measured sharpness. `None` when the
    /// sharpness is not known or not positive.
    pub fn largest_stable_learning_rate(&self) -> Option<f64> {
        self.measurements
            .sharpness?
            .largest_stable_learning_rate(self.setup.momentum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, setup};
    use crate::dynamics::{Axis, GrowthProfile};
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
        measurements.sharpness.as_mut().unwrap().lambda_max = 1e5;
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
    fn a_vanishing_recurrent_network_gets_no_normalisation_between_its_steps() {
        let vanishing = |axis| {
            let mut measurements = healthy_measurements();
            let points = (0..50).map(|t| (format!("{t}"), 1.0, 0.7f64.powi(49 - t)));
            measurements.growth = GrowthProfile::new(axis, points);
            // As in a gated cell, no matrix has a critical gain.
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
