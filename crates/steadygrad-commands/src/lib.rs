//! The verbs `diagnose`, `report` and `explain`: a log in, a diagnosis out.
//!
//! The command-line tool has further verbs; the Python package has these alone, so it needs no
//! Burn.

mod args;
mod diagnose;
mod error;
mod explain;
pub mod output;
mod spool;
mod stream;

pub use args::Verb;
pub use error::{CommandError, OutputError};

use std::ffi::OsString;

use clap::Parser;

impl Verb {
    /// Runs the verb and returns its exit code: 0, or 1 if `diagnose` found what `--fail-on` names.
    ///
    /// # Errors
    /// [`CommandError`] when a log cannot be read, a page or the output cannot be written, or there
    /// is no such rule.
    pub fn run(&self) -> Result<u8, CommandError> {
        match self {
            Self::Diagnose(args) => diagnose::run(args),
            Self::Report { path, out } => diagnose::report(path, out),
            Self::Explain { code } => explain::run(code),
        }
    }
}

/// Find and explain what broke in a training run.
///
/// The Python package has these verbs. `probe`, `cure`, `train` and `replay`, which train models in
/// Rust, come with the command-line tool of the same name.
#[derive(Debug, Parser)]
#[command(name = "steadygrad", version)]
struct CommandArgs {
    #[command(subcommand)]
    verb: Verb,
}

/// Runs a command with these verbs alone, and returns its exit code. The first argument is the
/// command's own name. Errors are printed to the standard error.
pub fn command(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let args = match CommandArgs::try_parse_from(arguments) {
        Ok(args) => args,
        Err(asked) => {
            // Help, the version or wrong arguments: clap has the words.
            let printed = asked.print();
            let code = u8::try_from(asked.exit_code()).unwrap_or(2);
            return if printed.is_ok() { code } else { 3 };
        }
    };
    match args.verb.run() {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            error.exit_code()
        }
    }
}
