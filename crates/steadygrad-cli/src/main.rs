//! The command-line tool `steadygrad`.

mod args;
mod cure;
mod error;
mod fault_arg;
mod follow;
mod interrupt;
mod lines;
mod output_folder;
mod probe;
mod progress;
mod replay;
mod replay_text;
mod run_settings;
mod study;
mod train;

use std::process::ExitCode;

use clap::Parser;
use steadygrad_commands::output;

use crate::args::{Args, Verb};
use crate::error::CliError;

fn main() -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Probe(args) => probe::run(&args),
        Verb::Cure(args) => cure::run(&args),
        Verb::Logs(verb) => verb.run().map(ExitCode::from).map_err(CliError::from),
        Verb::Train(args) => train::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Study(args) => study::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
