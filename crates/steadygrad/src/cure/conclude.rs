//! Draws conclusions from finished trials. All functions are pure.

use super::prescription::Prescription;
use super::rank::{RankedTrial, rank};
use super::trial::{BASELINE, Trial, TrialKind};
use super::verification::Verification;
use crate::outcome::Verdict;
use crate::remedy::Remedy;

/// Ranks trials by [`rank`]. Two values of the metric `accuracy` tie if they differ by at most its
/// standard error on this number of validation samples. Other metrics are compared exactly.
pub fn ranking(trials: &[Trial], metric: &str, validation_samples: usize) -> Vec<RankedTrial> {
    let best = trials
        .iter()
        .filter_map(|trial| trial.outcome.as_ref())
        .filter(|outcome| outcome.verdict.survived())
        .map(|outcome| outcome.validation_metric)
        .fold(f64::NAN, f64::max);
    rank(trials, standard_error(metric, validation_samples, best))
}

/// Returns the standard error of the best metric: how much two trials may differ by chance.
fn standard_error(metric: &str, validation_samples: usize, best: f64) -> f64 {
    match metric {
        // Accuracy is a share of independent samples, so its variance is binomial.
        "accuracy" if (0.0..=1.0).contains(&best) => {
            (best * (1.0 - best) / validation_samples.max(1) as f64).sqrt()
        }
        _ => 0.0,
    }
}

/// Returns the best remedy, even if it does not cure. A control cannot win.
pub fn winner<'a>(trials: &'a [Trial], ranking: &[RankedTrial]) -> Option<&'a Trial> {
    ranking
        .iter()
        .filter_map(|ranked| trials.iter().find(|trial| trial.name == ranked.trial))
        .find(|trial| matches!(trial.kind, TrialKind::Family(_)))
}

/// Returns the trials to repeat on fresh seeds: the winner, the baseline, and the controls that
/// could run. The winner must beat the others.
pub fn contenders<'a>(
    winner: &'a Trial,
    baseline: &'a Trial,
    trials: &'a [Trial],
) -> Vec<&'a Trial> {
    let controls = trials.iter();
    let controls =
        controls.filter(|trial| trial.kind == TrialKind::Control && trial.not_tried.is_none());
    std::iter::once(winner)
        .chain([baseline])
        .chain(controls)
        .collect()
}

/// Prescribes the winner if it cured and most fresh seeds confirm it.
///
/// A cure that fresh seeds do not confirm was luck. The winner must also solve more seeds than the
/// untreated run; otherwise there is nothing to cure.
pub fn prescribe(
    winner: &Trial,
    verification: &[Verification],
    study_diff: impl Fn(&Remedy) -> Option<String>,
) -> Option<Prescription> {
    let outcome = winner.outcome.as_ref()?;
    let of = |name: &str| verification.iter().find(|verified| verified.trial == name);
    let untreated = of(BASELINE).map_or(0, |verified| verified.solved);
    let proven = of(&winner.name).is_some_and(|verified| {
        2 * verified.solved > verified.seeds.len() && verified.solved > untreated
    });
    let remedy = winner
        .remedy
        .filter(|_| outcome.verdict == Verdict::Cured && proven)?;
    Some(Prescription::new(
        winner.name.clone(),
        &remedy,
        study_diff(&remedy),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::healthy_outcome;
    use super::super::{CLIP_ONE, SeedOutcome};
    use super::*;
    use crate::remedy::Family;

    fn trial(name: &str, kind: TrialKind, metric: f64) -> Trial {
        let mut outcome = healthy_outcome();
        outcome.validation_metric = metric;
        Trial {
            name: name.into(),
            kind,
            remedy: Some(CLIP_ONE),
            derivation: None,
            not_tried: None,
            outcome: Some(outcome),
        }
    }

    fn verified(name: &str, verdicts: &[Verdict]) -> Verification {
        let seeds = verdicts.iter().map(|verdict| SeedOutcome {
            seed: 1,
            outcome: super::super::Outcome {
                verdict: *verdict,
                ..healthy_outcome()
            },
        });
        Verification::new(name.into(), seeds.collect())
    }

    #[test]
    fn the_winner_is_a_family_and_the_standard_error_that_of_a_share() {
        let trials = [
            trial("control: clip=1", TrialKind::Control, 0.99),
            trial("clip", TrialKind::Family(Family::Clip), 0.90),
            trial("normalize", TrialKind::Family(Family::Normalize), 0.95),
            Trial {
                not_tried: Some("the model does not run with it".into()),
                outcome: None,
                ..trial("control: random", TrialKind::Control, 0.0)
            },
        ];
        let exact = ranking(&trials, "accuracy", 1_000_000);
        let best = winner(&trials, &exact).unwrap();
        assert_eq!(best.name, "normalize");
        let baseline = Trial::baseline(None);
        let again = contenders(best, &baseline, &trials).into_iter();
        let again: Vec<&str> = again.map(|trial| trial.name.as_str()).collect();
        assert_eq!(again, ["normalize", "baseline", "control: clip=1"]);
        assert!((standard_error("accuracy", 100, 0.9) - 0.03).abs() < 1e-12);
        for best in [f64::NAN, -3.0] {
            assert_eq!(standard_error("accuracy", 100, best), 0.0);
        }
        assert_eq!(standard_error("loss", 100, 0.9), 0.0);
        assert_eq!(standard_error("accuracy", 0, 0.5), 0.5);
        assert!(winner(&trials[..1], &ranking(&trials[..1], "accuracy", 1)).is_none());
    }

    #[test]
    fn only_what_most_fresh_seeds_confirm_is_prescribed() {
        let cured = trial("clip", TrialKind::Family(Family::Clip), 0.97);
        let (yes, no) = (Verdict::Cured, Verdict::BelowGoal);
        let given = |trial: &Trial, verdicts: &[Verdict]| {
            prescribe(trial, &[verified("clip", verdicts)], |_| None).is_some()
        };
        assert!(given(&cured, &[yes, yes, no]));
        assert!(!given(&cured, &[yes, no]));
        assert!(!given(&cured, &[]));
        assert!(prescribe(&cured, &[], |_| None).is_none());
        for (untreated, worth_it) in [([no, no], true), ([yes, no], true), ([yes, yes], false)] {
            let both = [
                verified("clip", &[yes, yes]),
                verified(BASELINE, &untreated),
            ];
            assert_eq!(prescribe(&cured, &both, |_| None).is_some(), worth_it);
        }
        let mut weak = cured.clone();
        weak.outcome.as_mut().unwrap().verdict = no;
        assert!(!given(&weak, &[yes, yes]));
    }
}
