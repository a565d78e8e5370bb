use super::{CLIP_ONE, Outcome, Trial, TrialKind, random_remedy};
use crate::measurements::{Measurements, TrainingSetup};
use crate::remedy::{Basis, Family, NotApplicable, Remedy, RemedyKind};

/// What a race of remedies starts from.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// What was measured at initialisation.
    pub measurements: &'a Measurements,
    /// How the run was set up.
    pub setup: &'a TrainingSetup,
    /// How the untreated run went.
    pub baseline: &'a Outcome,
    /// The optimizer's name, `sgd` where the sharpness bounds the learning rate.
    pub optimizer: &'a str,
    /// Whether the repeated layers are plain ones, for which the critical weight scale is known.
    pub plain_layers: bool,
}

impl Start<'_> {
    /// The remedies of the six families with their computed parameters, then the controls.
    ///
    /// `draw` gives two numbers in `0..1` from the caller's own seeded generator. The blind control
    /// is drawn again until it is one that the subject `takes`.
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

    /// The remedies of a family that are for models of this kind. The first is named after its
    /// family, every further one after itself as well.
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
    "its layers are not plain ones, for which alone the critical weight scale is known";

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
