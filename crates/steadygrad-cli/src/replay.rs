use std::process::ExitCode;

use burn::tensor::Device;
use steadygrad_commands::output;
use steadygrad_lab::faults::Faults;
use steadygrad_lab::{
    Plan, ReplayError, ReplayOptions, ReplayReport, Subject, SubjectVisitor, TrainError, Work,
    replay,
};
use steadygrad_record::Problem;

use crate::args::ReplayArgs;
use crate::error::CliError;
use crate::replay_text::text;
use crate::run_settings::RunSettings;
use crate::study;

/// Exit code of a replay that differs from the record.
const DIFFERENT: u8 = 1;

/// `steadygrad replay`
pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode, CliError> {
    let settings = RunSettings::read(&args.run)?;
    let study = settings.study(&args.run)?;
    let device = Device::default().autodiff();
    let subject = study::load(&study, Work::Train, &device)?;
    let faults = Faults::new(settings.faults, study.plan.seed).map_err(TrainError::from)?;
    let (report, problems) = subject.visit(Replay {
        plan: &study.plan,
        options: ReplayOptions {
            run: &args.run,
            incident: args.incident,
            guard: settings.preset.into(),
            faults: &faults,
            in_f64: args.in_type.is_some(),
            without_decision: args.without_decision,
        },
        device: &device,
    })?;
    for problem in &problems {
        output::say(&format!("note: {problem}"));
    }
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&text(&report, args.incident))?;
    }
    Ok(match report.difference {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(DIFFERENT),
    })
}

struct Replay<'a> {
    plan: &'a Plan,
    options: ReplayOptions<'a>,
    device: &'a Device,
}

impl SubjectVisitor for Replay<'_> {
    type Output = Result<(ReplayReport, Vec<Problem>), ReplayError>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        replay(subject, self.plan, &self.options, self.device)
    }
}
