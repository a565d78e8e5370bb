use steadygrad_record::RingStep;

use super::report::Difference;
use crate::train::{Attempt, AttemptInput};

/// The steps that a run recorded before an incident, and how many of them a replay repeats.
pub(super) struct Record<'a> {
    ring: &'a [RingStep],
    pub(super) compared: u64,
    pub(super) difference: Option<Difference>,
}

impl<'a> Record<'a> {
    pub(super) fn new(ring: &'a [RingStep]) -> Self {
        Self {
            ring,
            compared: 0,
            difference: None,
        }
    }

    /// Compares a step with its row, if the ring has it. The first difference is kept.
    pub(super) fn compare<M>(&mut self, input: &AttemptInput, done: &Attempt<M>) {
        let Some(row) = self.ring.iter().find(|row| row.record.step == input.step) else {
            return;
        };
        self.compared += 1;
        // All NaN are equal here: their bits carry no meaning.
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let rows: Vec<u64> = input.rows.iter().map(|row| *row as u64).collect();
        let first = |rows: &[u64]| rows.first().map_or(f64::NAN, |row| *row as f64);
        let (loss, norm) = (done.loss, done.reading.gradients.global_norm());
        let (old_loss, old_norm) = (row.record.loss, row.record.grad_norm);
        let (what, recorded, replayed) = if rows != row.rows {
            ("the batch's first row", first(&row.rows), first(&rows))
        } else if !same(old_loss, loss) {
            ("the loss", old_loss, loss)
        } else if !same(old_norm, norm) {
            ("the gradient norm", old_norm, norm)
        } else {
            return;
        };
        self.difference.get_or_insert(Difference {
            step: input.step,
            what: what.to_owned(),
            recorded,
            replayed,
        });
    }
}
