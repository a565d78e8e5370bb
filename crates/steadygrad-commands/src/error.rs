use steadygrad_logs::LogError;
use steadygrad_record::RecordError;
use steadygrad_report::ReportError;

/// A result that could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// JSON has no form for a number or text.
    #[error("cannot write the JSON report: {0}")]
    Json(String),
    /// The standard output is closed or full.
    #[error("cannot write to the standard output: {0}")]
    Stdout(std::io::Error),
}

/// Whatever ends a verb before its work is done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no rule with this code.
    #[error("there is no rule `{code}`: the codes are {codes}")]
    NoRule {
        /// The code that was asked for.
        code: String,
        /// All codes.
        codes: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The page cannot be written.
    #[error(transparent)]
    Page(#[from] RecordError),
    /// The result has no form in the format that was asked for.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The result cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl CommandError {
    /// Returns 2 for bad input, as for a wrong flag or a place that refuses files, and 3 for an
    /// error that the user's input did not cause. Findings have 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) | Self::Report(_) => 3,
            _ => 2,
        }
    }
}
