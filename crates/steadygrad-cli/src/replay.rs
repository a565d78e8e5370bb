use std::fmt::Write as _;
use std::process::ExitCode;

use burn::tensor::Device;
use steadygrad_commands::output;
use steadygrad_lab::faults::Faults;
use steadygrad_lab::{
    After, Counterfactual, Culprit, FaultOf, InF64, Plan, ReplayError, ReplayOptions, Replayed,
    Stage, Subject, SubjectVisitor, TrainError, replay,
};
use steadygrad_record::Problem;

use crate::args::ReplayArgs;
use crate::error::CliError;
use crate::run_settings::RunSettings;

/// The replay does not meet the record.
const DIFFERENT: u8 = 1;

/// Samples that are named; the JSON has all.
const NAMED: usize = 8;

/// `steadygrad replay`
pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode, CliError> {
    let settings = RunSettings::read(&args.run)?;
    let study = settings.study(&args.run)?;
    let device = Device::default().autodiff();
    let subject = study.load(&device)?;
    let faults = Faults::new(settings.faults, study.plan.seed).map_err(TrainError::from)?;
    let options = ReplayOptions {
        run: &args.run,
        incident: args.incident,
        guard: settings.preset.into(),
        faults: &faults,
        in_f64: args.in_type.is_some(),
        without_decision: args.without_decision,
    };
    let (replayed, problems) = subject.visit(Replay {
        plan: &study.plan,
        options,
        device: &device,
    })?;
    for problem in &problems {
        output::say(&format!("note: {problem}"));
    }
    if args.json {
        output::print_json(&replayed)?;
    } else {
        output::print(&text(&replayed, args))?;
    }
    Ok(match replayed.difference {
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
    type Output = Result<(Replayed, Vec<Problem>), ReplayError>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        replay(subject, self.plan, &self.options, self.device)
    }
}

fn text(replayed: &Replayed, args: &ReplayArgs) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name:<14} {value}");
    };
    let incident = &replayed.incident;
    let judgement = &incident.judgement;
    line(
        &format!("incident {}", args.incident),
        format!("step {}: {}", incident.step, judgement.decision.name()),
    );
    for seen in &judgement.detections {
        line("", seen.message.clone());
    }
    let from = match replayed.from_step {
        0 => "the start of the run".to_owned(),
        step => format!("the snapshot of step {step}"),
    };
    let same = match &replayed.difference {
        None => format!(
            "the {} recorded steps have the same batches, losses and norms, to the bit",
            replayed.compared
        ),
        Some(found) => format!(
            "at step {} {} is {:e}, in the record {:e}: another build or machine, or memory and \
             kernels that do not repeat",
            found.step, found.what, found.replayed, found.recorded
        ),
    };
    line("replayed", format!("from {from}; {same}"));
    match &replayed.culprit {
        None => line(
            "first wrong",
            "nothing: no value is out of proportion to the step before".to_owned(),
        ),
        Some(culprit) => told(culprit, &mut line),
    }
    if let Some(in_f64) = &replayed.in_f64 {
        let (numbers, fault) = compared(in_f64);
        line("in f64", numbers);
        line("", fault.to_owned());
    }
    if let Some(counterfactual) = &replayed.counterfactual {
        let Counterfactual {
            steps,
            with,
            without,
        } = counterfactual;
        line("with guard", format!("after {steps} steps {}", went(with)));
        line("without", format!("after {steps} steps {}", went(without)));
        let worth = match counterfactual.worth_it() {
            Some(true) => "the decision was worth it",
            Some(false) => "the decision was not worth it",
            None => "the decision made no difference",
        };
        line("", worth.to_owned());
    }
    lines
}

fn told(culprit: &Culprit, line: &mut impl FnMut(&str, String)) {
    let place = match culprit.stage {
        Stage::Weights => format!("the weights `{}`, before the step", culprit.layer),
        Stage::Forward | Stage::Backward | Stage::AfterBackward => {
            format!("{}: {}", culprit.layer, culprit.operation)
        }
    };
    line("first wrong", place);
    let usual = match culprit.usual {
        Some(usual) => format!(", in the step before {usual:.3e}"),
        None => String::new(),
    };
    let values = match culprit.non_finite {
        0 => format!("up to {:.3e}{usual}", culprit.largest),
        count => format!(
            "{count} values are NaN or infinite, the others up to {:.3e}{usual}",
            culprit.largest
        ),
    };
    line("", values);
    if !culprit.samples.is_empty() {
        let named: Vec<String> = culprit
            .samples
            .iter()
            .take(NAMED)
            .map(u64::to_string)
            .collect();
        let more = match culprit.samples.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        line(
            "",
            format!("rows of the training data: {}{more}", named.join(", ")),
        );
    }
    if culprit.passed_on > 0 {
        line(
            "",
            format!("passed on by {} places after it", culprit.passed_on),
        );
    }
}

fn compared(in_f64: &InF64) -> (String, &'static str) {
    let numbers = format!(
        "loss {:.6e} (as it ran {:.6e}), gradient norm {:.6e} ({:.6e})",
        in_f64.loss_f64, in_f64.loss, in_f64.grad_norm_f64, in_f64.grad_norm
    );
    let fault = match in_f64.fault {
        FaultOf::WhatWentIn => {
            "not finite in f64 either: what went into the step was broken, or it leaves every format"
        }
        FaultOf::TheNumberFormat => "finite in f64: the number format cannot hold the step",
        FaultOf::TheTraining => "the same in f64: the training or its data, not the number format",
        FaultOf::RoundOffOrKernel => {
            "finite in both and not the same: round-off of an ill-conditioned step, or a kernel"
        }
    };
    (numbers, fault)
}

fn went(after: &After) -> String {
    let broken = match after.first_non_finite {
        Some(step) => format!(", not finite from step {step} on"),
        None => String::new(),
    };
    format!(
        "loss {:.4e}, validation {:.4}{broken}",
        after.loss, after.validation_metric
    )
}
