use std::fs;
use std::path::Path;
use std::process::ExitCode;

use steadygrad_commands::output;
use steadygrad_lab::Study;
use steadygrad_lab::study::parse;

use crate::args::{Embedded, SubjectArgs};
use crate::error::CliError;

/// `steadygrad study`
pub(crate) fn run(args: &SubjectArgs) -> Result<ExitCode, CliError> {
    output::print(&from_args(args).to_toml())?;
    Ok(ExitCode::SUCCESS)
}

/// The study that a verb's arguments choose: a file, or the default of a subject; with its seed.
pub(crate) fn chosen(
    file: Option<&Path>,
    subject: &SubjectArgs,
    seed: Option<u32>,
) -> Result<Study, CliError> {
    let mut study = match file {
        Some(path) => from_file(path)?,
        None => from_args(subject),
    };
    if let Some(seed) = seed {
        study.plan.seed = seed.into();
    }
    Ok(study)
}

/// The default study of what the arguments name.
fn from_args(args: &SubjectArgs) -> Study {
    if let (Some(data), Some(target)) = (&args.data, &args.target) {
        return Study::csv(data.clone(), target.clone(), args.task.into());
    }
    let name = match args.subject.unwrap_or(Embedded::DigitsMlp) {
        Embedded::DigitsMlp => "digits-mlp",
        Embedded::TemporalOrderRnn => "temporal-order-rnn",
        Embedded::DigitsCnn => "digits-cnn",
    };
    Study::embedded(name).expect("all three are embedded")
}

/// Reads a study file.
fn from_file(path: &Path) -> Result<Study, CliError> {
    let text = fs::read_to_string(path).map_err(|source| CliError::ReadStudy {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|source| CliError::Study {
        path: path.to_owned(),
        source,
    })
}
