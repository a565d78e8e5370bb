use super::{CLIP_ONE, Outcome, Trial, TrialKind, random_remedy};
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Basis, Family, NotApplicable, Remedy, RemedyKind};

/// The inputs of a race of remedies.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The measurements at initialisation.
    pub measurements: &'a Measurements,
    /// The training setup: learning rate, momentum, depth.
    pub setup: &'a TrainingSetup,
    /// The outcome of the untreated run.
    pub baseline: &'a Outcome,
    /// The optimizer's name. For `sgd`, the sharpness bounds the learning rate.
    pub optimizer: &'a str,
    /// Whether the repeated layers are plain. The critical weight scale is known only for plain
    /// layers.
    pub plain_layers: bool,
}

impl Start<'_> {
    /// Returns the remedies of the six families with computed parameters, then the controls.
    ///
    /// `draw` returns two numbers in `0..1` from the caller's seeded generator. The blind control
    /// is sampled until `takes` accepts it.
    pub fn trials(
        &self,
        mut draw: impl FnMut() -> [f64; 2],
        takes: impl Fn(&Remedy) -> bool,
    ) -> Vec<Trial> {
        let families = Family::ALL
            .into_iter()
            .flat_map(|family| self.family(family));
        let random = loop {
            let remedy = random_remedy(draw(), self.setup);
            if takes(&remedy) {
                break remedy;
            }
        };
        let controls = [("control: clip=1", CLIP_ONE), ("control: random", random)];
        let controls = controls.into_iter().map(|(name, remedy)| Trial {
            name: name.into(),
            kind: TrialKind::Control,
            remedy: Some(remedy),
            derivation: None,
            not_tried: None,
            outcome: None,
        });
        families.chain(controls).collect()
    }

    /// Returns the family's remedies that fit this kind of model. The first is named after its
    /// family. Each further name is the family and the remedy.
    fn family(&self, family: Family) -> Vec<Trial> {
        let basis = Basis::new(self.measurements, self.setup)
            .with_baseline(self.baseline)
            .with_optimizer(self.optimizer);
        let mut trials = Vec::new();
        for kind in RemedyKind::of_family(family) {
            let (remedy, derivation, not_tried) = match kind.derive(basis) {
                Err(NotApplicable::AnotherModel(_)) => continue,
                _ if kind.assumes_plain_layers && !self.plain_layers => {
                    (None, None, Some(NOT_PLAIN.to_owned()))
                }
                Ok((remedy, derivation)) => (Some(remedy), Some(derivation), None),
                Err(reason) => (None, None, Some(reason.to_string())),
            };
            trials.push(Trial {
                name: match trials.len() {
                    0 => family.name().into(),
                    _ => format!("{family}: {}", kind.name),
                },
                kind: TrialKind::Family(family),
                remedy,
                derivation,
                not_tried,
                outcome: None,
            });
        }
        trials
    }
}

const NOT_PLAIN: &str =
    "its layers are not plain ones, and only for those is the critical weight scale known";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;

    #[test]
    fn the_families_come_in_order_then_two_controls_that_fit() {
        let (measurements, setup, baseline) = (healthy_measurements(), setup(), healthy_outcome());
        let start = Start {
            measurements: &measurements,
            setup: &setup,
            baseline: &baseline,
            optimizer: "adamw",
            plain_layers: true,
        };
        let mut draws = 0;
        let trials = start.trials(
            || {
                draws += 1;
                [(f64::from(draws) - 0.5) / 6.0, 0.5]
            },
            |remedy| remedy.family() == Family::Normalize,
        );
        assert_eq!(draws, 4);
        let (remedies, controls) = trials.split_at(trials.len() - 2);
        assert_eq!(controls[0].remedy, Some(CLIP_ONE));
        assert_eq!(controls[1].remedy.unwrap().family(), Family::Normalize);
        for family in Family::ALL {
            let of_family = |trial: &&Trial| trial.kind == TrialKind::Family(family);
            let first = remedies.iter().find(of_family).unwrap();
            assert_eq!(first.name, family.name());
        }
        let names: HashSet<&str> = trials.iter().map(|trial| trial.name.as_str()).collect();
        assert_eq!(names.len(), trials.len());
        for trial in remedies {
            // Each trial has either a computed remedy or a reason why it has none.
            assert_eq!(trial.remedy.is_some(), trial.derivation.is_some());
            assert_eq!(trial.remedy.is_none(), trial.not_tried.is_some());
        }
    }

    #[test]
    fn what_follows_from_the_critical_gain_is_not_tried_on_other_layers() {
        let (measurements, setup, baseline) = (healthy_measurements(), setup(), healthy_outcome());
        let start = Start {
            measurements: &measurements,
            setup: &setup,
            baseline: &baseline,
            optimizer: "sgd",
            plain_layers: false,
        };
        let trials = start.trials(|| [0.0, 0.5], |_| true);
        for trial in trials {
            let refused = trial.not_tried.as_deref() == Some(NOT_PLAIN);
            assert_eq!(
                refused,
                ["regularize", "initialize"].contains(&trial.name.as_str())
            );
        }
    }
}
