//! What is odd about a log's steps.

use steadygrad::trace::{Role, Series};

use crate::cadence::usual_stride;

/// A stride this many times the usual one is a gap.
const GAP: u64 = 10;

/// Restarts, repeated steps and gaps in the longest column, one line each.
pub(crate) fn notes(series: &[Series]) -> Vec<String> {
    let of = |role: Role| series.iter().find(|series| *series.role() == role);
    let Some(series) = of(Role::Loss).or(of(Role::GradNorm)).or(series.first()) else {
        return Vec::new();
    };
    let pairs = || series.steps().iter().zip(series.steps().iter().skip(1));
    let count = |odd: &dyn Fn(u64, u64) -> bool| {
        let mut all = pairs().filter(|(a, b)| odd(**a, **b));
        let first = all.next().map(|(a, b)| (*a, *b));
        first.map(|first| (first, 1 + all.count()))
    };
    let mut notes = Vec::new();
    if let Some(((from, to), times)) = count(&|a, b| b < a) {
        notes.push(format!(
            "steps go back {}, first from {from} to {to}: a restart; the log's own order is kept",
            times_of(times)
        ));
    }
    if let Some(((step, _), times)) = count(&|a, b| a == b) {
        notes.push(format!(
            "`{}` has a step twice {}, first step {step}: the last value counts",
            series.column(),
            times_of(times)
        ));
    }
    let Some(usual) = usual_stride(series.steps()) else {
        return notes;
    };
    if let Some(((from, to), times)) = count(&|a, b| b > a && b - a > GAP.saturating_mul(usual)) {
        notes.push(format!(
            "steps are missing {}, first from {from} to {to}, where {usual} is usual",
            times_of(times)
        ));
    }
    notes
}

fn times_of(times: usize) -> String {
    match times {
        1 => "once".into(),
        many => format!("{many} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[u64]) -> Vec<String> {
        let values = vec![1.0; steps.len()];
        notes(&[Series::new(Role::Loss, "loss", steps.into(), values).unwrap()])
    }

    #[test]
    fn restarts_repeats_and_gaps_are_told() {
        assert_eq!(of(&[0, 1, 2, 3]), [] as [&str; 0]);
        assert_eq!(of(&[]), [] as [&str; 0]);
        assert_eq!(of(&[5]), [] as [&str; 0]);
        assert!(of(&[0, 10, 20, 10, 20, 30, 0])[0].contains("2 times, first from 20 to 10"));
        assert!(of(&[0, 1, 1, 2])[0].contains("a step twice once, first step 1"));
        assert!(
            of(&[0, 5, 10, 15, 100])[0].contains("once, first from 15 to 100, where 5 is usual")
        );
        assert_eq!(of(&[7, 7, 7]).len(), 1);
    }
}
