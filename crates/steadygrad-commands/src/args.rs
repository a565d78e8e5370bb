use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// The verbs that need logs alone.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Verb {
    /// Say what broke first in a run, where, why, and what to do, from its logs.
    ///
    /// Reads a run of steadygrad, TensorBoard event files, W&B's offline runs, CSV (Lightning, Keras,
    /// YOLO), JSON lines (RLlib, mmdetection), Hugging Face's trainer_state.json, runs and databases
    /// of MLflow, Trackio's databases, burn-train's experiments, or a folder of these. The training code needs
    /// no change. Exit code: 0 healthy, 1 something was found, 2 unreadable, 3 the output could not
    /// be printed.
    Diagnose(DiagnoseArgs),
    /// Write the findings of `diagnose` and the plots as one page that needs no network.
    Report {
        /// A log, or a folder of logs.
        path: PathBuf,
        /// Write the page to this file.
        #[arg(long, value_name = "FILE", default_value = "steadygrad-report.html")]
        out: PathBuf,
    },
    /// Explain a code such as SG003: what it means, needs and cannot see, and what to do.
    Explain {
        /// The code of a finding.
        code: String,
    },
}

/// What `diagnose` reads, and what it prints.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct DiagnoseArgs {
    /// A log, or a folder of logs.
    pub(crate) path: PathBuf,
    /// The column of steps [default: recognised by its name].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) step: Option<String>,
    /// The column of the training loss [default: recognised by its name].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) loss: Option<String>,
    /// The column of the gradient norm before clipping [default: recognised by its name].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) grad_norm: Option<String>,
    /// The column of the learning rate [default: recognised by its name].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) learning_rate: Option<String>,
    /// Also write a page with the plots to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// What to print: text, every number as JSON, or SARIF for code hosts and editors.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
    /// Short for `--format json`.
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Text like a compiler's diagnostics.
    Text,
    /// Every number as JSON.
    Json,
    /// SARIF 2.1.0.
    Sarif,
}
