use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use steadygrad::guard::Preset;
use steadygrad_commands::{OutputError, output};
use steadygrad_lab::faults::{Fault, Faults};
use steadygrad_lab::study::parse;
use steadygrad_lab::{
    Control, LoadedSubject, Study, TrainEnd, TrainError, TrainOptions, Trained, train,
};
use steadygrad_record::{RunStatus, read_incidents, read_manifest, read_steps};

use crate::args::TrainArgs;
use crate::cure::{INTERRUPTED, out_folder};
use crate::error::CliError;
use crate::progress::Bars;
use crate::study;

/// What a run was started with, for the one that goes on with it.
const SETTINGS: &str = "train.json";

/// The guard gave up: nothing bad was applied, but the run did not get to its end.
const STOPPED: u8 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) study: String,
    pub(crate) preset: Preset,
    pub(crate) faults: Vec<Fault>,
}

/// `steadygrad train`
pub(crate) fn run(args: &TrainArgs) -> Result<ExitCode, CliError> {
    if let Some(run) = &args.follow {
        return follow(run);
    }
    let (settings, out) = match &args.resume {
        Some(run) => (Settings::read(run)?, run.clone()),
        None => {
            let mut study = study::chosen(args.study.as_deref(), &args.subject, args.seed)?;
            if let Some(steps) = args.steps {
                study.plan.steps = steps;
            }
            let out = out_folder(args.out.as_deref(), study.subject_name())?;
            let settings = Settings {
                study: study.to_toml(),
                preset: args.preset,
                faults: args.fault.iter().map(|fault| fault.0.clone()).collect(),
            };
            (settings, out)
        }
    };
    let study = settings.study(&out)?;
    let device = Device::default().autodiff();
    let subject = study.load(&device)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    ctrlc::set_handler(move || {
        // A second Ctrl-C means it: end at once. What was recorded stays.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    let bars = Bars::new();
    let control = Control {
        cancelled: &cancelled,
        progress: &bars,
    };
    let faults = Faults::new(settings.faults.clone(), study.plan.seed).map_err(TrainError::from)?;
    let notes = [
        ("study.toml", settings.study.clone()),
        (
            SETTINGS,
            serde_json::to_string_pretty(&settings)
                .map_err(|error| OutputError::Json(error.to_string()))?,
        ),
    ];
    let options = TrainOptions {
        name: study.subject_name(),
        guard: settings.preset.into(),
        faults: &faults,
        run_dir: Some(&out),
        resume: args.resume.is_some(),
        notes: &notes,
    };
    let plan = &study.plan;
    let (trained, problems) = match &subject {
        LoadedSubject::Mlp(subject) => train(subject, plan, &options, &device, control)?,
        LoadedSubject::Rnn(subject) => train(subject, plan, &options, &device, control)?,
        LoadedSubject::Cnn(subject) => train(subject, plan, &options, &device, control)?,
    };
    for problem in &problems {
        output::say(&format!("note: {problem}"));
    }
    if args.json {
        output::print_json(&trained)?;
    } else {
        output::print(&text(&trained, &study, &out))?;
    }
    Ok(match trained.end {
        TrainEnd::Completed => ExitCode::SUCCESS,
        TrainEnd::Stopped { .. } => ExitCode::from(STOPPED),
        TrainEnd::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

impl Settings {
    pub(crate) fn read(run: &Path) -> Result<Self, CliError> {
        let path = run.join(SETTINGS);
        let text = std::fs::read_to_string(&path).map_err(|source| CliError::NoRun {
            path: path.clone(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| CliError::Settings { path, source })
    }

    /// The study that the run in this folder was started with.
    pub(crate) fn study(&self, run: &Path) -> Result<Study, CliError> {
        parse(&self.study).map_err(|source| CliError::Study {
            path: run.join(SETTINGS),
            source,
        })
    }
}

/// The end of a run in a few lines.
fn text(trained: &Trained, study: &Study, out: &Path) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name:<14} {value}");
    };
    let state = match &trained.end {
        TrainEnd::Completed => "completed".to_owned(),
        TrainEnd::Stopped { reason } => format!("stopped by the guard: {reason}"),
        TrainEnd::Interrupted => "interrupted".to_owned(),
    };
    line("run", format!("{}: {state}", out.display()));
    if let Some(step) = trained.resumed_at {
        line("resumed", format!("at step {step}"));
    }
    line(
        "steps",
        format!("{} of {}", trained.steps, study.plan.steps),
    );
    line("validation", format!("{:.4}", trained.validation_metric));
    let guard = &trained.guard;
    line(
        "the guard",
        format!(
            "kept {} · clipped {} · skipped {} · lowered the learning rate {} · rolled back {}",
            guard.kept,
            guard.clipped + guard.clipped_by_policy,
            guard.skipped,
            guard.lowered,
            guard.rolled_back
        ),
    );
    for rollback in &trained.rollbacks {
        line(
            "",
            format!(
                "at step {} back to the state of step {}",
                rollback.at_step, rollback.to_step
            ),
        );
    }
    line(
        "time",
        format!(
            "{:.1} s, of it {:.2} s for snapshots",
            trained.seconds, trained.snapshot_seconds
        ),
    );
    if trained.end == TrainEnd::Interrupted {
        line(
            "go on with",
            format!("steadygrad train --resume {}", out.display()),
        );
    }
    lines
}

/// Prints a run's steps and incidents as they are written, until it ends.
fn follow(run: &Path) -> Result<ExitCode, CliError> {
    const EVERY: Duration = Duration::from_millis(300);
    let (mut next_step, mut seen) = (0, BTreeSet::new());
    loop {
        let status = read_manifest(run)?.value.status;
        for row in read_steps(run)?.value.rows {
            if row.step < next_step {
                continue;
            }
            next_step = row.step + 1;
            output::print(&format!(
                "step {:>7}  loss {:<10.4e} grad_norm {:<10.3e} learning_rate {:<10.3e} {}\n",
                row.step,
                row.loss,
                row.grad_norm,
                row.learning_rate * row.learning_rate_scale,
                row.decision
            ))?;
        }
        for incident in read_incidents(run)?.value {
            if !seen.insert(incident.step) {
                continue;
            }
            let judgement = &incident.judgement;
            let seen = judgement.detections.first();
            let message = seen.map(|seen| seen.message.as_str());
            // A step that is left out after going back shows nothing of its own.
            let message = message.or_else(|| judgement.decision.reason());
            output::print(&format!(
                "  incident at step {}: {} ({})\n",
                incident.step,
                judgement.decision.name(),
                message.unwrap_or_default()
            ))?;
        }
        if status != RunStatus::Running {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(EVERY);
    }
}

/// `NAME@STEP`: a fault at its default strength.
#[derive(Debug, Clone)]
pub(crate) struct FaultArg(Fault);

impl FromStr for FaultArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || {
            let names = Fault::all(0).iter().map(short_name).collect::<Vec<_>>();
            names.join(", ")
        };
        let (name, step) = text
            .split_once('@')
            .ok_or_else(|| format!("`{text}` has no step; write NAME@STEP, for example nan@100"))?;
        let step: u64 = step
            .parse()
            .map_err(|_| format!("the step `{step}` is no whole number"))?;
        Fault::all(step)
            .into_iter()
            .find(|fault| short_name(fault) == name)
            .map(FaultArg)
            .ok_or_else(|| format!("there is no fault `{name}`; there are {}", all()))
    }
}

fn short_name(fault: &Fault) -> &'static str {
    match fault.name() {
        "poisoned_batch (nan)" => "nan",
        "poisoned_batch (inf)" => "inf",
        name => name,
    }
}

/// A preset by its name.
pub(crate) fn preset(name: &str) -> Result<Preset, String> {
    name.parse()
        .map_err(|error: steadygrad::guard::GuardConfigError| error.to_string())
}
