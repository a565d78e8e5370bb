use super::{Ending, History, Row};
use crate::detect::{Detector, Severity};
use crate::trace::Role;

/// The least rows of a rise: two points are a jump.
const LEAST_ROWS: usize = 3;

/// A rise ends at least this many times above the usual value: from there on a row stands out.
const LEAST_RATIO: f64 = 4.0;

/// A column that rose over several rows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ColumnRise {
    /// [`Role::GradNorm`], or [`Role::Loss`] if the norm did not rise or was not logged.
    pub role: Role,
    /// The row that the rise began in.
    pub from_row: usize,
    /// The row of its largest finite value.
    pub to_row: usize,
    /// The usual value before.
    pub from: f64,
    /// Its largest finite value.
    pub to: f64,
    /// Factor a step: the `(to_step - from_step + 1)`-th root of `to / from`.
    pub per_step: f64,
}

impl History<'_> {
    /// Returns the rise that the run is lost in, or about to be lost in. `None` if the trouble came
    /// from one row to the next, or if there is none.
    pub fn rise(&self) -> Option<ColumnRise> {
        let (from, to) = match (self.ending(), self.onset()) {
            (Ending::NonFinite { row }, Some(onset)) => (onset, row),
            (_, Some(onset)) => (onset, self.rows().len()),
            _ => {
                // A norm that grows while the loss does not is harmless. Without a loss in the log
                // nothing shows that the loss does not grow.
                let blind = self.trace().series(&Role::Loss).is_none();
                let growing = self.seen().filter(|(_, seen)| {
                    let harmful = seen.severity >= Severity::Harmful;
                    seen.detector == Detector::NormGrowth && (harmful || blind)
                });
                let (row, _) = growing.last()?;
                // The rise has to go on at the end of the log.
                let streak = self.streak_at(row)?;
                let ends = streak.to == self.rows().len();
                ends.then_some((streak.from, streak.to))?
            }
        };
        let norm = |row: &Row| row.grad_norm;
        let loss = |row: &Row| row.loss;
        self.rise_of(Role::GradNorm, norm, from, to)
            .or_else(|| self.rise_of(Role::Loss, loss, from, to))
    }

    fn rise_of(
        &self,
        role: Role,
        value: impl Fn(&Row) -> Option<f64>,
        from_row: usize,
        end: usize,
    ) -> Option<ColumnRise> {
        let rows = self.rows();
        let finite = |row: usize| value(rows.get(row)?).filter(|value| value.is_finite());
        let streak = self
            .streak_at(from_row)
            .filter(|streak| streak.from == from_row);
        let usual = streak.and_then(|streak| match role {
            Role::Loss => streak.usual_loss,
            _ => streak.usual_norm,
        });
        let from = usual.or_else(|| finite(from_row.saturating_sub(1)))?;
        let (to_row, to) = (from_row..end)
            .filter_map(|row| Some((row, finite(row)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        let steps = self.step(to_row).abs_diff(self.step(from_row)) + 1;
        let enough = from > 0.0 && to > LEAST_RATIO * from && to_row + 1 >= from_row + LEAST_ROWS;
        enough.then(|| ColumnRise {
            role,
            from_row,
            to_row,
            from,
            to,
            per_step: (to / from).powf(1.0 / steps as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::sketch::{Sketch, diverging, healthy};

    #[test]
    fn a_geometric_rise_has_its_rate() {
        let trace = diverging().trace();
        let rise = History::of(&trace).rise().unwrap();
        assert_eq!((rise.role, rise.to_row), (Role::GradNorm, 129));
        assert!((102..=105).contains(&rise.from_row), "{}", rise.from_row);
        // The rise is measured from the median, so it is a little faster than half a step.
        assert!((1.5..1.7).contains(&rise.per_step), "{}", rise.per_step);
    }

    #[test]
    fn a_log_without_a_loss_is_judged_by_its_norm() {
        let mut trace = diverging().trace();
        trace.series.retain(|series| *series.role() != Role::Loss);
        assert_eq!(History::of(&trace).rise().unwrap().role, Role::GradNorm);
        let mut trace = healthy();
        trace.series.retain(|series| *series.role() != Role::Loss);
        assert_eq!(History::of(&trace).rise(), None);
    }

    #[test]
    fn a_nan_from_nothing_and_a_healthy_run_have_none() {
        let trace = Sketch::healthy(50).loss(40, |_, _| f64::NAN).trace();
        assert_eq!(History::of(&trace).rise(), None);
        assert_eq!(History::of(&healthy()).rise(), None);
    }
}
