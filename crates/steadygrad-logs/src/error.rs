use std::path::{Path, PathBuf};

use steadygrad_record::RecordError;

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file or folder cannot be opened or read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// None of the formats.
    #[error(
        "`{}` is no log that can be read: {found}; expected is a run of steadygrad, a TensorBoard event \
         file, W&B offline run, CSV, JSON lines, trainer_state.json, or a folder of these",
        path.display()
    )]
    Unrecognised {
        /// The file or folder.
        path: PathBuf,
        /// What is there in its place.
        found: String,
    },
    /// A column that was asked for is not there.
    #[error("`{}` has no column `{column}`{}", path.display(), near(.nearest))]
    NoColumn {
        /// The log.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// Those most like it, the nearest first.
        nearest: Vec<String>,
    },
    /// The log has columns, and none that a rule looks at.
    #[error(
        "`{}` has neither a loss nor a gradient norm: its columns are {}; name one with --loss or \
         --grad-norm",
        path.display(),
        columns.join(", ")
    )]
    NoRole {
        /// The log.
        path: PathBuf,
        /// The columns that there are, the first of them.
        columns: Vec<String>,
    },
    /// A run of steadygrad that cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl LogError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

fn near(nearest: &[String]) -> String {
    match nearest {
        [] => "; it has no columns".into(),
        names => format!("; the nearest are `{}`", names.join("`, `")),
    }
}
