use std::collections::HashSet;

use super::History;
use crate::trace::Role;

/// How the note begins in which the reader of a guard's record lists what the guard did.
pub const GUARDED: &str = "the guard intervened";

impl History<'_> {
    /// Returns what a guard's own record says it did. `None` if no guard of steadygrad's
    /// intervened: the skips of another tool may be its loss scaler's, and those are normal.
    pub fn account(&self) -> Option<&str> {
        let mut notes = self.trace().notes.iter();
        notes
            .find(|note| note.starts_with(GUARDED))
            .map(String::as_str)
    }

    /// Returns the steps that were not applied, whatever skipped them; some may have no row yet.
    pub fn skipped_steps(&self) -> impl Iterator<Item = u64> {
        let series = self.trace().series(&Role::Skipped).into_iter();
        let all = series.flat_map(|skipped| skipped.steps().iter().zip(skipped.values()));
        all.filter(|(_, value)| **value > 0.0)
            .map(|(step, _)| *step)
    }

    /// Returns the rows of the steps that a guard of steadygrad's did not apply.
    pub fn interventions(&self) -> Vec<usize> {
        if self.account().is_none() {
            return Vec::new();
        }
        let steps: HashSet<u64> = self.skipped_steps().collect();
        let rows = self.rows().iter().enumerate();
        rows.filter(|(_, row)| steps.contains(&row.step))
            .map(|(index, _)| index)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::sketch::Sketch;

    #[test]
    fn skips_of_another_tool_are_no_interventions() {
        let mut trace = Sketch::healthy(60)
            .with(Role::Skipped, |row| f64::from(row % 20 == 7))
            .trace();
        assert_eq!(History::of(&trace).interventions(), [] as [usize; 0]);
        trace
            .notes
            .push(format!("{GUARDED} 3 times, steps 7 to 47"));
        assert_eq!(History::of(&trace).interventions(), [7, 27, 47]);
    }
}
