use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use steadygrad::trace::Objective;

/// The verbs that need logs alone.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Verb {
    /// Say what broke first in a run, where, why, and what to do, from its logs.
    ///
    /// Reads console text, TensorBoard event files, W&B's offline runs, CSV (Lightning, Keras,
    /// YOLO), JSON lines (RLlib, mmdetection), Hugging Face's trainer_state.json, MLflow, Trackio,
    /// burn-train's experiments, runs of steadygrad, or a folder of these. The training code needs
    /// no change. `diagnose -` reads the standard input, also one that goes on:
    /// `tail -f train.log | steadygrad diagnose -` says on the standard error when the headline
    /// changes, and prints the whole diagnosis at the end of the input or at Ctrl-C.
    ///
    /// Exit codes: 0 nothing at the level of --fail-on or above, 1 such a finding, a lost run, or
    /// one that was cut short, 2 unreadable, 3 the output could not be printed.
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
    /// A log, a folder of logs, or `-` for the standard input.
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
    /// What kind of training it is, where the names in the log mislead: in a GAN and in
    /// reinforcement learning a loss that rises is no fault.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) objective: ObjectiveArg,
    /// The exit code is 1 from findings of this level on. A run that came out of its trouble has a
    /// warning.
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) fail_on: FailOn,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ObjectiveArg {
    /// Judged by the names in the log.
    Auto,
    /// One loss that training lowers.
    Supervised,
    /// Two networks against each other.
    Gan,
    /// A policy or a value function.
    Rl,
}

impl ObjectiveArg {
    /// `None` leaves it to the log.
    pub(crate) fn chosen(self) -> Option<Objective> {
        match self {
            Self::Auto => None,
            Self::Supervised => Some(Objective::Supervised),
            Self::Gan => Some(Objective::Gan),
            Self::Rl => Some(Objective::Rl),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FailOn {
    /// The run is lost, or will be, or was cut short.
    Error,
    /// Also on trouble that the run came out of.
    Warning,
    /// Only on a log that cannot be read.
    Never,
}
