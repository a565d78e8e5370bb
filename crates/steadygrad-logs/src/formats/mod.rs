//! The formats of logs, one a file.
//!
//! A format is recognised by a file's content, never by its name alone. To add one, write its file
//! with a `FORMAT`, and name it once in the list below: recognition, the walk through a folder and
//! the error message follow.

mod burn;
mod console;
mod csv;
mod database;
mod json;
mod json_lines;
mod mlflow;
mod own;
mod tensorboard;
mod wandb;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use steadygrad::Trace;

use crate::format::{Format, Head};
use crate::{Columns, LogError};

/// All formats. The first that recognises a file reads it.
pub(crate) const FORMATS: [&Format; 10] = [
    &own::FORMAT,
    &burn::FORMAT,
    &tensorboard::FORMAT,
    &wandb::FORMAT,
    &database::FORMAT,
    &mlflow::FORMAT,
    &json_lines::FORMAT,
    &json::FORMAT,
    &csv::FORMAT,
    &console::FORMAT,
];

/// Number of bytes at a file's beginning that decide what it is.
const HEAD: u64 = 1 << 16;

/// The format of this file.
///
/// # Errors
/// [`LogError::Unrecognised`] for a file of no format, [`LogError::Io`] for one that cannot be
/// read.
pub(crate) fn format_of(path: &Path) -> Result<&'static Format, LogError> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(LogError::io(path))?;
    file.take(HEAD)
        .read_to_end(&mut head)
        .map_err(LogError::io(path))?;
    let head = Head::new(&head);
    recognise(&head).ok_or_else(|| LogError::unrecognised(path, head.description()))
}

/// Reads the files of a run in its format.
///
/// The head of console text may look like another format of text: a dictionary, or a line with
/// commas. If that format finds nothing in it, it is read as console text.
pub(crate) fn read(
    format: &'static Format,
    files: &[PathBuf],
    columns: &Columns,
) -> Result<Vec<Trace>, LogError> {
    let found = format.traces(files, columns);
    let [file] = files else { return found };
    if !is_text(format) {
        return found;
    }
    found.or_else(|error| {
        if !error.may_be_console() {
            return Err(error);
        }
        let console = console::read_file(file, columns).map(|trace| vec![trace]);
        console.map_err(|other| error.or_of_console(other))
    })
}

/// Whether another format of text may have been seen where there is console text.
fn is_text(format: &Format) -> bool {
    [json_lines::FORMAT.name, json::FORMAT.name, csv::FORMAT.name].contains(&format.name)
}

fn recognise(head: &Head<'_>) -> Option<&'static Format> {
    let format = FORMATS
        .into_iter()
        .find(|format| (format.recognise)(head))?;
    // The names of a table have no numbers behind them.
    let lines = || {
        head.bytes()
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
    };
    let printed = format.name == csv::FORMAT.name && lines().take(2).all(console::has_named_number);
    Some(if printed { &console::FORMAT } else { format })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn name_of(bytes: &[u8]) -> Option<&'static str> {
        recognise(&Head::new(bytes)).map(|format| format.name)
    }

    #[test]
    fn formats_are_recognised_by_their_content() {
        let name = |format: &Format| Some(format.name);
        for (text, expected) in [
            ("step,loss\n0,1\n", name(&csv::FORMAT)),
            ("\u{feff}step\tloss\n0\t1\n", name(&csv::FORMAT)),
            (
                "{\"step\": 0, \"loss\": NaN}\n{\"step\": 1}\n",
                name(&json_lines::FORMAT),
            ),
            ("{\n \"log_history\": []}", name(&json::FORMAT)),
            ("{\"log_history\": [{\"loss\": 1}]}", name(&json::FORMAT)),
            ("[{\"loss\": 1}]", name(&json::FORMAT)),
            ("{\"loss\": [1, 2]}", name(&json::FORMAT)),
            (
                "{\"loss\": 1, \"hist\": [1]}\n{\"loss\": 2}",
                name(&json_lines::FORMAT),
            ),
            ("[2024-01-01 10:00:00] step: 1", name(&console::FORMAT)),
            ("1796090478143 2.5 0\n", name(&mlflow::FORMAT)),
            ("", None),
            ("\n\n", None),
            (
                "loss: 1.0, lr: 2\nloss: 1.0, lr: 2\n",
                name(&console::FORMAT),
            ),
            ("one line of text", name(&console::FORMAT)),
            ("1,2\n3,4\n", name(&console::FORMAT)),
            (":W&B\u{1}", name(&console::FORMAT)),
            (":W&B", name(&console::FORMAT)),
            ("a\0b", None),
        ] {
            assert_eq!(name_of(text.as_bytes()), expected, "{text:?}");
        }
        let database = b"SQLite format 3\0\x10";
        assert_eq!(name_of(database), name(&database::FORMAT));
        assert_eq!(name_of(b":W&B\xe1\xbe\0"), name(&wandb::FORMAT));
    }

    #[test]
    fn what_is_no_log_is_described() {
        for (text, expected) in [
            ("", "it is empty"),
            ("\n \n", "it holds blank lines only"),
            ("a\0b", "it is a binary file of another kind"),
            ("one line", "it is text without a header line and rows"),
        ] {
            assert_eq!(Head::new(text.as_bytes()).description(), expected);
        }
    }

    /// A format that is half there has no name, or the name of another, or no way to a file of it.
    #[test]
    fn every_format_has_a_name_of_its_own_and_a_way_to_its_files() {
        let names: BTreeSet<&str> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(names.len(), FORMATS.len());
        for format in FORMATS {
            assert!(!format.name.is_empty());
            let by_name = !std::ptr::fn_addr_eq(
                format.place,
                crate::format::anywhere as fn(&Path) -> crate::format::Place,
            );
            assert!(by_name || !format.endings.is_empty(), "{}", format.name);
            let lower = |ending: &&str| ending.to_ascii_lowercase() == **ending;
            assert!(format.endings.iter().all(lower), "{}", format.name);
        }
    }
}
