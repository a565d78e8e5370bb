use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use steadygrad::guard::{GuardConfigError, Preset};
use steadygrad_lab::data::CsvTask;

use crate::fault_arg::FaultArg;

/// Find, explain and cure exploding gradients.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say before training whether gradients will explode: where, how fast, and what to try.
    ///
    /// Without arguments it probes the embedded `digits-mlp`.
    /// Exit code: 0 healthy, 1 something was found, 2 bad input, 3 the output could not be printed.
    Probe(ProbeArgs),
    /// Try the six families of remedies on a model and prove the best on fresh seeds.
    ///
    /// Without arguments it cures the embedded `digits-mlp`.
    /// Exit code: 0 done, 2 bad input, 3 the output could not be printed, 130 interrupted (what was
    /// done is saved).
    Cure(CureArgs),
    #[command(flatten)]
    Logs(steadygrad_commands::Verb),
    /// Train under a guard: a run that survives what goes wrong, and that can be killed and resumed.
    ///
    /// Exit code: 0 all steps done, 1 the guard gave up (no bad update was applied), 2 bad input or
    /// a full disk, 3 the output could not be printed, 130 interrupted.
    Train(TrainArgs),
    /// Run an incident of a guarded run again: what went wrong first, in which operation and sample.
    ///
    /// Exit code: 0 the record was met to the bit, 1 it was not, 2 bad input, 3 the output could not
    /// be printed.
    Replay(ReplayArgs),
    /// Print a study as commented TOML, to start from.
    Study(SubjectArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// A study in TOML (`steadygrad study` prints one).
    #[arg(conflicts_with_all = ["subject", "data"])]
    pub(crate) study: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Seed of weights and batches, in place of the study's.
    #[arg(long)]
    pub(crate) seed: Option<u32>,
    /// Train the twins of the butterfly however large the network is; without this, up to two
    /// million parameters.
    #[arg(long)]
    pub(crate) twins: bool,
    /// Write a page with the plots to this file as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print every number as JSON in place of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CureArgs {
    /// A study in TOML (`steadygrad study` prints one).
    #[arg(conflicts_with_all = ["subject", "data"])]
    pub(crate) study: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Seed of weights and batches, in place of the study's.
    #[arg(long)]
    pub(crate) seed: Option<u32>,
    /// Optimizer steps of each trial, in place of the study's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) steps: Option<u64>,
    /// Folder for the report and the run records; must be new or empty [default: runs/NAME-N].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Trials that run side by side, one thread each [default: the number of cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Print every number as JSON in place of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    /// A study in TOML (`steadygrad study` prints one).
    #[arg(conflicts_with_all = ["subject", "data"])]
    pub(crate) study: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Seed of weights and batches, in place of the study's.
    #[arg(long)]
    pub(crate) seed: Option<u32>,
    /// Steps, in place of the study's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) steps: Option<u64>,
    /// How the guard acts: observe, careful, default or aggressive.
    #[arg(long, default_value = "default", value_parser = preset)]
    pub(crate) preset: Preset,
    /// Make something go wrong at a step, to see the guard work; may be given again.
    #[arg(long, value_name = "NAME@STEP")]
    pub(crate) fault: Vec<FaultArg>,
    /// Folder of the run; must be new or empty [default: runs/NAME-N].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the run in this folder, with the settings that it was started with.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["study", "subject", "data", "seed", "steps", "preset", "fault", "out"])]
    pub(crate) resume: Option<PathBuf>,
    /// Print the steps and incidents of a run in another terminal, until it ends.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["study", "subject", "data", "resume", "json"])]
    pub(crate) follow: Option<PathBuf>,
    /// Print the outcome as JSON in place of the text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The folder of a run of `steadygrad train`.
    pub(crate) run: PathBuf,
    /// The number of the incident: of its folder in RUN/incidents.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) incident: u32,
    /// Run the incident's step in this type as well.
    #[arg(long = "in", value_name = "TYPE")]
    pub(crate) in_type: Option<InType>,
    /// Go on from the incident for so many steps, with the guard and without it [default: 100].
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "100", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) without_decision: Option<u64>,
    /// Print every number as JSON in place of the text.
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
    /// What the target holds.
    #[arg(long, requires = "data", default_value = "auto")]
    pub(crate) task: Task,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Embedded {
    /// 1,797 handwritten digits, a deep plain MLP.
    DigitsMlp,
    /// The temporal order task, a plain tanh RNN.
    TemporalOrderRnn,
    /// The same digits, a small plain CNN that trains well.
    DigitsCnn,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Task {
    /// Told from the target's values.
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

/// A preset by its name.
fn preset(name: &str) -> Result<Preset, String> {
    name.parse()
        .map_err(|error: GuardConfigError| error.to_string())
}
