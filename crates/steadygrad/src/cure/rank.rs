use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::trial::Trial;
use crate::outcome::Outcome;

/// One trial's place in the ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedTrial {
    /// The trial's name.
    pub trial: String,
    /// The position in the ranking, from 1.
    pub rank: usize,
    /// Whether the validation metric is within one standard error of the best. If so, the stability
    /// margin and the cost decide the rank, not metric noise.
    pub tied_with_best: bool,
}

/// Ranks trials, best first.
///
/// Survivors come first. Survivors within `standard_error` of the best metric are sorted by
/// stability margin, then by cost. Other survivors are sorted by metric. Diverged trials come last,
/// the longest-lived first. Ties keep their order.
///
/// The one-standard-error rule (Breiman et al., 1984) keeps metric noise from deciding between
/// equal trials. `standard_error` is the standard error of the best metric. With 0, the metric
/// alone decides.
pub fn rank(trials: &[Trial], standard_error: f64) -> Vec<RankedTrial> {
    let mut run: Vec<(&Trial, &Outcome)> = trials
        .iter()
        .filter_map(|trial| Some((trial, trial.outcome.as_ref()?)))
        .collect();
    let best = run
        .iter()
        .filter(|(_, outcome)| outcome.verdict.survived())
        .map(|(_, outcome)| outcome.validation_metric)
        .fold(f64::NEG_INFINITY, f64::max);
    let tied = |outcome: &Outcome| {
        outcome.verdict.survived() && outcome.validation_metric >= best - standard_error
    };
    run.sort_by(|(_, a), (_, b)| {
        let survived = b.verdict.survived().cmp(&a.verdict.survived());
        survived.then_with(|| match (a.verdict.survived(), tied(a), tied(b)) {
            (false, ..) => b.steps_done.cmp(&a.steps_done),
            (true, true, true) => descending(margin(a), margin(b))
                .then_with(|| descending(b.work, a.work))
                .then_with(|| descending(a.validation_metric, b.validation_metric)),
            (true, ..) => descending(a.validation_metric, b.validation_metric),
        })
    });
    run.into_iter()
        .enumerate()
        .map(|(index, (trial, outcome))| RankedTrial {
            trial: trial.name.clone(),
            rank: index + 1,
            tied_with_best: tied(outcome),
        })
        .collect()
}

fn margin(outcome: &Outcome) -> f64 {
    outcome.stability_margin.unwrap_or(0.0)
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

#[cfg(test)]
mod tests {
    use super::super::testing::healthy_outcome;
    use super::super::{TrialKind, Verdict};
    use super::*;
    use crate::remedy::Family;

    fn trial(name: &str, change: impl FnOnce(&mut Outcome)) -> Trial {
        let mut outcome = healthy_outcome();
        change(&mut outcome);
        Trial {
            name: name.into(),
            kind: TrialKind::Family(Family::Clip),
            remedy: None,
            derivation: None,
            not_tried: None,
            outcome: Some(outcome),
        }
    }

    fn order(trials: &[Trial], standard_error: f64) -> Vec<String> {
        rank(trials, standard_error)
            .into_iter()
            .map(|ranked| ranked.trial)
            .collect()
    }

    #[test]
    fn survival_then_metric_then_margin_then_cost() {
        let trials = [
            trial("died", |o| {
                (o.verdict, o.validation_metric) = (Verdict::Diverged, f64::NAN)
            }),
            trial("weak", |o| o.validation_metric = 0.5),
            trial("dear", |o| (o.validation_metric, o.work) = (0.965, 3.0)),
            trial("cheap", |o| (o.validation_metric, o.work) = (0.96, 1.0)),
            trial("safe", |o| {
                (o.validation_metric, o.stability_margin) = (0.955, Some(8.0))
            }),
        ];
        assert_eq!(
            order(&trials, 0.01),
            ["safe", "cheap", "dear", "weak", "died"]
        );
        assert_eq!(
            order(&trials, 0.0),
            ["dear", "cheap", "safe", "weak", "died"]
        );
    }

    #[test]
    fn untried_trials_are_left_out_and_nothing_is_fine() {
        let mut untried = trial("untried", |_| ());
        untried.outcome = None;
        assert_eq!(order(&[untried], 0.01), [] as [String; 0]);
        assert_eq!(order(&[], 0.01), [] as [String; 0]);
    }

    #[test]
    fn the_longest_lived_leads_the_diverged() {
        let died = |name: &str, steps| {
            trial(name, |o| {
                (o.verdict, o.steps_done, o.validation_metric) =
                    (Verdict::Diverged, steps, f64::NAN);
            })
        };
        assert_eq!(
            order(&[died("early", 3), died("late", 30)], 0.01),
            ["late", "early"]
        );
    }
}
