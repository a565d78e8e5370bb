use std::ops::Range;

use super::detections::detections;
use super::filtered::unfilter;
use super::rise::rise;
use super::rows::rows;
use super::signals::{mark_broken, signals};
use super::streaks::streaks;
use super::{ColumnRise, Ending, Row, Streak};
use crate::detect::{Detection, Detector, Severity};
use crate::trace::Trace;

/// The log of a run, prepared for the rules.
///
/// Values that are not finite stay in the rows: they are what some rules look for.
#[derive(Debug, Clone)]
pub struct History<'a> {
    trace: &'a Trace,
    rows: Vec<Row>,
    seen: Vec<(usize, Detection)>,
    streaks: Vec<Streak>,
    ending: Ending,
    filtered: Option<usize>,
    rise: Option<ColumnRise>,
}

impl<'a> History<'a> {
    /// Prepares a log: pairs its columns by step, shows each row to the guard's detectors, which
    /// only watch, and decides how the run ended.
    pub fn of(trace: &'a Trace) -> Self {
        let (mut rows, keys) = rows(trace);
        let filtered = unfilter(&mut rows, trace.objective);
        let signals = signals(trace, &rows, &keys);
        mark_broken(&mut rows, &signals);
        let ending = Ending::of(&rows, trace);
        let rise = rise(trace, &rows, &signals, ending);
        let ending = ending.or_by(rise.as_ref());
        let (seen, streaks) = rayon::join(|| detections(&rows), || streaks(&rows));
        Self {
            trace,
            rows,
            seen,
            streaks,
            ending,
            filtered,
            rise,
        }
    }

    /// Returns the log itself.
    pub fn trace(&self) -> &'a Trace {
        self.trace
    }

    /// Returns the rows, in the order of the log.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns how the run ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// Returns the row from which on the logger printed a loss that is NaN as 0. The rows hold NaN.
    pub fn filtered(&self) -> Option<usize> {
        self.filtered
    }

    /// Returns the growth that the run is lost in, or about to be lost in. `None` if the trouble
    /// came from one step to the next, or if there is none.
    pub fn rise(&self) -> Option<&ColumnRise> {
        self.rise.as_ref()
    }

    /// Returns the stretches of rows that stand out from the rows before.
    pub fn streaks(&self) -> &[Streak] {
        &self.streaks
    }

    /// Returns the step of a row; the last step for a row beyond the end, 0 in an empty log.
    pub fn step(&self, row: usize) -> u64 {
        let row = self.rows.get(row).or(self.rows.last());
        row.map_or(0, |row| row.step)
    }

    /// Returns what the detectors saw, each with its row.
    pub fn seen(&self) -> impl Iterator<Item = (usize, &Detection)> {
        self.seen.iter().map(|(row, seen)| (*row, seen))
    }

    /// Returns what the detectors saw within these rows.
    pub fn seen_in(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, &Detection)> {
        let from = self.seen.partition_point(|(row, _)| *row < rows.start);
        let seen = self.seen.get(from..).unwrap_or_default().iter();
        let within = seen.take_while(move |(row, _)| *row < rows.end);
        within.map(|(row, seen)| (*row, seen))
    }

    /// Returns the first harmful detection of this detector within these rows.
    pub fn harmful(&self, detector: Detector, rows: Range<usize>) -> Option<(usize, &Detection)> {
        self.seen_in(rows)
            .find(|(_, seen)| seen.detector == detector && seen.severity >= Severity::Harmful)
    }

    /// Returns the streak that this row is in.
    pub fn streak_at(&self, row: usize) -> Option<&Streak> {
        let next = self.streaks.partition_point(|streak| streak.to <= row);
        self.streaks.get(next).filter(|streak| streak.from <= row)
    }

    /// Returns the first row of the trouble that the run did not come back from: where its growth
    /// began, or the first row that stood out. `None` for a run that is not lost.
    pub fn onset(&self) -> Option<usize> {
        let lost = self.ending.row()?;
        if let Some(rise) = &self.rise {
            return Some(rise.from_row);
        }
        Some(self.streak_at(lost).map_or(lost, |streak| streak.from))
    }
}
