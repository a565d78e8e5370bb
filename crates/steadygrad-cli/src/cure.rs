use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use burn::tensor::Device;
use steadygrad::cure::CureReport;
use steadygrad_commands::{OutputError, output};
use steadygrad_lab::{Control, Job, LoadedSubject, Study, Subject};
use steadygrad_record::{RecordError, write_atomic};

use crate::args::CureArgs;
use crate::error::CliError;
use crate::progress::Bars;
use crate::study;

/// The shell's convention for a program ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// `steadygrad cure`
pub(crate) fn run(args: &CureArgs) -> Result<ExitCode, CliError> {
    let mut study = study::chosen(args.study.as_deref(), &args.subject, args.seed)?;
    if let Some(steps) = args.steps {
        study.plan.steps = steps;
    }
    let device = Device::default().autodiff();
    let subject = study.load(&device)?;
    let out = out_folder(args.out.as_deref(), study.subject_name())?;

    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    ctrlc::set_handler(move || {
        // A second Ctrl-C means it: end at once.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    let job = Job {
        out: Some(out.clone()),
        workers: args
            .jobs
            .map(usize::from)
            .unwrap_or_else(|| available_parallelism().map_or(1, usize::from)),
        fresh_seeds: 3,
        study: Some(study.to_toml()),
    };
    let bars = Bars::new();
    let control = Control {
        cancelled: &cancelled,
        progress: &bars,
    };
    let report = match &subject {
        LoadedSubject::Mlp(subject) => cure(subject, &study, &job, &device, control)?,
        LoadedSubject::Rnn(subject) => cure(subject, &study, &job, &device, control)?,
        LoadedSubject::Cnn(subject) => cure(subject, &study, &job, &device, control)?,
    };

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
            "interrupted; what was done is in {}",
            out.display()
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    output::say(&format!("report: {}", out.join("report.html").display()));
    Ok(ExitCode::SUCCESS)
}

fn cure<S: Subject>(
    subject: &S,
    study: &Study,
    job: &Job,
    device: &Device,
    control: Control<'_>,
) -> Result<CureReport, RecordError> {
    let diff = |remedy: &_| Some(study.diff(remedy));
    steadygrad_lab::cure(subject, &study.plan, job, device, control, diff)
}

/// Makes sure, before any work, that the results have a place of their own.
pub(crate) fn out_folder(wanted: Option<&Path>, subject: &str) -> Result<PathBuf, RecordError> {
    let path = wanted.map_or_else(|| next_free(subject), Path::to_owned);
    let io = |action: &'static str| {
        let path = path.clone();
        move |source| RecordError::Io {
            action,
            path,
            source,
        }
    };
    std::fs::create_dir_all(&path).map_err(io("create the output folder"))?;
    if std::fs::read_dir(&path)
        .map_err(io("list"))?
        .next()
        .is_some()
    {
        return Err(RecordError::NotEmpty { path });
    }
    // A folder that exists may still refuse files.
    let probe = path.join(".steadygrad-probe");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(io("write into"))?;
    Ok(path)
}

/// `runs/digits-mlp-1`, `-2` and so on: no earlier result is overwritten.
fn next_free(subject: &str) -> PathBuf {
    (1u32..)
        .map(|number| Path::new("runs").join(format!("{subject}-{number}")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| Path::new("runs").join(subject))
}
