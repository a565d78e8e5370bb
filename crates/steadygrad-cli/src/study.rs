use std::fs;
use std::path::Path;
use std::process::ExitCode;

use burn::tensor::Device;
use steadygrad_commands::output;
use steadygrad_lab::study::parse;
use steadygrad_lab::{LoadedSubject, Study, Work};

use crate::args::{Embedded, StudyArgs, SubjectArgs};
use crate::error::CliError;

/// `steadygrad study`
pub(crate) fn run(args: &SubjectArgs) -> Result<ExitCode, CliError> {
    output::print(&default_study(args).to_toml())?;
    Ok(ExitCode::SUCCESS)
}

/// The study that the arguments choose: a file, or the default study of a subject.
pub(crate) fn chosen(args: &StudyArgs) -> Result<Study, CliError> {
    let mut study = match &args.study {
        Some(path) => read(path)?,
        None => default_study(&args.subject),
    };
    if let Some(seed) = args.seed {
        study.plan.seed = seed.into();
    }
    Ok(study)
}

/// Sets the study's subject up, if the machine has the memory for it.
pub(crate) fn load(study: &Study, work: Work, device: &Device) -> Result<LoadedSubject, CliError> {
    study.check_memory(work).map_err(CliError::TooLarge)?;
    Ok(study.load(device)?)
}

fn default_study(args: &SubjectArgs) -> Study {
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

fn read(path: &Path) -> Result<Study, CliError> {
    let text = fs::read_to_string(path).map_err(|source| CliError::ReadStudy {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|source| CliError::Study {
        path: path.to_owned(),
        source,
    })
}
