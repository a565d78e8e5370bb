//! What one row of a log stands for.

use std::collections::HashMap;

use steadygrad::trace::{Cadence, Objective, Role, Series, StepUnit};

use crate::names::words;

/// A held-out loss with this share of the training loss's rows was measured with each of them.
const ALWAYS: f64 = 0.9;

/// What the steps of a log are known to count.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) unit: StepUnit,
    /// Whether a step is one update of the weights, as far as its name tells.
    pub(crate) counts_updates: bool,
    /// Whether each row is another epoch.
    pub(crate) is_by_epoch: bool,
}

/// The cadence, as far as names and strides tell. Most rows decide.
pub(crate) fn cadence(series: &[Series], counted: Counted, objective: Objective) -> Cadence {
    let of = |role: Role| series.iter().find(|series| *series.role() == role);
    let Some(main) = of(Role::Loss).or(of(Role::GradNorm)).or(series.first()) else {
        return Cadence::Unknown;
    };
    let is_epoch = words(main.column()).iter().any(|word| word == "epoch");
    if counted.unit == StepUnit::Epoch || counted.is_by_epoch || is_epoch {
        return Cadence::Epoch;
    }
    if counted.unit != StepUnit::Step || !counted.counts_updates {
        return Cadence::Unknown;
    }
    match stride(main.steps()) {
        None => Cadence::Unknown,
        Some(1) => {
            // A round of a policy's training has several updates. A gradient norm is of one.
            let is_round = objective == Objective::Rl && of(Role::GradNorm).is_none();
            // Nobody evaluates after each step: such rows are epochs, or evaluations.
            let is_evaluated = of(Role::ValidationLoss).is_some_and(|held_out| {
                held_out.values().len() as f64 >= ALWAYS * main.values().len() as f64
            });
            match is_round || is_evaluated {
                true => Cadence::Unknown,
                false => Cadence::Step,
            }
        }
        Some(stride) => Cadence::Steps(stride),
    }
}

/// The median difference between neighbours that rise. `None` if none do.
pub(crate) fn usual_stride(steps: &[u64]) -> Option<u64> {
    let rises = steps.windows(2).filter(|pair| pair[1] > pair[0]);
    let mut strides: Vec<u64> = rises.map(|pair| pair[1] - pair[0]).collect();
    if strides.is_empty() {
        return None;
    }
    let middle = strides.len() / 2;
    Some(*strides.select_nth_unstable(middle).1)
}

/// The difference between most neighbours that rise. `None` if no difference has the majority.
pub(crate) fn stride(steps: &[u64]) -> Option<u64> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    let mut all = 0usize;
    for pair in steps.windows(2) {
        if pair[1] > pair[0] {
            all += 1;
            *counts.entry(pair[1] - pair[0]).or_default() += 1;
        }
    }
    let (stride, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (2 * count > all).then_some(stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(roles: &[(Role, &str)], steps: &[u64], unit: StepUnit, objective: Objective) -> Cadence {
        let values = vec![1.0; steps.len()];
        let series: Vec<Series> = roles
            .iter()
            .map(|(role, name)| {
                Series::new(role.clone(), *name, steps.into(), values.clone()).unwrap()
            })
            .collect();
        let counted = Counted {
            unit,
            counts_updates: true,
            is_by_epoch: false,
        };
        cadence(&series, counted, objective)
    }

    fn supervised(steps: &[u64]) -> Cadence {
        let loss = [(Role::Loss, "loss")];
        of(&loss, steps, StepUnit::Step, Objective::Supervised)
    }

    #[test]
    fn most_rows_decide() {
        assert_eq!(supervised(&[1, 2, 3, 4]), Cadence::Step);
        assert_eq!(supervised(&[0, 10, 20, 30]), Cadence::Steps(10));
        // The first row is logged on its own, and a restart goes back.
        assert_eq!(supervised(&[1, 10, 20, 30, 20, 30, 40]), Cadence::Steps(10));
        assert_eq!(supervised(&[1, 10, 11, 90]), Cadence::Unknown);
        assert_eq!(supervised(&[]), Cadence::Unknown);
        assert_eq!(supervised(&[7, 7, 7]), Cadence::Unknown);
    }

    #[test]
    fn the_usual_stride_is_the_median_of_those_that_rise() {
        assert_eq!(usual_stride(&[0, 1, 11, 21, 5, 15]), Some(10));
        assert_eq!(usual_stride(&[1, 10, 11, 90]), Some(9));
        assert_eq!(usual_stride(&[7, 7, 3]), None);
        assert_eq!(usual_stride(&[]), None);
    }

    #[test]
    fn names_and_units_tell_what_a_row_is() {
        let steps = [0, 1, 2, 3];
        let kind = Objective::Supervised;
        let loss = [(Role::Loss, "loss")];
        assert_eq!(of(&loss, &steps, StepUnit::Epoch, kind), Cadence::Epoch);
        assert_eq!(of(&loss, &steps, StepUnit::Row, kind), Cadence::Unknown);
        let environment = StepUnit::EnvironmentStep;
        assert_eq!(of(&loss, &steps, environment, kind), Cadence::Unknown);
        let epoch = [(Role::Loss, "train_loss_epoch")];
        assert_eq!(of(&epoch, &steps, StepUnit::Step, kind), Cadence::Epoch);
        let held_out = [(Role::Loss, "loss"), (Role::ValidationLoss, "val_loss")];
        assert_eq!(
            of(&held_out, &steps, StepUnit::Step, kind),
            Cadence::Unknown
        );
        let rl = Objective::Rl;
        assert_eq!(of(&loss, &steps, StepUnit::Step, rl), Cadence::Unknown);
        let norm = [(Role::Loss, "loss"), (Role::GradNorm, "grad_norm")];
        assert_eq!(of(&norm, &steps, StepUnit::Step, rl), Cadence::Step);
    }
}
