use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use steadygrad::probe::ProbeReport;
use steadygrad_commands::OutputError;
use steadygrad_commands::output::{self, check_writable};
use steadygrad_lab::{Control, Plan, ProbeOptions, Subject, SubjectVisitor, Work, probe};
use steadygrad_record::write_atomic;

use crate::args::ProbeArgs;
use crate::error::CliError;
use crate::progress::Bars;
use crate::study;

/// Exit code for findings and for a run that will probably diverge, so that a build can stop.
const FINDINGS: u8 = 1;

/// `steadygrad probe`
pub(crate) fn run(args: &ProbeArgs) -> Result<ExitCode, CliError> {
    let study = study::chosen(&args.study)?;
    if let Some(path) = &args.html {
        check_writable(path)?;
    }
    let device = Device::default().autodiff();
    let subject = study::load(&study, Work::Measure { trials: 0 }, &device)?;
    let (bars, cancelled) = (Bars::new(), AtomicBool::new(false));
    let report = subject.visit(Probe {
        plan: &study.plan,
        options: ProbeOptions {
            study: Some(study.to_toml()),
            always_twins: args.twins,
        },
        device: &device,
        control: Control {
            cancelled: &cancelled,
            progress: &bars,
        },
    });
    if args.json {
        let json = steadygrad_report::json::probe(&report)
            .map_err(|error| OutputError::Json(error.to_string()))?;
        output::print(&(json + "\n"))?;
    } else {
        output::print(&steadygrad_report::terminal::probe(&report))?;
    }
    // The page comes after the text: a disk that has become full must not cost the result.
    if let Some(path) = &args.html {
        write_atomic(path, steadygrad_report::html::probe(&report).as_bytes())?;
        output::say(&format!("page: {}", path.display()));
    }
    Ok(if report.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FINDINGS)
    })
}

struct Probe<'a> {
    plan: &'a Plan,
    options: ProbeOptions,
    device: &'a Device,
    control: Control<'a>,
}

impl SubjectVisitor for Probe<'_> {
    type Output = ProbeReport;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        probe(subject, self.plan, self.options, self.device, self.control)
    }
}
