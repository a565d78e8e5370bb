//! The experiment folder of `burn-train`'s learner: `train/epoch-N/Loss.log`.
//!
//! Its file logger keeps one file for each metric, epoch and split. A line is one iteration: the
//! value, and for a mean the number of items, `0.25,64`. A value of the whole epoch ends with
//! `,final`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use steadygrad::Trace;

use crate::column::number;
use crate::format::{Format, Place};
use crate::own_steps::{self, Values};
use crate::{Columns, LogError, name_of};

pub(super) const FORMAT: Format = Format {
    name: "burn-train experiment",
    // An experiment is a folder. No single file of it is one.
    recognise: |_| false,
    endings: &[],
    place,
    read: |folders, columns| read(&folders[0], columns).map(|trace| vec![trace]),
};

const TRAIN: &str = "train";
const VALID: &str = "valid";
const EPOCH: &str = "epoch-";

fn place(path: &Path) -> Place {
    match path.is_dir() && !epochs(&path.join(TRAIN)).is_empty() {
        true => Place::Run,
        false => Place::Unknown,
    }
}

/// The folders of the epochs, in their order.
fn epochs(split: &Path) -> BTreeMap<u64, PathBuf> {
    let entries = std::fs::read_dir(split).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix(EPOCH)?.parse().ok()?;
        let path = entry.path();
        path.is_dir().then_some((number, path))
    });
    numbered.collect()
}

/// A value of an iteration, or of a whole epoch.
#[derive(Debug, PartialEq)]
enum Line {
    /// The value, and the number of items that it is the mean of.
    Iteration(f64, f64),
    Epoch(f64),
}

fn line(text: &str) -> Option<Line> {
    let value = |text: &str| number(text.as_bytes()).ok().flatten();
    match text.split_once(',') {
        None => Some(Line::Iteration(value(text)?, 1.0)),
        Some((first, "final")) => Some(Line::Epoch(value(first)?)),
        Some((first, items)) => {
            let items = items.trim().parse::<u32>().ok()?;
            Some(Line::Iteration(value(first)?, f64::from(items)))
        }
    }
}

/// The metrics of an epoch with numbers in their files. Other metrics are texts.
fn metrics(epoch: &Path, odd: &mut Vec<String>) -> Result<BTreeMap<String, Vec<Line>>, LogError> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(epoch)
        .map_err(LogError::io(epoch))?
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(LogError::io(&path))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = || text.lines().filter(|line| !line.is_empty());
        let read: Vec<Line> = lines().filter_map(line).collect();
        if read.is_empty() {
            continue;
        }
        if read.len() < lines().count() {
            odd.push(format!(
                "`{}`: {} lines hold no number and were left out",
                path.display(),
                lines().count() - read.len()
            ));
        }
        found.insert(name_of(&path), read);
    }
    Ok(found)
}

/// Reads an experiment. Iterations are counted from 1 over all epochs.
fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let mut values: BTreeMap<String, (Vec<u64>, Vec<f64>)> = BTreeMap::new();
    let mut notes = Vec::new();
    let held_out = epochs(&path.join(VALID));
    let mut passed = 0u64;
    for (epoch, folder) in epochs(&path.join(TRAIN)) {
        let mut longest = 0u64;
        for (name, lines) in metrics(&folder, &mut notes)? {
            let (steps, column) = values.entry(name).or_default();
            let mut count = 0u64;
            for line in lines {
                if let Line::Iteration(value, _) = line {
                    count += 1;
                    steps.push(passed + count);
                    column.push(value);
                }
            }
            longest = longest.max(count);
        }
        passed += longest;
        let Some(folder) = held_out.get(&epoch) else {
            continue;
        };
        for (name, lines) in metrics(folder, &mut notes)? {
            if let Some(value) = of_epoch(&lines) {
                let (steps, column) = values.entry(format!("{VALID}/{name}")).or_default();
                steps.push(passed);
                column.push(value);
            }
        }
    }
    let values: Values = values.into_iter().unzip();
    own_steps::trace_of_updates(path, FORMAT.name, values, columns, notes)
}

/// The value of an epoch: what the log says, or else the mean over all items.
fn of_epoch(lines: &[Line]) -> Option<f64> {
    let told = lines.iter().find_map(|line| match line {
        Line::Epoch(value) => Some(*value),
        Line::Iteration(..) => None,
    });
    let (mut sum, mut all) = (0.0, 0.0);
    for line in lines {
        if let Line::Iteration(value, items) = line {
            sum += value * items;
            all += items;
        }
    }
    told.or((all > 0.0).then(|| sum / all))
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::{Cadence, Role};

    use super::*;
    use crate::read as read_any;

    fn experiment(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("run").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn iterations_are_counted_over_the_epochs() {
        let folder = experiment(&[
            ("experiment.log", "INFO burn_train: Fitting the model\n"),
            ("train/epoch-1/Loss.log", "2.5,8\n2.25,8\n2,4\n"),
            ("train/epoch-1/Learning_Rate.log", "0.1\n0.1\n0.1\n"),
            ("train/epoch-2/Loss.log", "1.5,8\nNaN,8\n"),
            ("train/epoch-10/Loss.log", "inf,8\n0.5,final\n"),
            ("train/epoch-2/CPU_Memory.log", "1.2/16 Gb\n"),
            ("valid/epoch-1/Loss.log", "3,3\n1,1\n"),
            ("valid/epoch-2/Loss.log", "9,3\n1,final\n"),
        ]);
        let traces = read_any(folder.path(), &Columns::default()).unwrap();
        let [trace] = traces.as_slice() else {
            panic!("{traces:?}");
        };
        assert_eq!((trace.name.as_str(), trace.cadence), ("run", Cadence::Step));
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(&**loss.steps(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(loss.values()[..4], [2.5, 2.25, 2.0, 1.5]);
        assert!(loss.values()[4].is_nan() && loss.values()[5] == f64::INFINITY);
        let held_out = trace.series(&Role::ValidationLoss).unwrap();
        assert_eq!(
            (&**held_out.steps(), held_out.values()),
            (&[3, 5][..], &[2.5, 1.0][..])
        );
        assert!(trace.series(&Role::LearningRate).is_some());
    }

    #[test]
    fn damaged_lines_are_told_and_empty_experiments_refused() {
        let folder = experiment(&[("train/epoch-1/Loss.log", "2.5,8\n2,x\n\u{0}\n1.5")]);
        let trace = read(&folder.path().join("run"), &Columns::default()).unwrap();
        assert_eq!(trace.series(&Role::Loss).unwrap().values(), [2.5, 1.5]);
        assert!(
            trace.notes[0].contains("2 lines hold no number"),
            "{:?}",
            trace.notes
        );
        let folder = experiment(&[("train/epoch-1/Loss.log", "")]);
        assert!(read(&folder.path().join("run"), &Columns::default()).is_err());
    }
}
