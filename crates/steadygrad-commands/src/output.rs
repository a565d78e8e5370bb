//! The only place that prints.

use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use steadygrad_record::RecordError;

use crate::error::OutputError;

/// Prints to the standard output; styles are left out when it is not a terminal.
///
/// # Errors
/// When it cannot be written; a pipe that was closed early is none.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| {
            // `steadygrad cure | head` closes the pipe early: no fault of anybody's.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(OutputError::Stdout(error))
            }
        })
}

/// Prints a value as JSON, every number of it.
///
/// # Errors
/// When JSON has no form for it, or it cannot be written.
pub fn print_json(value: &impl Serialize) -> Result<(), OutputError> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| OutputError::Json(error.to_string()))?;
    print(&(json + "\n"))
}

/// One line on the standard error.
pub fn say(text: &str) {
    // There is nowhere left to report a failure of this to.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// One line that says what went wrong.
pub fn complain(error: &impl Display) {
    say(&format!(
        "\u{1b}[1;31merror\u{1b}[0m: {}",
        error.to_string().replace('\n', " ")
    ));
}

/// Makes sure, before any work, that the page can be written; a page that is there stays as it is.
///
/// # Errors
/// When the place refuses files.
pub fn check_writable(path: &Path) -> Result<(), RecordError> {
    let checked = if path.is_dir() {
        Err(std::io::ErrorKind::IsADirectory.into())
    } else {
        // What `write_atomic` does, without the page: a file beside it.
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
