use std::path::{Path, PathBuf};

use steadygrad_record::RecordError;

/// What is wrong with a text that is JSON up to its end, and so is no console text.
pub(crate) const CUT_OFF: &str = "it begins as JSON, and is cut off";

/// Why a log could not be read.
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
    /// It is of no known format.
    #[error(
        "`{}` is not a log in a format that can be read: {found}; the formats are {}, or a folder of \
         these",
        path.display(),
        formats.join(", ")
    )]
    Unrecognised {
        /// The file or folder.
        path: PathBuf,
        /// What is there instead.
        found: String,
        /// The names of the formats that can be read.
        formats: Vec<&'static str>,
    },
    /// The log lacks a column that the user named.
    #[error("`{}` has no column `{column}`{}", path.display(), near(.nearest))]
    NoColumn {
        /// The log.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The most similar names, the nearest first.
        nearest: Vec<String>,
    },
    /// The log has columns, but none that a rule uses.
    #[error(
        "`{}` has neither a loss nor a gradient norm: its columns are {}; name one with --loss or \
         --grad-norm",
        path.display(),
        columns.join(", ")
    )]
    NoRole {
        /// The log.
        path: PathBuf,
        /// Its first columns.
        columns: Vec<String>,
    },
    /// The log has a column that a rule uses, and no number in it.
    #[error(
        "`{}` holds no number for a loss or a gradient norm yet; try again once the training has \
         logged a step, or name another column with --loss or --grad-norm",
        path.display()
    )]
    NoRows {
        /// The log.
        path: PathBuf,
    },
    /// A database cannot be opened or read.
    #[error("cannot read `{}`: {found}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        found: &'static str,
    },
    /// A run of steadygrad that cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl LogError {
    /// A file or folder that is of no format. [`crate::read`] adds the names of the formats.
    pub(crate) fn unrecognised(path: &Path, found: impl Into<String>) -> Self {
        Self::Unrecognised {
            path: path.to_owned(),
            found: found.into(),
            formats: Vec::new(),
        }
    }

    /// The same error with the names of the formats that can be read.
    pub(crate) fn with_formats(mut self, names: &[&'static str]) -> Self {
        if let Self::Unrecognised { formats, .. } = &mut self {
            *formats = names.to_vec();
        }
        self
    }

    /// Whether the file may be console text whose head looked like another format.
    pub(crate) fn may_be_console(&self) -> bool {
        matches!(
            self,
            Self::NoRole { .. }
                | Self::NoRows { .. }
                | Self::Unrecognised { .. }
                | Self::NoColumn { .. }
        )
    }

    /// The more useful of two errors: this one, or that of reading the file as console text.
    pub(crate) fn or_of_console(self, console: Self) -> Self {
        match (&self, &console) {
            (Self::NoRole { columns, .. }, _) if columns.len() > 1 => self,
            (Self::NoColumn { .. } | Self::NoRows { .. }, _) => self,
            (Self::Unrecognised { found, .. }, _) if found.starts_with(CUT_OFF) => self,
            _ => console,
        }
    }

    /// Returns the same error about a log of another name, such as a stream's.
    #[must_use]
    pub fn renamed(mut self, name: &Path) -> Self {
        match &mut self {
            Self::Io { path, .. }
            | Self::Unrecognised { path, .. }
            | Self::NoColumn { path, .. }
            | Self::NoRole { path, .. }
            | Self::NoRows { path }
            | Self::Database { path, .. } => name.clone_into(path),
            // Only a folder is a run of steadygrad.
            Self::Record(_) => {}
        }
        self
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_s_error_does_not_name_its_temporary_file() {
        let path = || PathBuf::from("/tmp/of-the-stream");
        let source = || std::io::Error::from(std::io::ErrorKind::NotFound);
        for error in [
            LogError::Io {
                path: path(),
                source: source(),
            },
            LogError::unrecognised(&path(), "it is empty"),
            LogError::NoColumn {
                path: path(),
                column: "loss".into(),
                nearest: Vec::new(),
            },
            LogError::NoRole {
                path: path(),
                columns: Vec::new(),
            },
            LogError::NoRows { path: path() },
            LogError::Database {
                path: path(),
                found: "it is locked",
            },
        ] {
            let told = error.renamed(Path::new("standard input")).to_string();
            assert!(
                told.contains("`standard input`") && !told.contains("/tmp"),
                "{told}"
            );
        }
    }
}
