//! The one file that prints.

use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use steadygrad_record::RecordError;

use crate::error::OutputError;

/// Prints to the standard output, without styles if it is no terminal.
///
/// # Errors
/// [`OutputError::Stdout`] when the output cannot be written. A pipe that is closed early is no
/// error.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| {
            // `steadygrad cure | head` closes the pipe early.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(OutputError::Stdout(error))
            }
        })
}

/// Prints a value as indented JSON.
///
/// # Errors
/// [`OutputError`] when JSON has no form for the value, or the output cannot be written.
pub fn print_json(value: &impl Serialize) -> Result<(), OutputError> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| OutputError::Json(error.to_string()))?;
    print(&(json + "\n"))
}

/// Prints one line to the standard error. A failure to do so is ignored.
pub fn say(text: &str) {
    // A failure has nowhere to be reported.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints an error as one line to the standard error.
pub fn complain(error: &impl Display) {
    say(&format!(
        "\u{1b}[1;31merror\u{1b}[0m: {}",
        error.to_string().replace('\n', " ")
    ));
}

/// Checks before any work that a page can be written. An existing page stays unchanged.
///
/// # Errors
/// [`RecordError::Io`] when the path is a folder, or its folder refuses files.
pub fn check_writable(path: &Path) -> Result<(), RecordError> {
    let checked = if path.is_dir() {
        Err(std::io::ErrorKind::IsADirectory.into())
    } else {
        // Like `write_atomic`, write a file next to the page.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".steadygrad-check");
        fs::write(&beside, b"").and_then(|()| fs::remove_file(&beside))
    };
    checked.map_err(|source| RecordError::Io {
        action: "write the page to",
        path: path.to_owned(),
        source,
    })
}
