//! A folder of logs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use steadygrad::Trace;

use crate::format::Format;
use crate::{Columns, LogError, own, read_file, tensorboard};

/// So many folders deep is looked.
const DEEPEST: usize = 6;

/// Endings of files that may hold a log; TensorBoard's files have any.
const LOGS: [&str; 8] = [
    "csv", "tsv", "json", "jsonl", "ndjson", "log", "txt", "wandb",
];

/// What begins the name of a trainer's folders of states.
const CHECKPOINT: &str = "checkpoint-";

/// All runs in a folder: of steadygrad, of TensorBoard (its files of one folder are one run), and files
/// of the other formats.
pub(crate) fn read(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    let mut found = Found::default();
    walk(path, 0, &mut found).map_err(LogError::io(path))?;
    let mut traces = Vec::new();
    let mut refused = None;
    let mut take = |read: Result<Trace, LogError>| match read {
        Ok(trace) => traces.push(trace),
        // Of many files some are no logs; what was asked for by name must be in one at least.
        Err(error) => {
            refused.get_or_insert(error);
        }
    };
    for run in &found.own {
        take(own::read(run));
    }
    for files in found.events.values() {
        take(tensorboard::read(files, columns));
    }
    for file in found
        .files
        .iter()
        .chain(found.states.values().map(|(_, file)| file))
    {
        take(read_file(file, columns));
    }
    traces.sort_by(|a, b| a.name.cmp(&b.name));
    match (traces.is_empty(), refused) {
        (false, _) => Ok(traces),
        (true, Some(error @ (LogError::NoColumn { .. } | LogError::NoRole { .. }))) => Err(error),
        (true, _) => Err(LogError::Unrecognised {
            path: path.to_owned(),
            found: "no file in this folder is one".into(),
        }),
    }
}

/// What a walk comes by.
#[derive(Default)]
struct Found {
    own: Vec<PathBuf>,
    /// Event files by folder, in the order of their names, which is that of time.
    events: BTreeMap<PathBuf, Vec<PathBuf>>,
    files: Vec<PathBuf>,
    /// Of each folder with checkpoints the last one's state.
    states: BTreeMap<PathBuf, (u64, PathBuf)>,
}

fn walk(folder: &Path, depth: usize, found: &mut Found) -> std::io::Result<()> {
    if folder.join(own::STEPS).is_file() {
        found.own.push(folder.to_owned());
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
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if depth < DEEPEST && !name.starts_with('.') {
                // A folder that may not be looked into is no reason to read none.
                let _ = walk(&path, depth + 1, found);
            }
            continue;
        }
        let ending = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_ascii_lowercase();
        if name.contains("tfevents")
            && Format::of(&path).is_ok_and(|format| format == Format::TensorBoard)
        {
            found
                .events
                .entry(folder.to_owned())
                .or_default()
                .push(path);
        } else if name == "trainer_state.json" {
            state(folder, path, found);
        } else if LOGS.contains(&ending.as_str()) && Format::of(&path).is_ok() {
            found.files.push(path);
        }
    }
    Ok(())
}

/// Keeps a trainer's state if it is the run's last: each holds the history of those before.
fn state(folder: &Path, file: PathBuf, found: &mut Found) {
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let step = name
        .strip_prefix(CHECKPOINT)
        .and_then(|step| step.parse::<u64>().ok());
    let run = match (step, folder.parent()) {
        (Some(_), Some(parent)) => parent,
        _ => folder,
    };
    // The run's own is written at its end.
    let step = step.unwrap_or(u64::MAX);
    let kept = found
        .states
        .entry(run.to_owned())
        .or_insert((step, file.clone()));
    if step > kept.0 {
        *kept = (step, file);
    }
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
