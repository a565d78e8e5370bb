use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use steadygrad_commands::{OutputError, output};
use steadygrad_lab::faults::Faults;
use steadygrad_lab::{
    Control, Plan, Study, Subject, SubjectVisitor, TrainEnd, TrainError, TrainOptions,
    TrainOutcome, Unusable, Work, train,
};
use steadygrad_record::Problem;

use crate::args::TrainArgs;
use crate::error::CliError;
use crate::follow::follow;
use crate::interrupt::{INTERRUPTED, cancel_on_ctrl_c};
use crate::lines::Lines;
use crate::output_folder::output_folder;
use crate::progress::Bars;
use crate::run_settings::RunSettings;
use crate::study;

/// Exit code of a run without a usable model: the guard has stopped it, no update was applied, or
/// the model's predictions are not finite.
const FAILED: u8 = 1;

/// `steadygrad train`
pub(crate) fn run(args: &TrainArgs) -> Result<ExitCode, CliError> {
    if let Some(run) = &args.follow {
        return follow(run);
    }
    let (settings, out) = settings_and_folder(args)?;
    let study = settings.study(&out)?;
    let device = Device::default().autodiff();
    let subject = study::load(&study, Work::Train, &device)?;
    let (bars, cancelled) = (Bars::new(), cancel_on_ctrl_c()?);
    let faults = Faults::new(settings.faults.clone(), study.plan.seed).map_err(TrainError::from)?;
    let json = serde_json::to_string_pretty(&settings)
        .map_err(|error| OutputError::Json(error.to_string()))?;
    let notes = [
        ("study.toml", settings.study.clone()),
        (RunSettings::FILE, json),
    ];
    let (outcome, problems) = subject.visit(Training {
        plan: &study.plan,
        options: TrainOptions {
            name: study.subject_name(),
            guard: settings.preset.into(),
            faults: &faults,
            run_dir: Some(&out),
            resume: args.resume.is_some(),
            notes: &notes,
        },
        device: &device,
        control: Control {
            cancelled: &cancelled,
            progress: &bars,
        },
    })?;
    for problem in &problems {
        output::say(&format!("note: {problem}"));
    }
    if args.json {
        output::print_json(&outcome)?;
    } else {
        output::print(&text(&outcome, &study, &out))?;
    }
    Ok(match outcome.end {
        TrainEnd::Completed if outcome.unusable().is_none() => ExitCode::SUCCESS,
        TrainEnd::Completed | TrainEnd::Stopped { .. } => ExitCode::from(FAILED),
        _ => ExitCode::from(INTERRUPTED),
    })
}

/// Of a new run, from the arguments; of a resumed run, those that it was started with.
fn settings_and_folder(args: &TrainArgs) -> Result<(RunSettings, PathBuf), CliError> {
    if let Some(run) = &args.resume {
        return Ok((RunSettings::read(run)?, run.clone()));
    }
    let mut study = study::chosen(&args.study)?;
    if let Some(steps) = args.steps {
        study.plan.steps = steps;
    }
    // Before the folder is made: a study that cannot run leaves nothing behind.
    study
        .check_memory(Work::Train)
        .map_err(CliError::TooLarge)?;
    let out = output_folder(args.out.as_deref(), study.subject_name())?;
    let settings = RunSettings {
        study: study.to_toml(),
        preset: args.preset,
        faults: args.fault.iter().map(|fault| fault.0.clone()).collect(),
    };
    Ok((settings, out))
}

struct Training<'a> {
    plan: &'a Plan,
    options: TrainOptions<'a>,
    device: &'a Device,
    control: Control<'a>,
}

impl SubjectVisitor for Training<'_> {
    type Output = Result<(TrainOutcome, Vec<Problem>), TrainError>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        train(subject, self.plan, &self.options, self.device, self.control)
    }
}

fn unusable(reason: Unusable) -> &'static str {
    match reason {
        Unusable::NoUpdate => {
            "every step was left out, so the model is untrained; `steadygrad diagnose` says why"
        }
        _ => {
            "all steps are done, but the model's predictions are not finite; `steadygrad diagnose` \
             says why"
        }
    }
}

/// The outcome of a run in a few lines.
fn text(outcome: &TrainOutcome, study: &Study, out: &Path) -> String {
    let mut lines = Lines::default();
    let folder = out.display();
    let state = match &outcome.end {
        TrainEnd::Completed => match outcome.unusable() {
            None => "completed".to_owned(),
            Some(reason) => format!("failed: {}", unusable(reason)),
        },
        TrainEnd::Stopped { reason } => format!("stopped by the guard: {reason}"),
        _ => "interrupted".to_owned(),
    };
    lines.add("run", format!("{folder}: {state}"));
    if let Some(step) = outcome.resumed_at {
        lines.add("resumed", format!("at step {step}"));
    }
    lines.add(
        "steps",
        format!("{} of {}", outcome.steps, study.plan.steps),
    );
    lines.add("validation", format!("{:.4}", outcome.validation_metric));
    let guard = &outcome.guard;
    lines.add(
        "guard",
        format!(
            "kept {} · clipped {} · skipped {} · lowered the learning rate {} · rolled back {}",
            guard.kept,
            guard.clipped + guard.clipped_by_policy,
            guard.skipped,
            guard.lowered,
            guard.rolled_back
        ),
    );
    for rollback in &outcome.rollbacks {
        let (at, to) = (rollback.at_step, rollback.to_step);
        lines.add(
            "rolled back",
            format!("at step {at} to the state of step {to}"),
        );
    }
    lines.add(
        "time",
        format!(
            "{:.1} s, including {:.2} s for snapshots",
            outcome.seconds, outcome.snapshot_seconds
        ),
    );
    if outcome.end == TrainEnd::Interrupted {
        lines.add("resume with", format!("steadygrad train --resume {folder}"));
    }
    lines.into_text()
}
