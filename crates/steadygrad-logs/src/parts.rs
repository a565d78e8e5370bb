//! The loss of a log that has only parts of it.

use steadygrad::trace::{Objective, Role, Series};

/// Adds the loss where no column is called the loss, and says how it was made.
///
/// - Of one loss that training lowers, the parts are summands: the loss is their sum. A NaN in one
///   part makes the sum NaN.
/// - Of two networks against each other no sum means anything. The part with the largest magnitude
///   shows an explosion or a NaN of either.
/// - In reinforcement learning the loss of the value function is the one that explodes.
pub(crate) fn add_loss(series: &mut Vec<Series>, objective: Objective) -> Option<String> {
    if series.iter().any(|series| *series.role() == Role::Loss) {
        return None;
    }
    let value = series
        .iter()
        .find(|series| *series.role() == Role::ValueLoss);
    if let Some(value) = value.filter(|_| objective == Objective::Rl) {
        let note = format!(
            "no column is the loss: `{}`, the loss of the value function, is read in its place",
            value.column()
        );
        let (column, values) = (value.column().to_owned(), value.values().to_vec());
        let loss = Series::new(Role::Loss, column, value.steps().clone(), values);
        series.extend(loss);
        return Some(note);
    }
    let (name, loss, note) = of_parts(series, objective)?;
    let steps = loss.0;
    series.extend(Series::new(Role::Loss, name, steps, loss.1));
    Some(note)
}

type Values = (std::sync::Arc<[u64]>, Vec<f64>);

fn of_parts(series: &[Series], objective: Objective) -> Option<(String, Values, String)> {
    let parts = series.iter();
    let mut rows: Vec<&Series> = parts
        .filter(|series| matches!(series.role(), Role::LossPart(_)))
        .collect();
    // The order of the columns must not change which is read, nor the last bits of a sum.
    rows.sort_by_key(|part| (std::cmp::Reverse(part.values().len()), part.column()));
    // Parts of other rows, logged now and then, cannot be added.
    let main = *rows.first()?;
    rows.retain(|part| part.steps() == main.steps());
    let names: Vec<String> = rows
        .iter()
        .map(|part| format!("`{}`", part.column()))
        .collect();
    if let [one] = rows.as_slice() {
        let values = (one.steps().clone(), one.values().to_vec());
        let note = format!("no column is called the loss: {} is read as it", names[0]);
        return Some((one.column().to_owned(), values, note));
    }
    let largest = |a: f64, b: f64| match a.is_nan() || a.abs() >= b.abs() {
        true => a,
        false => b,
    };
    let is_sum = objective == Objective::Supervised;
    let mut values = rows[0].values().to_vec();
    for part in &rows[1..] {
        for (value, other) in values.iter_mut().zip(part.values()) {
            // A NaN on either side stays: `largest` returns its second number if that is NaN.
            *value = if is_sum {
                *value + other
            } else {
                largest(*value, *other)
            };
        }
    }
    let names = names.join(", ");
    let (name, how) = match is_sum {
        true => ("sum of losses", "the sum of"),
        false => (
            "largest of losses",
            "in each row the largest, by magnitude, of",
        ),
    };
    let note = format!("no column is the loss of all: it is {how} {names}");
    Some((name.into(), (main.steps().clone(), values), note))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn part(name: &str, steps: &[u64], values: &[f64]) -> Series {
        let role = Role::LossPart(name.into());
        Series::new(role, name, steps.into(), values.to_vec()).unwrap()
    }

    fn loss(series: &mut Vec<Series>, objective: Objective) -> (Vec<f64>, Option<String>) {
        let note = add_loss(series, objective);
        let loss = series.iter().find(|series| *series.role() == Role::Loss);
        (
            loss.map(|loss| loss.values().to_vec()).unwrap_or_default(),
            note,
        )
    }

    #[test]
    fn summands_are_added_and_a_nan_stays() {
        let mut series = vec![
            part("box_loss", &[0, 1, 2], &[1.0, NAN, 1.0]),
            part("cls_loss", &[0, 1, 2], &[2.0, 2.0, NAN]),
            part("aux_loss", &[2], &[100.0]),
        ];
        let (found, note) = loss(&mut series, Objective::Supervised);
        assert!(
            found[0] == 3.0 && found[1].is_nan() && found[2].is_nan(),
            "{found:?}"
        );
        assert!(note.unwrap().contains("the sum of `box_loss`, `cls_loss`"));
        assert_eq!(series.len(), 4);
    }

    #[test]
    fn of_two_networks_the_larger_is_seen() {
        let mut series = vec![
            part("loss_G", &[0, 1, 2, 3], &[1.0, -9.0, NAN, 1.0]),
            part("loss_D", &[0, 1, 2, 3], &[-2.0, 2.0, 2.0, NAN]),
        ];
        let (found, note) = loss(&mut series, Objective::Gan);
        assert_eq!(found[..2], [-2.0, -9.0]);
        assert!(found[2].is_nan() && found[3].is_nan(), "{found:?}");
        assert!(
            note.unwrap()
                .contains("the largest, by magnitude, of `loss_D`")
        );
    }

    #[test]
    fn a_loss_that_is_there_stays_and_a_value_s_stands_in_for_a_policy_s() {
        let of = |role: Role, value: f64| Series::new(role, "c", [0].into(), vec![value]).unwrap();
        let mut series = vec![of(Role::Loss, 1.0), part("a", &[0], &[5.0])];
        assert_eq!(loss(&mut series, Objective::Supervised), (vec![1.0], None));
        let mut series = vec![of(Role::ValueLoss, 3.0), part("a", &[0], &[5.0])];
        let (found, note) = loss(&mut series, Objective::Rl);
        assert_eq!(found, [3.0]);
        assert!(note.unwrap().contains("the value function"));
        assert_eq!(
            loss(&mut vec![of(Role::GradNorm, 1.0)], Objective::Rl),
            (vec![], None)
        );
        let mut one = vec![part("ReconLoss", &[0], &[5.0])];
        assert!(
            loss(&mut one, Objective::Supervised)
                .1
                .unwrap()
                .contains("is read as it")
        );
    }
}
