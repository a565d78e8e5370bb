use super::derive::{Basis, derive};
use super::{CLIP_ONE, Outcome, Trial, TrialKind, random_remedy};
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Family, Remedy};

/// What a race of remedies starts from.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Measured at initialisation.
    pub measurements: &'a Measurements,
    /// How the run was set up.
    pub setup: &'a TrainingSetup,
    /// How the untreated run went.
    pub baseline: &'a Outcome,
    /// The optimizer's name, `sgd` where the bound of the learning rate by the sharpness holds.
    pub optimizer: &'a str,
}

impl Start<'_> {
    /// The six families with their computed parameters, then the controls. `draw` gives two numbers in
    /// `0..1` from the caller's own seeded generator; the blind control is drawn again until it is one
    /// that the subject `takes`.
    pub fn trials(
        &self,
        mut draw: impl FnMut() -> [f64; 2],
        takes: impl Fn(&Remedy) -> bool,
    ) -> Vec<Trial> {
        let families = Family::ALL.into_iter().map(|family| self.family(family));
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

    fn family(&self, family: Family) -> Trial {
        let basis = Basis {
            measurements: self.measurements,
            setup: self.setup,
            baseline: Some(self.baseline),
        };
        let (remedy, derivation, not_tried) = match derive(family, basis) {
            Ok((remedy, derivation)) => (Some(remedy), Some(derivation), None),
            // The formula is exact for SGD, and for nothing else.
            Err(_) if family == Family::SlowDown && self.optimizer != "sgd" => {
                let reason = format!(
                    "the sharpness bounds the learning rate of sgd, not of {}",
                    self.optimizer
                );
                (None, None, Some(reason))
            }
            Err(reason) => (None, None, Some(reason.to_string())),
        };
        Trial {
            name: family.name().into(),
            kind: TrialKind::Family(family),
            remedy,
            derivation,
            not_tried,
            outcome: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;

    #[test]
    fn six_families_and_two_controls_of_which_the_blind_one_is_drawn_until_it_fits() {
        let (measurements, setup, baseline) = (healthy_measurements(), setup(), healthy_outcome());
        let start = Start {
            measurements: &measurements,
            setup: &setup,
            baseline: &baseline,
            optimizer: "adamw",
        };
        let mut draws = 0;
        let trials = start.trials(
            || {
                draws += 1;
                [(f64::from(draws) - 0.5) / 6.0, 0.5]
            },
            |remedy| remedy.family() == Family::Normalize,
        );
        assert_eq!(trials.len(), 8);
        assert_eq!(draws, 4);
        assert_eq!(trials[6].remedy, Some(CLIP_ONE));
        assert_eq!(trials[7].remedy.unwrap().family(), Family::Normalize);
        for (trial, family) in trials.iter().zip(Family::ALL) {
            assert_eq!(trial.kind, TrialKind::Family(family));
            // Either a computed remedy or the reason why there is none.
            assert_eq!(trial.remedy.is_some(), trial.derivation.is_some());
            assert_eq!(trial.remedy.is_none(), trial.not_tried.is_some());
        }
    }
}
