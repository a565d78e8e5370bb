use steadygrad_logs::LogError;
use steadygrad_record::RecordError;

/// What was worked out cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A number or text that JSON has no form for.
    #[error("cannot write the JSON report: {0}")]
    Json(String),
    /// The standard output is closed or full.
    #[error("cannot write to the standard output: {0}")]
    Stdout(std::io::Error),
}

/// Whatever ends a verb before its work is done.
#[derive(Debug, thiserror::Error)]
pub enum DiagnoseError {
    /// There is no rule with this code.
    #[error("there is no rule `{code}`: the codes are {codes}")]
    NoRule {
        /// What was asked for.
        code: String,
        /// All there are.
        codes: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The page cannot be written.
    #[error(transparent)]
    Page(#[from] RecordError),
    /// The result cannot be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl DiagnoseError {
    /// 2 is bad input, as for a wrong flag or a place that refuses files; 3 is what the user's input
    /// has no part in. 1 is left to findings.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) => 3,
            _ => 2,
        }
    }
}
