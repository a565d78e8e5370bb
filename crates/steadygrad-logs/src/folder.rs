//! A folder of logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use steadygrad::Trace;

use crate::format::{Format, Place};
use crate::formats::{FORMATS, format_of};
use crate::{Columns, LogError, joined};

/// Number of levels of folders that are searched.
const DEEPEST: usize = 6;

/// Reads all runs in a folder, in the order of their names.
///
/// A file that cannot be read is passed over as long as another can be.
pub(crate) fn read(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    let mut found = Found::default();
    walk(path, 0, &mut found).map_err(LogError::io(path))?;
    let mut read = Vec::new();
    let mut refused = None;
    for (format, files) in found.runs() {
        match crate::formats::read(format, &files, columns) {
            Ok(traces) => read.extend(traces.into_iter().map(|trace| (files[0].clone(), trace))),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    let mut traces = joined::traces(read);
    traces.sort_by(|a, b| a.name.cmp(&b.name));
    match (traces.is_empty(), refused) {
        (false, _) => Ok(traces),
        // A column that the user named must be in one file at least.
        (
            true,
            Some(
                error @ (LogError::NoColumn { .. }
                | LogError::NoRole { .. }
                | LogError::NoRows { .. }
                | LogError::Database { .. }),
            ),
        ) => Err(error),
        (true, _) => Err(LogError::unrecognised(
            path,
            "no file in this folder is one",
        )),
    }
}

/// The files of one run with their format.
type Run = (&'static Format, Vec<PathBuf>);

/// What a walk through a folder finds.
#[derive(Default)]
struct Found {
    /// Folders that are one run each.
    folders: Vec<Run>,
    /// Runs of several files, by the run. The order of their names is that of time.
    parts: BTreeMap<PathBuf, Run>,
    files: Vec<Run>,
    /// The latest state of each run.
    states: BTreeMap<PathBuf, (u64, Run)>,
}

impl Found {
    fn runs(self) -> impl Iterator<Item = Run> {
        let states = self.states.into_values().map(|(_, run)| run);
        let files = self.parts.into_values().chain(self.files);
        self.folders.into_iter().chain(files).chain(states)
    }

    fn file(&mut self, path: PathBuf) {
        for format in FORMATS {
            match (format.place)(&path) {
                Place::Part(run) if format_of(&path).is_ok_and(|of| of.name == format.name) => {
                    let run = self.parts.entry(run);
                    run.or_insert((format, Vec::new())).1.push(path);
                    return;
                }
                Place::State(run, step) => return self.state(run, step, (format, vec![path])),
                Place::Part(_) | Place::Run | Place::Unknown => {}
            }
        }
        if may_be_a_log(&path)
            && let Ok(format) = format_of(&path)
        {
            self.files.push((format, vec![path]));
        }
    }

    /// Keeps a state if it is the run's latest.
    fn state(&mut self, run: PathBuf, step: u64, state: Run) {
        match self.states.get_mut(&run) {
            Some(kept) if step <= kept.0 => {}
            Some(kept) => *kept = (step, state),
            None => {
                self.states.insert(run, (step, state));
            }
        }
    }
}

/// Whether a format asks for files with this ending.
fn may_be_a_log(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let ending = ending.to_ascii_lowercase();
    let asks = |format: &&Format| format.endings.contains(&ending.as_str());
    FORMATS.iter().any(asks)
}

fn walk(folder: &Path, depth: usize, found: &mut Found) -> std::io::Result<()> {
    let is_run = |format: &&&Format| (format.place)(folder) == Place::Run;
    if let Some(format) = FORMATS.iter().find(is_run) {
        found.folders.push((format, vec![folder.to_owned()]));
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    for path in entries {
        // A link may lead back to where the walk came from.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if depth < DEEPEST && !name.starts_with('.') {
                // One folder that cannot be read must not hide the others.
                let _ = walk(&path, depth + 1, found);
            }
        } else {
            found.file(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_runs_and_the_last_of_the_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/metrics.csv", "step,loss\n0,1\n");
        write("b/log.jsonl", "{\"step\": 0, \"loss\": 2}\n");
        write("b/hparams.json", "{\"width\": 3}");
        write("b/notes.txt", "nothing to see\n");
        let state = |steps: usize| {
            let rows: Vec<String> = (0..steps)
                .map(|step| format!("{{\"step\": {step}, \"loss\": 1}}"))
                .collect();
            format!("{{\"log_history\": [{}]}}", rows.join(","))
        };
        write("hf/checkpoint-9/trainer_state.json", &state(9));
        write("hf/checkpoint-10/trainer_state.json", &state(10));
        let traces = read(folder.path(), &Columns::default()).unwrap();
        let names: Vec<(&str, usize)> = traces
            .iter()
            .map(|trace| (trace.name.as_str(), trace.series[0].values().len()))
            .collect();
        assert_eq!(names, [("hf", 10), ("log", 1), ("metrics", 1)]);
    }

    #[test]
    fn a_folder_without_a_log_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path(), &Columns::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no file in this folder is one"), "{error}");
        std::fs::write(folder.path().join("x.csv"), "a,b\n1,2\n").unwrap();
        let error = read(folder.path(), &Columns::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("its columns are a, b"), "{error}");
    }
}
