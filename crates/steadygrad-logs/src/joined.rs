//! Several files of one run: `train-1.log`, `train-2.log`.

use std::path::{Path, PathBuf};

use steadygrad::Trace;
use steadygrad::trace::{Role, Series, StepUnit};

/// The next file begins at most this many usual strides behind the end of the one before, as a gap
/// within a file.
const GAP: u64 = 10;

/// Joins the traces of files whose names differ in a number alone, where their steps continue.
pub(crate) fn traces(read: Vec<(PathBuf, Trace)>) -> Vec<Trace> {
    let mut numbered = Vec::new();
    let mut all = Vec::new();
    for (path, trace) in read {
        match series_of_files(&path) {
            Some((stem, number)) => numbered.push(((stem, number), path, trace)),
            None => all.push(trace),
        }
    }
    numbered.sort_by(|a, b| a.0.cmp(&b.0));
    // The stem and the files of the run that is being joined.
    let mut open: Option<(PathBuf, Vec<String>, Trace)> = None;
    let file = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    for ((stem, _), path, trace) in numbered {
        match &mut open {
            Some((of, files, before)) if *of == stem && continues(before, &trace) => {
                append(before, trace);
                files.push(file(&path));
            }
            _ => {
                all.extend(open.take().map(closed));
                open = Some((stem, vec![file(&path)], trace));
            }
        }
    }
    all.extend(open.map(closed));
    all
}

/// A joined run, which says so.
fn closed((stem, files, mut trace): (PathBuf, Vec<String>, Trace)) -> Trace {
    if files.len() > 1 {
        trace.name = crate::name_of(&stem);
        trace.notes.push(format!(
            "`{}` are read as one run: their steps continue",
            files.join("`, `")
        ));
    }
    trace
}

/// The name of a file without the number at its end, and the number.
fn series_of_files(path: &Path) -> Option<(PathBuf, u64)> {
    let stem = path.file_stem()?.to_str()?;
    let name = stem.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = stem[name.len()..].parse().ok()?;
    let name = name.trim_end_matches(['-', '_', '.']);
    let ending = path.extension().unwrap_or_default();
    (!name.is_empty()).then(|| (path.with_file_name(name).with_extension(ending), number))
}

/// The series whose steps tell whether a file continues another.
fn main_series(trace: &Trace) -> Option<&Series> {
    trace.series(&Role::Loss).or(trace.series(&Role::GradNorm))
}

/// Whether `next` begins right behind the end of `before`, with the same columns.
fn continues(before: &Trace, next: &Trace) -> bool {
    let columns = |trace: &Trace| -> Vec<String> {
        let names = trace.series.iter().map(|series| series.column().to_owned());
        names.collect()
    };
    let (Some(of_before), Some(of_next)) = (main_series(before), main_series(next)) else {
        return false;
    };
    let (Some(last), Some(first)) = (of_before.steps().last(), of_next.steps().first()) else {
        return false;
    };
    let pairs = of_before.steps().windows(2);
    let mut strides: Vec<u64> = pairs
        .filter_map(|pair| pair[1].checked_sub(pair[0]))
        .collect();
    strides.sort_unstable();
    let usual = strides.get(strides.len() / 2).copied().unwrap_or(1).max(1);
    before.unit == next.unit
        && before.unit != StepUnit::Row
        && before.format == next.format
        && before.cadence == next.cadence
        && columns(before) == columns(next)
        && (1..=GAP.saturating_mul(usual)).contains(&first.saturating_sub(*last))
}

fn append(before: &mut Trace, next: Trace) {
    for (series, more) in before.series.iter_mut().zip(&next.series) {
        let steps = series.steps().iter().chain(more.steps().iter()).copied();
        let values = series.values().iter().chain(more.values()).copied();
        let (role, column) = (series.role().clone(), series.column().to_owned());
        if let Ok(joined) = Series::new(role, column, steps.collect(), values.collect()) {
            *series = joined;
        }
    }
    for note in next.notes {
        if !before.notes.contains(&note) {
            before.notes.push(note);
        }
    }
    before.cut_short = next.cut_short;
}

#[cfg(test)]
mod tests {
    use crate::{Columns, read};

    fn of(files: &[(&str, &str)]) -> Vec<(String, usize, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let traces = read(folder.path(), &Columns::default()).unwrap();
        let told = traces.into_iter().map(|trace| {
            let rows = trace.series[0].values().len();
            (trace.name, rows, trace.notes)
        });
        told.collect()
    }

    #[test]
    fn files_are_joined_where_their_steps_continue() {
        let found = of(&[
            ("train-2.csv", "step,loss\n3,1\n4,1\n"),
            ("train-10.csv", "step,loss\n5,1\n6,nan\n"),
            ("train-1.csv", "step,loss\n1,1\n2,1\n"),
        ]);
        let [(name, 6, notes)] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(name, "train");
        let expected = "`train-1.csv`, `train-2.csv`, `train-10.csv` are read as one run";
        assert!(notes[0].starts_with(expected), "{notes:?}");
    }

    #[test]
    fn other_runs_stay_apart() {
        for second in [
            // Begins anew, begins far behind, has no steps, has other columns.
            "step,loss\n1,1\n2,1\n",
            "step,loss\n900,1\n901,1\n",
            "loss\n1\n2\n",
            "step,grad_norm\n3,1\n4,1\n",
        ] {
            let first = "step,loss\n1,1\n2,1\n";
            let found = of(&[("seed-1.csv", first), ("seed-2.csv", second)]);
            assert_eq!(found.len(), 2, "{second:?}: {found:?}");
        }
    }
}
