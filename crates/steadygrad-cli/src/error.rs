use std::path::PathBuf;

use steadygrad_commands::{CommandError, OutputError};
use steadygrad_lab::data::CsvError;
use steadygrad_lab::{ReplayError, StudyError, TrainError};
use steadygrad_record::RecordError;

/// An error that ends the tool before its work is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(
        "cannot read the study `{}`: {source}; `steadygrad study` prints one to start from",
        path.display()
    )]
    ReadStudy {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("in `{}`: {source}", path.display())]
    Study { path: PathBuf, source: StudyError },
    #[error(transparent)]
    TooLarge(StudyError),
    #[error(
        "cannot read `{}`: {source}; give the folder of a run of `steadygrad train`",
        path.display()
    )]
    NoRun {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is damaged: {source}; start a new run", path.display())]
    Settings {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Diagnose(#[from] CommandError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Data(#[from] CsvError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("cannot watch for Ctrl-C: {0}")]
    CtrlC(#[from] ctrlc::Error),
}

impl CliError {
    /// 2 is bad input, such as a wrong flag or a folder that refuses files. 3 is a failure that the
    /// user's input did not cause. 1 is free for findings.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Output(_) | CliError::CtrlC(_) => 3,
            CliError::Diagnose(error) => error.exit_code(),
            _ => 2,
        }
    }
}
