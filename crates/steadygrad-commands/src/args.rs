use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// What can be done with logs alone.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say what broke first in a run, where, why and what to do, from the logs that are there.
    ///
    /// Reads a run of steadygrad, TensorBoard event files, W&B's offline runs, CSV (Lightning), JSON lines,
    /// Hugging Face's trainer_state.json, or a folder of these. The code that wrote them needs no change.
    /// Exit code: 0 healthy, 1 something was found, 2 unreadable, 3 the output could not be printed.
    Diagnose(DiagnoseArgs),
    /// Write what `diagnose` finds as one page with the plots, which needs no network.
    Report {
        /// A log, or a folder of logs.
        path: PathBuf,
        /// The page.
        #[arg(long, value_name = "FILE", default_value = "steadygrad-report.html")]
        out: PathBuf,
    },
    /// Say what a code like SG003 means, what it needs, cannot see, and what to do.
    Explain {
        /// The code of a finding.
        code: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct DiagnoseArgs {
    /// A log, or a folder of logs.
    pub(crate) path: PathBuf,
    /// The column of steps, where its name says nothing [default: told from the names].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) step: Option<String>,
    /// The column of the training loss.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) loss: Option<String>,
    /// The column of the gradient norm before clipping.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) grad_norm: Option<String>,
    /// The column of the learning rate.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) learning_rate: Option<String>,
    /// Write a page with the plots to this file as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// What to print: text, every number as JSON, or SARIF for a build.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// Like a compiler's diagnostics.
    Text,
    /// Every number.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}
