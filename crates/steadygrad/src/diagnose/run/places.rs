use super::{ColumnRise, History};
use crate::trace::{Cadence, Objective, Role, Series, StepUnit};

/// A factor that two digits after the point cannot tell from 1.
const ROUNDED: f64 = 1.02;

impl History<'_> {
    /// Returns what one row stands for.
    pub fn cadence(&self) -> Cadence {
        self.trace().cadence
    }

    /// Returns what the steps count.
    pub fn unit(&self) -> StepUnit {
        self.trace().unit
    }

    /// Returns what kind of training it is.
    pub fn objective(&self) -> Objective {
        self.trace().objective
    }

    /// Whether a row is one step, and so one batch.
    pub fn is_by_step(&self) -> bool {
        self.trace().is_by_step()
    }

    /// Whether a lower loss is progress.
    pub fn is_supervised(&self) -> bool {
        self.objective() == Objective::Supervised
    }

    /// Names a position by what the log counts: `step 420`, `epoch 17`, `row 31`.
    pub fn at(&self, step: u64) -> String {
        format!("{} {step}", self.unit().name())
    }

    /// Names a row's position: see [`at`](Self::at).
    pub fn place(&self, row: usize) -> String {
        self.at(self.step(row))
    }

    /// Returns the log's own name of a column; the usual name if it has none.
    pub fn column(&self, role: &Role) -> String {
        let series = self.trace().series(role);
        series.map_or_else(|| role.column(), |series| Series::column(series).to_owned())
    }

    /// Says how fast a column rose: `x1.50 a step`. A row that is more than a step has its own
    /// factor.
    pub fn pace(&self, rise: &ColumnRise) -> String {
        let (factor, each) = match self.unit() {
            StepUnit::Step if rise.per_step >= ROUNDED => (rise.per_step, "step"),
            StepUnit::Epoch if rise.per_step >= ROUNDED => (rise.per_step, "epoch"),
            _ => (rise.per_row, "row"),
        };
        let digits = if factor < ROUNDED { 4 } else { 2 };
        match factor {
            1000.0.. => format!("x{factor:.1e} a{} {each}", n(each)),
            _ => format!("x{factor:.digits$} a{} {each}", n(each)),
        }
    }
}

fn n(each: &str) -> &'static str {
    if each == "epoch" { "n" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::sketch::diverging;

    #[test]
    fn a_position_has_its_unit() {
        let mut trace = diverging().trace();
        for (unit, place, pace) in [
            (StepUnit::Step, "step 7", "a step"),
            (StepUnit::Row, "row 7", "a row"),
            (StepUnit::Epoch, "epoch 7", "an epoch"),
            (StepUnit::EnvironmentStep, "environment step 7", "a row"),
        ] {
            trace.unit = unit;
            let history = History::of(&trace);
            assert_eq!(history.place(7), place);
            let rise = history.rise().unwrap();
            assert!(history.pace(rise).ends_with(pace), "{}", history.pace(rise));
        }
    }
}
