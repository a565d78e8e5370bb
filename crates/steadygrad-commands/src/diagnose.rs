use std::path::Path;

use steadygrad::Trace;
use steadygrad::diagnose::{Diagnosis, FindingLevel, RunDiagnosis, RunState};
use steadygrad::trace::Objective;
use steadygrad_logs::{Columns, read};
use steadygrad_record::write_atomic;
use steadygrad_report::{html, json, sarif, terminal};

use crate::args::{DiagnoseArgs, FailOn, OutputFormat};
use crate::error::CommandError;
use crate::output::{self, check_writable};
use crate::stream;

/// The exit code of a run with findings, as `probe`'s.
const FINDINGS: u8 = 1;

/// The path that means the standard input.
const STDIN: &str = "-";

/// Runs `steadygrad diagnose`.
pub(crate) fn run(args: &DiagnoseArgs) -> Result<u8, CommandError> {
    if let Some(path) = &args.html {
        check_writable(path)?;
    }
    let columns = Columns {
        step: args.step.clone(),
        loss: args.loss.clone(),
        grad_norm: args.grad_norm.clone(),
        learning_rate: args.learning_rate.clone(),
    };
    let format = if args.json {
        OutputFormat::Json
    } else {
        args.format
    };
    let objective = args.objective.chosen();
    let diagnosis = if args.path == Path::new(STDIN) {
        let is_text = matches!(format, OutputFormat::Text);
        let as_diagnosis = |traces: Vec<Trace>| diagnosis(STDIN, traces, objective);
        stream::diagnose(&columns, as_diagnosis, is_text)?
    } else {
        let path = args.path.display().to_string();
        diagnosis(&path, read(&args.path, &columns)?, objective)
    };
    output::print(&match format {
        OutputFormat::Text => terminal::diagnosis(&diagnosis),
        OutputFormat::Json => json::diagnosis(&diagnosis)? + "\n",
        OutputFormat::Sarif => sarif::diagnosis(&diagnosis)? + "\n",
    })?;
    // After the printing: a disk that is full by now must not cost the result.
    if let Some(path) = &args.html {
        write_page(&diagnosis, path)?;
    }
    let failed = diagnosis
        .runs
        .iter()
        .any(|run| has_failed(run, args.fail_on));
    Ok(if failed { FINDINGS } else { 0 })
}

/// Runs `steadygrad report`.
pub(crate) fn report(path: &Path, out: &Path) -> Result<u8, CommandError> {
    check_writable(out)?;
    let traces = read(path, &Columns::default())?;
    write_page(&diagnosis(&path.display().to_string(), traces, None), out)?;
    Ok(0)
}

fn diagnosis(path: &str, mut traces: Vec<Trace>, objective: Option<Objective>) -> Diagnosis {
    if let Some(objective) = objective {
        for trace in &mut traces {
            trace.objective = objective;
        }
    }
    Diagnosis::of(path, &traces)
}

/// Whether a build must stop.
fn has_failed(run: &RunDiagnosis, fail_on: FailOn) -> bool {
    let least = match fail_on {
        FailOn::Never => return false,
        FailOn::Error => FindingLevel::Error,
        FailOn::Warning => FindingLevel::Warning,
    };
    let is_lost = matches!(
        run.state,
        RunState::NonFinite { .. } | RunState::Diverged { .. } | RunState::Relapsed { .. }
    );
    is_lost || run.cut_short.is_some() || run.findings.iter().any(|found| found.level >= least)
}

fn write_page(diagnosis: &Diagnosis, path: &Path) -> Result<(), CommandError> {
    write_atomic(path, html::diagnosis(diagnosis).as_bytes())?;
    output::say(&format!("page: {}", path.display()));
    Ok(())
}
