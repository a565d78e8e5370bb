use std::process::ExitCode;

use burn::tensor::Device;
use steadygrad::cure::CureReport;
use steadygrad_commands::{OutputError, output};
use steadygrad_lab::{Control, Job, Study, Subject, SubjectVisitor, Work, cure};
use steadygrad_record::{RecordError, write_atomic};

use crate::args::CureArgs;
use crate::error::CliError;
use crate::interrupt::{INTERRUPTED, cancel_on_ctrl_c};
use crate::output_folder::output_folder;
use crate::progress::Bars;
use crate::study;

/// `steadygrad cure`
pub(crate) fn run(args: &CureArgs) -> Result<ExitCode, CliError> {
    let mut study = study::chosen(&args.study)?;
    if let Some(steps) = args.steps {
        study.plan.steps = steps;
    }
    let device = Device::default().autodiff();
    let jobs = jobs(args.jobs, &study);
    let subject = study::load(&study, Work::Measure { trials: jobs }, &device)?;
    let out = output_folder(args.out.as_deref(), study.subject_name())?;

    let cancelled = cancel_on_ctrl_c()?;
    let job = Job {
        out: Some(out.clone()),
        study: Some(study.to_toml()),
        workers: jobs,
        ..Job::default()
    };
    let bars = Bars::new();
    let report = subject.visit(Cure {
        study: &study,
        job: &job,
        device: &device,
        control: Control {
            cancelled: &cancelled,
            progress: &bars,
        },
    })?;

    let json = steadygrad_report::json::cure(&report)
        .map_err(|error| OutputError::Json(error.to_string()))?;
    write_atomic(&out.join("study.toml"), study.to_toml().as_bytes())?;
    write_atomic(&out.join("report.json"), json.as_bytes())?;
    write_atomic(
        &out.join("report.html"),
        steadygrad_report::html::cure(&report).as_bytes(),
    )?;
    if args.json {
        output::print(&(json + "\n"))?;
    } else {
        output::print(&steadygrad_report::terminal::cure(&report))?;
    }
    if report.interrupted {
        output::say(&format!(
            "interrupted; the finished trials are in {}",
            out.display()
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    output::say(&format!("report: {}", out.join("report.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// The trials that run side by side: as many as the user wants, or as the cores and the memory
/// allow.
fn jobs(wanted: Option<u16>, study: &Study) -> usize {
    let fits = |trials: &usize| {
        study
            .check_memory(Work::Measure { trials: *trials })
            .is_ok()
    };
    wanted.map_or_else(
        || (1..=Job::default().workers).rev().find(fits).unwrap_or(1),
        usize::from,
    )
}

struct Cure<'a> {
    study: &'a Study,
    job: &'a Job,
    device: &'a Device,
    control: Control<'a>,
}

impl SubjectVisitor for Cure<'_> {
    type Output = Result<CureReport, RecordError>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        let diff = |remedy: &_| Some(self.study.diff(remedy));
        let plan = &self.study.plan;
        cure(subject, plan, self.job, self.device, self.control, diff)
    }
}
