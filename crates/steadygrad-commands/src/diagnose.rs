use std::path::Path;

use steadygrad::diagnose::Diagnosis;
use steadygrad_logs::{Columns, read};
use steadygrad_record::write_atomic;
use steadygrad_report::{html, json, sarif, terminal};

use crate::args::{DiagnoseArgs, OutputFormat};
use crate::error::CommandError;
use crate::output::{self, check_writable};

/// The exit code of a run with findings, as `probe`'s: a build stops unless the run is healthy.
pub(crate) const FINDINGS: u8 = 1;

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
    let diagnosis = diagnose(&args.path, &columns)?;
    let format = if args.json {
        OutputFormat::Json
    } else {
        args.format
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
    Ok(if diagnosis.is_healthy() { 0 } else { FINDINGS })
}

/// Runs `steadygrad report`.
pub(crate) fn report(path: &Path, out: &Path) -> Result<u8, CommandError> {
    check_writable(out)?;
    write_page(&diagnose(path, &Columns::default())?, out)?;
    Ok(0)
}

fn diagnose(path: &Path, columns: &Columns) -> Result<Diagnosis, CommandError> {
    let traces = read(path, columns)?;
    Ok(Diagnosis::of(path.display().to_string(), &traces))
}

fn write_page(diagnosis: &Diagnosis, path: &Path) -> Result<(), CommandError> {
    write_atomic(path, html::diagnosis(diagnosis).as_bytes())?;
    output::say(&format!("page: {}", path.display()));
    Ok(())
}
