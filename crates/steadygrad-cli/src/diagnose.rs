use std::process::ExitCode;

use steadygrad::diagnose::{Diagnosis, RunDiagnosis};
use steadygrad::record::write_atomic;
use steadygrad_logs::{Columns, read};

use crate::args::{DiagnoseArgs, Format};
use crate::error::CliError;
use crate::output;
use crate::probe::check_writable;

/// As `probe`: a build that asks for a healthy run should stop.
const FINDINGS: u8 = 1;

/// `steadygrad diagnose`
pub(crate) fn run(args: &DiagnoseArgs) -> Result<ExitCode, CliError> {
    if let Some(path) = &args.html {
        check_writable(path)?;
    }
    let columns = Columns {
        step: args.step.clone(),
        loss: args.loss.clone(),
        grad_norm: args.grad_norm.clone(),
        learning_rate: args.learning_rate.clone(),
    };
    let traces = read(&args.path, &columns)?;
    let diagnosis = Diagnosis {
        version: env!("CARGO_PKG_VERSION").into(),
        path: args.path.display().to_string(),
        runs: traces.iter().map(RunDiagnosis::of).collect(),
    };
    match if args.json { Format::Json } else { args.format } {
        Format::Text => output::print(&steadygrad_report::terminal::diagnosis(&diagnosis))?,
        Format::Json => output::print_json(&diagnosis)?,
        Format::Sarif => output::print_json(&steadygrad_report::sarif::diagnosis(&diagnosis))?,
    }
    // After the printing: a disk that has filled up since must not cost the result.
    if let Some(path) = &args.html {
        write_atomic(
            path,
            steadygrad_report::html::diagnosis(&diagnosis).as_bytes(),
        )?;
        output::say(&format!("page: {}", path.display()));
    }
    Ok(if diagnosis.is_healthy() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FINDINGS)
    })
}
