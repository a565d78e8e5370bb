//! The command-line tool `steadygrad`.

mod args;
mod cure;
mod diagnose;
mod error;
mod explain;
mod output;
mod probe;
mod progress;
mod replay;
mod study;
mod train;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};

fn main() -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Probe(args) => probe::run(&args),
        Verb::Cure(args) => cure::run(&args),
        Verb::Diagnose(args) => diagnose::run(&args),
        Verb::Report { path, out } => diagnose::report(&path, &out),
        Verb::Explain { code } => explain::run(&code),
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
