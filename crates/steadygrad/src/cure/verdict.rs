use serde::{Deserialize, Serialize};

use super::End;
use crate::float;

/// When a task counts as solved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The validation metric that counts as solved.
    #[serde(with = "float")]
    pub metric: f64,
    /// The metric of the trivial predictor: the most frequent class, or the mean.
    #[serde(with = "float")]
    pub trivial: f64,
}

/// What a trial's outcome means, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Stopped before its end, or the loss ended above where it began.
    Diverged,
    /// Finite to the end, but hardly better than the trivial predictor.
    DoesNotLearn,
    /// Learns, but stays below the goal.
    BelowGoal,
    /// Reaches the goal.
    Cured,
}

impl Verdict {
    /// A trial must get this share of the way from the trivial predictor to the goal to count as
    /// learning at all.
    const LEARNS: f64 = 0.2;

    /// Judges a trial. A NaN loss or metric counts as diverged.
    pub fn judge(end: &End, initial_loss: f64, final_loss: f64, metric: f64, goal: Goal) -> Self {
        let survived = *end == End::Completed && final_loss <= initial_loss && metric.is_finite();
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

    /// Finite and not diverged.
    pub fn survived(self) -> bool {
        self > Verdict::Diverged
    }

    /// A few words for a table.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Diverged => "diverged",
            Verdict::DoesNotLearn => "does not learn",
            Verdict::BelowGoal => "below goal",
            Verdict::Cured => "cured",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_and_the_odd_rows() {
        let goal = Goal {
            metric: 0.95,
            trivial: 0.1,
        };
        let judge =
            |end: &End, final_loss, metric| Verdict::judge(end, 2.3, final_loss, metric, goal);
        let done = End::Completed;
        assert_eq!(judge(&done, 0.1, 0.97), Verdict::Cured);
        assert_eq!(judge(&done, 1.0, 0.5), Verdict::BelowGoal);
        assert_eq!(judge(&done, 2.3, 0.11), Verdict::DoesNotLearn);
        assert_eq!(judge(&done, 99.0, 0.97), Verdict::Diverged);
        assert_eq!(judge(&done, f64::NAN, 0.97), Verdict::Diverged);
        assert_eq!(judge(&done, 0.1, f64::NAN), Verdict::Diverged);
        let failed = End::Failed {
            reason: "NaN".into(),
        };
        assert_eq!(judge(&failed, 0.1, 0.97), Verdict::Diverged);
        assert_eq!(judge(&End::Interrupted, 0.1, 0.97), Verdict::Diverged);
    }
}
