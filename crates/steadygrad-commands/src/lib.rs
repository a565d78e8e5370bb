//! The verbs `diagnose`, `report` and `explain`: a log in, a diagnosis out.
//!
//! The command-line tool has them beside its own; the Python package has these alone, so that it needs
//! no Burn.

mod args;
mod diagnose;
mod error;
mod explain;
pub mod output;

pub use args::Verb;
pub use error::{DiagnoseError, OutputError};

use std::ffi::OsString;

use clap::Parser;

impl Verb {
    /// Does what was asked for; the exit code is the verb's.
    ///
    /// # Errors
    /// [`DiagnoseError`] when a log cannot be read, a page not written, or there is no such rule.
    pub fn run(&self) -> Result<u8, DiagnoseError> {
        match self {
            Self::Diagnose(args) => diagnose::run(args),
            Self::Report { path, out } => diagnose::report(path, out),
            Self::Explain { code } => explain::run(code),
        }
    }
}

/// Find and explain what broke in a training run.
///
/// These verbs come with the Python package; `probe`, `cure`, `train` and `replay`, which train models
/// in Rust, with the command-line tool of the same name.
#[derive(Debug, Parser)]
#[command(name = "steadygrad", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// A whole command with these verbs alone. The first argument is the command's own name. Prints what
/// went wrong; the number is the exit code.
pub fn command(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(asked) => {
            // Help and version, or what is wrong with the arguments, in clap's own words.
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
