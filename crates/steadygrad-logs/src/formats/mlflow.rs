//! MLflow's folder of a run: `mlruns/EXPERIMENT/RUN/metrics/NAME`.
//!
//! A metric is a file. A line is the time in milliseconds, the value, and the step; what follows
//! names a data set.

use std::path::{Path, PathBuf};

use steadygrad::Trace;

use crate::column::number;
use crate::format::{Format, Head, Place};
use crate::own_steps::{self, Values};
use crate::{Columns, LogError, name_of};

pub(super) const FORMAT: Format = Format {
    name: "MLflow run",
    recognise,
    endings: &[],
    place,
    read: |files, columns| read(&files[0], columns).map(|trace| vec![trace]),
};

/// The folder of a run's metrics.
const METRICS: &str = "metrics";

/// The file of a run's name, if the user gave one.
const NAME: &str = "tags/mlflow.runName";

/// Number of levels of folders in the names of metrics.
const DEEPEST: usize = 6;

/// A time in milliseconds since 1970 has 13 digits from 2001 to 2286.
const DIGITS: usize = 13;

/// A line of a metric: its value and its step.
fn line(line: &[u8]) -> Option<(f64, u64)> {
    let mut words = line.split(|byte| *byte == b' ');
    let time = words.next()?;
    let is_time = time.len() == DIGITS && time.iter().all(u8::is_ascii_digit);
    let value = number(words.next().filter(|_| is_time)?).ok()??;
    let step = std::str::from_utf8(words.next()?).ok()?.trim();
    // A step before the first is written as a negative number.
    Some((value, step.parse::<i64>().ok()?.try_into().unwrap_or(0)))
}

/// One file of a metric.
fn recognise(head: &Head<'_>) -> bool {
    head.first_line().is_some_and(|first| line(first).is_some())
}

fn place(path: &Path) -> Place {
    let folder = path.join(METRICS);
    let is_run = |(_, path): &(String, PathBuf)| {
        let text = std::fs::read(path).unwrap_or_default();
        let first = text.split(|byte| *byte == b'\n').next();
        first.is_some_and(|first| line(first).is_some())
    };
    match folder.is_dir() && files(&folder).iter().any(is_run) {
        true => Place::Run,
        false => Place::Unknown,
    }
}

/// The files below a folder with their names, in the order of these.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, before: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = format!("{before}{}", entry.file_name().to_string_lossy());
            let path = entry.path();
            if path.is_symlink() {
                continue;
            }
            match path.is_dir() {
                true if depth < DEEPEST => walk(&path, &format!("{name}/"), depth + 1, found),
                true => {}
                false => found.push((name, path)),
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, "", 0, &mut found);
    found.sort();
    found
}

/// Reads the folder of a run, or one file of a metric.
fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let files = match path.is_dir() {
        true => files(&path.join(METRICS)),
        false => vec![(name_of(path), path.to_owned())],
    };
    let mut values: Values = Values::default();
    let mut notes = Vec::new();
    for (name, file) in files {
        let text = std::fs::read(&file).map_err(LogError::io(&file))?;
        let lines = || {
            let lines = text.split(|byte| *byte == b'\n');
            lines.filter(|line| !line.trim_ascii().is_empty())
        };
        let (read, steps): (Vec<f64>, Vec<u64>) = lines().filter_map(line).unzip();
        if read.is_empty() {
            continue;
        }
        if read.len() < lines().count() {
            notes.push(format!(
                "`{name}`: {} lines are not a time, a value and a step, and were left out",
                lines().count() - read.len()
            ));
        }
        values.0.push(name);
        values.1.push((steps, read));
    }
    let given = std::fs::read_to_string(path.join(NAME)).unwrap_or_default();
    let name = match given.trim() {
        "" => name_of(path),
        given => given.to_owned(),
    };
    own_steps::trace(path, name, FORMAT.name, values, columns, notes)
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::{Cadence, Role};

    use super::*;
    use crate::read as read_any;

    /// The lines are those of MLflow's own file store.
    fn run() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let run = folder
            .path()
            .join("mlruns/0/8ec241121cb04d37bb667c82333c8ac6");
        let write = |name: &str, text: &str| {
            let path = run.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let loss = "1796090478143 2.5 0\n1796090478149 2.3 10\n1796090478151 nan 20\n";
        write("metrics/train/loss", loss);
        let norm = "1796090478144 1.0 0\n1796090478150 inf 10\n\nx\n1796090478152 1.0 20 d x\n";
        write("metrics/grad_norm", norm);
        write("metrics/empty", "");
        write("tags/mlflow.runName", "calm-fox");
        write("params/lr", "0.1");
        write("meta.yaml", "run_id: 8ec241121cb04d37bb667c82333c8ac6\n");
        folder
    }

    #[test]
    fn each_metric_is_a_file() {
        let folder = run();
        let traces = read_any(&folder.path().join("mlruns"), &Columns::default()).unwrap();
        let [trace] = traces.as_slice() else {
            panic!("{traces:?}");
        };
        assert_eq!(trace.name, "calm-fox");
        assert_eq!(trace.cadence, Cadence::Steps(10));
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(
            (loss.column(), &**loss.steps()),
            ("train/loss", &[0, 10, 20][..])
        );
        assert!(loss.values()[..2] == [2.5, 2.3] && loss.values()[2].is_nan());
        let norm = trace.series(&Role::GradNorm).unwrap();
        assert_eq!(norm.values(), [1.0, f64::INFINITY, 1.0]);
        assert!(
            trace.notes[0].starts_with("`grad_norm`: 1 lines"),
            "{:?}",
            trace.notes
        );
    }

    #[test]
    fn one_metric_alone_is_read_too() {
        let folder = run();
        let name = "mlruns/0/8ec241121cb04d37bb667c82333c8ac6/metrics/train/loss";
        let traces = read_any(&folder.path().join(name), &Columns::default()).unwrap();
        assert_eq!(traces[0].series(&Role::Loss).unwrap().values().len(), 3);
        for other in [
            "12 2.5 0",
            "1796090478143 x 0",
            "1796090478143 1.0",
            "",
            "loss 1 2",
        ] {
            assert_eq!(line(other.as_bytes()), None, "{other}");
        }
        assert_eq!(line(b"1796090478143 1.5 -3"), Some((1.5, 0)));
    }
}
