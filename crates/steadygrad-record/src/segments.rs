//! Segments of a resumed run. A process never writes to an earlier process's files: it starts new
//! segments, whose rows follow and replace those of the earlier segments.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::RecordError;
use super::manifest::RunFile;

/// The ending of a file of checksums.
pub(super) const SUMS: &str = ".sums";

/// The two files that come in segments.
#[derive(Debug, Clone, Copy)]
pub(super) enum Log {
    Steps,
    Incidents,
}

impl Log {
    fn stem_and_extension(self) -> (&'static str, &'static str) {
        match self {
            Log::Steps => ("steps", ".arrow"),
            Log::Incidents => ("incidents", ".jsonl"),
        }
    }

    /// The path of segment `number`, counted from 1.
    pub(super) fn path(self, run: &Path, number: u32) -> PathBuf {
        let (stem, extension) = self.stem_and_extension();
        run.join(if number == 1 {
            format!("{stem}{extension}")
        } else {
            format!("{stem}-{number}{extension}")
        })
    }

    fn number(self, name: &str) -> Option<u32> {
        let (stem, extension) = self.stem_and_extension();
        let name = name.strip_suffix(SUMS).unwrap_or(name);
        let between = name.strip_prefix(stem)?.strip_suffix(extension)?;
        if between.is_empty() {
            return Some(1);
        }
        let number = between.strip_prefix('-')?.parse().ok()?;
        (number > 1).then_some(number)
    }

    /// The numbers of the segments that exist or should exist, in order.
    pub(super) fn list(
        self,
        run: &Path,
        manifest: Option<&RunFile>,
    ) -> Result<BTreeSet<u32>, RecordError> {
        let mut numbers = self.on_disk(run)?;
        if numbers.is_empty() {
            return Err(RecordError::io(
                "open",
                &self.path(run, 1),
                ErrorKind::NotFound.into(),
            ));
        }
        // The number of entries in the manifest counts, never a number within it.
        numbers.extend(1..=manifest.map_or(1, RunFile::segments));
        Ok(numbers)
    }

    /// The numbers of the segments that have a file.
    pub(super) fn on_disk(self, run: &Path) -> Result<BTreeSet<u32>, RecordError> {
        let io = |source| RecordError::io("list", run, source);
        let mut numbers = BTreeSet::new();
        for entry in fs::read_dir(run).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            numbers.extend(name.to_str().and_then(|name| self.number(name)));
        }
        Ok(numbers)
    }
}

/// The rows of one segment, and the step from which they are the run's record, if known.
pub(super) struct Rows<T> {
    pub(super) first_step: Option<u64>,
    pub(super) rows: Vec<T>,
}

/// Joins segments. Each replaces the earlier rows from its first step on. Also returns how many
/// rows of each segment were replaced.
pub(super) fn join<T>(segments: Vec<Rows<T>>, step: impl Fn(&T) -> u64) -> (Vec<T>, Vec<usize>) {
    let mut kept: Vec<Vec<T>> = Vec::new();
    let mut replaced = Vec::new();
    for segment in segments {
        let first = segment
            .first_step
            .or_else(|| segment.rows.first().map(&step));
        if let Some(first) = first {
            for (rows, replaced) in kept.iter_mut().zip(&mut replaced) {
                let before = rows.len();
                rows.retain(|row| step(row) < first);
                *replaced += before - rows.len();
            }
        }
        kept.push(segment.rows);
        replaced.push(0);
    }
    (kept.into_iter().flatten().collect(), replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        for log in [Log::Steps, Log::Incidents] {
            for number in [1, 2, 10, u32::MAX] {
                let path = log.path(Path::new("run"), number);
                let name = path.file_name().and_then(|name| name.to_str()).unwrap();
                assert_eq!(log.number(name), Some(number));
                assert_eq!(log.number(&format!("{name}{SUMS}")), Some(number));
            }
        }
        for other in [
            "steps-1.arrow",
            "steps-0.arrow",
            "steps-x.arrow",
            "steps-.arrow",
            "steps-2.arrow.partial",
            "steps-99999999999.arrow",
            "incidents",
            "incidents.jsonl",
        ] {
            assert_eq!(Log::Steps.number(other), None, "{other}");
        }
    }

    #[test]
    fn a_later_segment_replaces_from_its_first_step_on() {
        let segment = |first_step, rows: &[u64]| Rows {
            first_step,
            rows: rows.to_vec(),
        };
        let joined = |segments| join(segments, |row| *row);
        assert_eq!(joined(vec![]), (vec![], vec![]));
        // The second process was killed at once. The third began further back.
        let (rows, replaced) = joined(vec![
            segment(Some(0), &[0, 1, 2, 3, 4, 5]),
            segment(Some(4), &[]),
            segment(Some(3), &[3, 4]),
        ]);
        assert_eq!((rows, replaced), (vec![0, 1, 2, 3, 4], vec![3, 0, 0]));
        // Without a known first step the first row decides.
        let (rows, replaced) = joined(vec![
            segment(None, &[0, 1, 2]),
            segment(None, &[]),
            segment(None, &[2, 3]),
        ]);
        assert_eq!((rows, replaced), (vec![0, 1, 2, 3], vec![1, 0, 0]));
        // A step that stands twice within a segment stays twice.
        let (rows, _) = joined(vec![segment(Some(0), &[0, 1, 1, 2])]);
        assert_eq!(rows, vec![0, 1, 1, 2]);
    }
}
