use std::ops::Range;

use super::detections::detections;
use super::rows::rows;
use super::streaks::streaks;
use super::{Ending, Row, Streak};
use crate::detect::{Detection, Detector, Severity};
use crate::trace::Trace;

/// A log as the rules look at it.
#[derive(Debug, Clone)]
pub struct History<'a> {
    trace: &'a Trace,
    rows: Vec<Row>,
    seen: Vec<(usize, Detection)>,
    streaks: Vec<Streak>,
    ending: Ending,
}

impl<'a> History<'a> {
    /// Reads a log: pairs its columns by step, shows them to the guard's own detectors, which only
    /// watch, and says how the run ended.
    pub fn of(trace: &'a Trace) -> Self {
        let rows = rows(trace);
        let ending = Ending::of(&rows);
        let (seen, streaks) = rayon::join(|| detections(&rows), || streaks(&rows));
        Self {
            trace,
            rows,
            seen,
            streaks,
            ending,
        }
    }

    /// The log.
    pub fn trace(&self) -> &'a Trace {
        self.trace
    }

    /// Its rows, in the order of the log.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How the run ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Stretches of rows that stand out from those before.
    pub fn streaks(&self) -> &[Streak] {
        &self.streaks
    }

    /// The step of a row; of the last one for a row beyond the end.
    pub fn step(&self, row: usize) -> u64 {
        let row = self.rows.get(row).or(self.rows.last());
        row.map_or(0, |row| row.step)
    }

    /// What detectors saw, and in which row.
    pub fn seen(&self) -> impl Iterator<Item = (usize, &Detection)> {
        self.seen.iter().map(|(row, seen)| (*row, seen))
    }

    /// What detectors saw within these rows.
    pub fn seen_in(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, &Detection)> {
        let from = self.seen.partition_point(|(row, _)| *row < rows.start);
        let seen = self.seen.get(from..).unwrap_or_default().iter();
        let within = seen.take_while(move |(row, _)| *row < rows.end);
        within.map(|(row, seen)| (*row, seen))
    }

    /// The first harmful detection of this detector within these rows.
    pub fn harmful(&self, detector: Detector, rows: Range<usize>) -> Option<(usize, &Detection)> {
        self.seen_in(rows)
            .find(|(_, seen)| seen.detector == detector && seen.severity >= Severity::Harmful)
    }

    /// The streak that this row is in.
    pub fn streak_at(&self, row: usize) -> Option<&Streak> {
        let next = self.streaks.partition_point(|streak| streak.to <= row);
        self.streaks.get(next).filter(|streak| streak.from <= row)
    }

    /// The row from which the run was in the trouble that it did not come out of: where it first
    /// stood out. `None` for a run that ended well.
    pub fn onset(&self) -> Option<usize> {
        let lost = self.ending.row()?;
        Some(self.streak_at(lost).map_or(lost, |streak| streak.from))
    }
}
