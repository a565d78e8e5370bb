use std::path::PathBuf;

use steadygrad_commands::{CommandError, OutputError};
use steadygrad_lab::data::CsvError;
use steadygrad_lab::{ReplayError, StudyError, TrainError};
use steadygrad_record::RecordError;

/// Whatever ends the tool before its work is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("cannot read the study `{}`: {source}; `steadygrad study` prints one to start from", path.display())]
    ReadStudy {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("in `{}`: {source}", path.display())]
    Study { path: PathBuf, source: StudyError },
    #[error(
        "`{}` cannot be read: {source}; expected is the folder of a run of `steadygrad train`",
        path.display()
    )]
    NoRun {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is damaged: {source}; start the run anew", path.display())]
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
    /// 2 is bad input, as for a wrong flag or a place that refuses files; 3 is what the user's input
    /// has no part in. 1 is left to `probe`'s findings.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Output(_) | CliError::CtrlC(_) => 3,
            CliError::Diagnose(error) => error.exit_code(),
            _ => 2,
        }
    }
}
