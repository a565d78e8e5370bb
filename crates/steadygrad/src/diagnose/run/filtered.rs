use super::{Row, median};
use crate::trace::Objective;

/// Rows of zeros after which nobody takes them for a single batch without a loss.
const LEAST_ROWS: usize = 3;

/// A loss below this share of its start may well reach zero: a perfect fit, printed with few
/// digits. A larger one does not reach it from one row to the next.
const SMALL: f64 = 0.01;

/// Rows that say how large the loss was at the start, and before the zeros.
const AROUND: usize = 5;

/// Returns the row from which on a logger printed a NaN as 0, and writes NaN into these rows.
/// `None` if there is no such row.
///
/// Hugging Face's Trainer has `logging_nan_inf_filter`: a loss that is NaN counts as 0. So a loss
/// of exactly 0 from a row to the end is no number where
///
/// - the gradient norm beside it is NaN; or
/// - the loss was far from 0 up to the row before, and the norm, if one is logged, is 0 as well.
///
/// The second holds for one loss that training lowers: a policy's loss may well be 0.
pub(super) fn unfilter(rows: &mut [Row], objective: Objective) -> Option<usize> {
    let is_zero = |row: &Row| row.loss == Some(0.0);
    let with_loss = || {
        rows.iter()
            .enumerate()
            .filter(|(_, row)| row.loss.is_some())
    };
    let zeros = || with_loss().rev().take_while(|(_, row)| is_zero(row));
    let first = zeros().last()?.0;
    let is_beside_nan = |row: &Row| row.grad_norm.is_some_and(|norm| !norm.is_finite());
    let from = if zeros().all(|(_, row)| is_beside_nan(row)) {
        first
    } else {
        let before: Vec<f64> = rows[..first].iter().filter_map(|row| row.loss).collect();
        let middle = |losses: &[f64]| median(losses.iter().copied());
        let start = middle(before.get(..AROUND.min(before.len()))?)?;
        let last = middle(&before[before.len().saturating_sub(AROUND)..])?;
        let is_jump = last > SMALL * start.abs() && before.iter().all(|loss| *loss != 0.0);
        let is_small = |norm: f64| norm.is_nan() || norm <= 0.0;
        let is_all = zeros().all(|(_, row)| row.grad_norm.is_none_or(is_small));
        let enough = zeros().count() >= LEAST_ROWS && objective == Objective::Supervised;
        (is_jump && is_all && enough).then_some(first)?
    };
    for row in rows.iter_mut().skip(from).filter(|row| is_zero(row)) {
        row.loss = Some(f64::NAN);
    }
    Some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row's loss and norm; the norm -1 stands for none.
    fn of(rows: impl IntoIterator<Item = (f64, f64)>, objective: Objective) -> Option<usize> {
        let row = |(step, (loss, norm)): (u64, (f64, f64))| {
            Row::new(step, Some(loss), (norm != -1.0).then_some(norm), None)
        };
        let mut rows: Vec<Row> = (0..).zip(rows).map(row).collect();
        unfilter(&mut rows, objective)
    }

    #[test]
    fn a_loss_that_is_zero_from_one_row_to_the_next_is_no_number() {
        let falling = |norm: f64| (0..20).map(move |row| (2.0 - 0.05 * f64::from(row), norm));
        let zeros = |norm: f64| std::iter::repeat_n((0.0, norm), 4);
        let one = Objective::Supervised;
        assert_eq!(of(falling(1.0).chain(zeros(f64::NAN)), one), Some(20));
        assert_eq!(of(falling(1.0).chain(zeros(0.0)), one), Some(20));
        assert_eq!(of(falling(-1.0).chain(zeros(-1.0)), one), Some(20));
        // The norm beside it is a number; too few rows; it began with zeros; it is a policy's.
        assert_eq!(of(falling(1.0).chain(zeros(0.5)), one), None);
        assert_eq!(of(falling(-1.0).chain(zeros(-1.0).take(2)), one), None);
        assert_eq!(
            of(zeros(-1.0).chain(falling(-1.0)).chain(zeros(-1.0)), one),
            None
        );
        assert_eq!(of(falling(-1.0).chain(zeros(-1.0)), Objective::Rl), None);
        assert_eq!(of(zeros(0.0), one), None);
        assert_eq!(of([], one), None);
    }

    #[test]
    fn a_loss_that_falls_to_zero_has_been_fitted() {
        let digits = |row: i32| (2.0 * 0.6f64.powi(row) * 1e4).round() / 1e4;
        let smooth = (0..60).map(|row| (digits(row), -1.0));
        assert_eq!(of(smooth, Objective::Supervised), None);
    }
}
