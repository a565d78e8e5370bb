//! The only place that prints.

use std::io::Write as _;

use serde::Serialize;

use crate::error::CliError;

/// Prints to the standard output; styles are left out when it is not a terminal.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| {
            // `steadygrad cure | head` closes the pipe early: no fault of anybody's.
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(CliError::Stdout(error))
            }
        })
}

/// Prints a value as JSON, every number of it.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let json =
        serde_json::to_string_pretty(value).map_err(|error| CliError::Json(error.to_string()))?;
    print(&(json + "\n"))
}

/// One line on the standard error.
pub(crate) fn say(text: &str) {
    // There is nowhere left to report a failure of this to.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// One line that says what went wrong.
pub(crate) fn complain(error: &CliError) {
    say(&format!(
        "\u{1b}[1;31merror\u{1b}[0m: {}",
        error.to_string().replace('\n', " ")
    ));
}
