use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use steadygrad::guard::{GuardConfigError, Preset};
use steadygrad_lab::data::CsvTask;

use crate::fault_arg::FaultArg;

/// Predict, detect, explain and cure exploding gradients.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Predict before training whether gradients will explode: where, how fast and what to try.
    ///
    /// Without arguments it probes the embedded `digits-mlp`.
    /// Exit codes: 0 healthy, 1 findings or a run that will probably diverge, 2 bad input, 3 the
    /// output could not be printed.
    Probe(ProbeArgs),
    /// Try six families of remedies on a model and verify the best one on new seeds.
    ///
    /// Without arguments it cures the embedded `digits-mlp`.
    /// Exit codes: 0 done, 2 bad input, 3 the output could not be printed, 130 interrupted (the
    /// finished trials are saved).
    Cure(CureArgs),
    #[command(flatten)]
    Logs(steadygrad_commands::Verb),
    /// Train under a guard that survives faults; the run can be killed and resumed.
    ///
    /// Exit codes: 0 all steps done, 1 no usable model (the guard stopped the run, no update was
    /// applied, or the predictions are not finite) or the process of a followed run is gone, 2 bad
    /// input or a full disk, 3 the output could not be printed, 130 interrupted.
    Train(TrainArgs),
    /// Replay an incident of a guarded run: which operation and which sample failed first.
    ///
    /// Exit codes: 0 the replay equals the record to the bit, 1 it differs, 2 bad input, 3 the
    /// output could not be printed.
    Replay(ReplayArgs),
    /// Print a commented study in TOML, to start from.
    Study(SubjectArgs),
}

/// Which study a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct StudyArgs {
    /// A study in TOML (`steadygrad study` prints one).
    #[arg(conflicts_with_all = ["subject", "data"])]
    pub(crate) study: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Seed of weights and batches, instead of the study's.
    #[arg(long)]
    pub(crate) seed: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Train the twins of the butterfly test whatever the size of the network; without this flag
    /// they are trained up to two million parameters.
    #[arg(long)]
    pub(crate) twins: bool,
    /// Also write a page with the plots to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print every number as JSON instead of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CureArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Optimizer steps of each trial, instead of the study's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) steps: Option<u64>,
    /// Folder for the report and the run records; must be new or empty [default: runs/NAME-N].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Trials that run side by side, one thread each [default: as many as cores and memory allow].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Print every number as JSON instead of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Number of steps, instead of the study's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) steps: Option<u64>,
    /// How the guard acts: observe, careful, default or aggressive.
    #[arg(long, default_value = "default", value_parser = preset)]
    pub(crate) preset: Preset,
    /// Put a fault into the run at a step, to see the guard work; may be repeated.
    #[arg(long, value_name = "NAME@STEP")]
    pub(crate) fault: Vec<FaultArg>,
    /// Folder of the run; must be new or empty [default: runs/NAME-N].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Resume the run in this folder, with the settings that it was started with.
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = [
            "study", "subject", "data", "seed", "steps", "preset", "fault", "out"
        ]
    )]
    pub(crate) resume: Option<PathBuf>,
    /// Print the steps and incidents of a run in another terminal, until it ends or its process is
    /// gone.
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["study", "subject", "data", "resume", "json"]
    )]
    pub(crate) follow: Option<PathBuf>,
    /// Print the outcome as JSON instead of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The folder of a run of `steadygrad train`.
    pub(crate) run: PathBuf,
    /// The number of the incident: its folder in RUN/incidents has this number.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) incident: u32,
    /// Also run the incident's step in this number format.
    #[arg(long = "in", value_name = "TYPE")]
    pub(crate) in_type: Option<InType>,
    /// Continue from the incident for this many steps, with and without the guard
    /// [default: 100].
    #[arg(
        long,
        value_name = "STEPS",
        num_args = 0..=1,
        default_missing_value = "100",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    pub(crate) without_decision: Option<u64>,
    /// Print every number as JSON instead of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum InType {
    /// Twice the bits of f32, and a range up to 1e308.
    F64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SubjectArgs {
    /// An embedded subject.
    #[arg(long, conflicts_with = "data")]
    pub(crate) subject: Option<Embedded>,
    /// A CSV of numbers with a header line, for the MLP.
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) data: Option<PathBuf>,
    /// The column of the CSV to predict.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub(crate) target: Option<String>,
    /// What the target column holds.
    #[arg(long, requires = "data", default_value = "auto")]
    pub(crate) task: Task,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Embedded {
    /// A deep plain MLP on 1,797 handwritten digits.
    DigitsMlp,
    /// A plain tanh RNN on the temporal order task.
    TemporalOrderRnn,
    /// A small plain CNN on the same digits, which trains well.
    DigitsCnn,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Task {
    /// Inferred from the target's values.
    Auto,
    /// The target is a class.
    Classification,
    /// The target is a number.
    Regression,
}

impl From<Task> for CsvTask {
    fn from(task: Task) -> Self {
        match task {
            Task::Auto => CsvTask::Auto,
            Task::Classification => CsvTask::Classification,
            Task::Regression => CsvTask::Regression,
        }
    }
}

fn preset(name: &str) -> Result<Preset, String> {
    name.parse()
        .map_err(|error: GuardConfigError| error.to_string())
}
