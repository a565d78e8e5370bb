use std::path::Path;

use steadygrad::diagnose::{Diagnosis, RunDiagnosis};
use steadygrad_logs::{Columns, read};
use steadygrad_record::write_atomic;

use crate::args::{DiagnoseArgs, Format};
use crate::error::DiagnoseError;
use crate::output::{self, check_writable};

/// As `probe`: a build that asks for a healthy run should stop.
pub(crate) const FINDINGS: u8 = 1;

/// `steadygrad diagnose`
pub(crate) fn run(args: &DiagnoseArgs) -> Result<u8, DiagnoseError> {
    if let Some(path) = &args.html {
        check_writable(path)?;
    }
    let columns = Columns {
        step: args.step.clone(),
        loss: args.loss.clone(),
        grad_norm: args.grad_norm.clone(),
        learning_rate: args.learning_rate.clone(),
    };
    let diagnosis = of(&args.path, &columns)?;
    match if args.json { Format::Json } else { args.format } {
        Format::Text => output::print(&steadygrad_report::terminal::diagnosis(&diagnosis))?,
        Format::Json => output::print_json(&diagnosis)?,
        Format::Sarif => output::print_json(&steadygrad_report::sarif::diagnosis(&diagnosis))?,
    }
    // After the printing: a disk that has filled up since must not cost the result.
    if let Some(path) = &args.html {
        write_page(&diagnosis, path)?;
    }
    Ok(if diagnosis.is_healthy() { 0 } else { FINDINGS })
}

/// `steadygrad report`
pub(crate) fn report(path: &Path, out: &Path) -> Result<u8, DiagnoseError> {
    check_writable(out)?;
    write_page(&of(path, &Columns::default())?, out)?;
    Ok(0)
}

fn of(path: &Path, columns: &Columns) -> Result<Diagnosis, DiagnoseError> {
    let traces = read(path, columns)?;
    Ok(Diagnosis {
        version: env!("CARGO_PKG_VERSION").into(),
        path: path.display().to_string(),
        runs: traces.iter().map(RunDiagnosis::of).collect(),
    })
}

fn write_page(diagnosis: &Diagnosis, path: &Path) -> Result<(), DiagnoseError> {
    write_atomic(
        path,
        steadygrad_report::html::diagnosis(diagnosis).as_bytes(),
    )?;
    output::say(&format!("page: {}", path.display()));
    Ok(())
}
