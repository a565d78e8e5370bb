use serde::{Deserialize, Serialize};

use super::end::End;
use crate::float;

/// The metric at which a task counts as solved, and the metric of the trivial predictor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The validation metric that counts as solved.
    #[serde(with = "float")]
    pub metric: f64,
    /// The metric of the trivial predictor: the most frequent class, or the mean.
    #[serde(with = "float")]
    pub trivial: f64,
}

/// The verdict on a trial, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The trial stopped early, or its loss ended above its start by more than the batch noise.
    Diverged,
    /// The loss stays finite, but the metric hardly exceeds the trivial predictor's.
    DoesNotLearn,
    /// The model learns, but its metric stays below the goal.
    BelowGoal,
    /// The metric reaches the goal.
    Cured,
}

impl Verdict {
    /// The share of the way from the trivial predictor to the goal that counts as learning.
    const LEARNS: f64 = 0.2;

    /// Judges a trial by the loss at each step and by its metric. A NaN loss or metric counts as
    /// diverged.
    pub fn judge(end: &End, losses: &[f64], metric: f64, goal: Goal) -> Self {
        let survived = *end == End::Completed && !rose(losses) && metric.is_finite();
        if !survived {
            Verdict::Diverged
        } else if metric >= goal.metric {
            Verdict::Cured
        } else if metric >= goal.trivial + Self::LEARNS * (goal.metric - goal.trivial) {
            Verdict::BelowGoal
        } else {
            Verdict::DoesNotLearn
        }
    }

    /// Whether the trial finished without diverging.
    pub fn survived(self) -> bool {
        self > Verdict::Diverged
    }

    /// Returns a short name for a table.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Diverged => "diverged",
            Verdict::DoesNotLearn => "does not learn",
            Verdict::BelowGoal => "below goal",
            Verdict::Cured => "cured",
        }
    }
}

/// The first loss counts as typical if at least this share of the later losses is as low.
const USUAL: f64 = 0.05;

/// The least number of losses compared at each end of the run, limited to half of a short run.
const END: usize = 10;

/// Returns whether the loss ended above its start, and not because the first batch was easy.
///
/// The final loss must exceed the first loss, and one of these must hold:
/// - Hardly any later loss is as low as the first.
/// - The final loss exceeds the first loss by more than that loss's absolute value.
/// - The final loss exceeds the median of the early losses by more than the spread of the late
///   ones.
///
/// On flat, noisy losses, one run in twenty is wrongly called risen. An empty list, or a NaN in the
/// last tenth, counts as risen.
fn rose(losses: &[f64]) -> bool {
    let Some((&first, later)) = losses
        .split_first()
        .filter(|_| last_tenth(losses).is_some())
    else {
        return true;
    };
    let end = losses
        .len()
        .div_ceil(10)
        .max(END.min(losses.len().div_ceil(2)));
    let start = in_order(&losses[..end]);
    let last = in_order(&losses[losses.len() - end..]);
    let final_loss = median(&last);
    if final_loss <= first {
        return false;
    }
    let at = |share: f64| last[(share * (last.len() - 1) as f64).round() as usize];
    let varies = at(0.9) - at(0.1);
    let as_low = later.iter().filter(|loss| **loss <= first).count();
    (as_low as f64) < USUAL * later.len() as f64
        || final_loss - first > first.abs()
        || final_loss - median(&start) > varies
}

/// Returns the median of the last tenth, or NaN if it is empty or contains NaN.
pub(crate) fn final_loss(losses: &[f64]) -> f64 {
    last_tenth(losses).map_or(f64::NAN, |last| median(&last))
}

/// Returns the last tenth, sorted, or `None` if it is empty or contains NaN.
fn last_tenth(losses: &[f64]) -> Option<Vec<f64>> {
    let last = in_order(&losses[losses.len() - losses.len().div_ceil(10)..]);
    (!last.is_empty() && !last.iter().any(|loss| loss.is_nan())).then_some(last)
}

fn in_order(losses: &[f64]) -> Vec<f64> {
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Returns the upper median of sorted losses.
fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    const GOAL: Goal = Goal {
        metric: 0.95,
        trivial: 0.1,
    };

    #[test]
    fn each_verdict_and_the_odd_rows() {
        let judge =
            |end: &End, final_loss, metric| Verdict::judge(end, &[2.3, final_loss], metric, GOAL);
        let done = End::Completed;
        assert_eq!(judge(&done, 0.1, 0.97), Verdict::Cured);
        assert_eq!(judge(&done, 1.0, 0.5), Verdict::BelowGoal);
        assert_eq!(judge(&done, 2.3, 0.11), Verdict::DoesNotLearn);
        assert_eq!(judge(&done, 99.0, 0.97), Verdict::Diverged);
        assert_eq!(judge(&done, f64::INFINITY, 0.97), Verdict::Diverged);
        assert_eq!(judge(&done, f64::NAN, 0.97), Verdict::Diverged);
        assert_eq!(judge(&done, 0.1, f64::NAN), Verdict::Diverged);
        assert_eq!(Verdict::judge(&done, &[], 0.97, GOAL), Verdict::Diverged);
        let failed = End::Failed {
            reason: "NaN".into(),
        };
        assert_eq!(judge(&failed, 0.1, 0.97), Verdict::Diverged);
        assert_eq!(judge(&End::Interrupted, 0.1, 0.97), Verdict::Diverged);
    }

    /// Returns the share of `tries` runs with flat, noisy losses that count as diverged.
    fn called_diverged(steps: usize, tries: u64) -> f64 {
        let noise = StandardNormal;
        let diverged = (0..tries).filter(|seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(*seed);
            let losses = (0..steps).map(|_| 2.3 * (1.0 + 0.2 * rng.sample::<f64, _>(noise)));
            let losses: Vec<f64> = losses.collect();
            Verdict::judge(&End::Completed, &losses, 0.11, GOAL) == Verdict::Diverged
        });
        diverged.count() as f64 / tries as f64
    }

    #[test]
    fn noise_alone_is_hardly_ever_a_divergence() {
        for (steps, most) in [(5, 0.3), (20, 0.09), (60, 0.09), (300, 0.09)] {
            let share = called_diverged(steps, 500);
            assert!(share < most, "{share} of {steps} steps");
        }
    }

    #[test]
    fn a_loss_that_rose_diverged_whatever_its_shape() {
        let judge = |loss: &dyn Fn(f64) -> f64| {
            let losses: Vec<f64> = (0..100).map(|step| loss(f64::from(step))).collect();
            Verdict::judge(&End::Completed, &losses, 0.11, GOAL)
        };
        let jumps = |step: f64| 1.0 + 3.0 * (step * 7.0).sin().abs();
        let diverged: [(&str, &dyn Fn(f64) -> f64); 7] = [
            ("slowly", &|step| 2.3 + 0.01 * step),
            ("at once, and back half of the way", &|step| {
                if step == 0.0 { 2.3 } else { 1e4 / step }
            }),
            ("after it had fallen", &|step| {
                if step < 60.0 { 2.3 - 0.03 * step } else { 3.0 }
            }),
            ("to a level of its own", &|step| {
                if step < 5.0 { 2.3 } else { 2.6 }
            }),
            ("to jump about above its start", &|step| {
                if step == 0.0 { 1.0 } else { jumps(step) + 0.01 }
            }),
            ("below zero", &|step| -5.0 + 0.1 * step),
            ("to infinity", &|step| {
                if step < 50.0 { 2.3 } else { f64::INFINITY }
            }),
        ];
        for (name, loss) in diverged {
            assert_eq!(judge(loss), Verdict::Diverged, "{name}");
        }
    }
}
