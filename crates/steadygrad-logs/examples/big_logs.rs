//! Measures the time and the memory that a large log needs.
//!
//! `cargo run --release -p steadygrad-logs --example big_logs -- csv DIR` writes a table of a
//! million rows and 50 columns to DIR. It then reads and diagnoses the table. `events FILE` reads
//! and diagnoses any event file.
#![allow(
    clippy::print_stdout,
    reason = "a measurement reports to its standard output"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use steadygrad::diagnose::RunDiagnosis;
use steadygrad_logs::{Columns, read};

const ROWS: u64 = 1_000_000;
const PARAMETERS: u64 = 46;

fn table(folder: &Path) -> std::io::Result<PathBuf> {
    let path = folder.join("metrics.csv");
    let mut file = BufWriter::new(File::create(&path)?);
    write!(file, "step,train/loss,train/grad_norm,lr")?;
    for parameter in 0..PARAMETERS {
        write!(file, ",grad_norm/layers.{parameter}.weight")?;
    }
    writeln!(file)?;
    // The noise is deterministic, and adjacent values differ.
    let mut state = 1u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        1.0 + (state >> 40) as f64 / (1u64 << 25) as f64
    };
    for row in 0..ROWS {
        let loss = 2.0 * (-(row as f64) / 2e5).exp() + 0.1 * noise();
        write!(file, "{row},{loss:.7},{:.7},0.001", noise())?;
        for _ in 0..PARAMETERS {
            write!(file, ",{:.7}", 0.1 * noise())?;
        }
        writeln!(file)?;
    }
    file.into_inner()?;
    Ok(path)
}

/// Returns the peak memory of this process, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["csv", folder] => table(Path::new(folder))?,
        ["events", file] => PathBuf::from(file),
        _ => return Err("give `csv DIR` or `events FILE`".into()),
    };
    let size = std::fs::metadata(&path)?.len() as f64 / 1e6;
    let begin = Instant::now();
    let traces = read(&path, &Columns::default())?;
    let read = begin.elapsed().as_secs_f64();
    for trace in &traces {
        let found = RunDiagnosis::of(trace);
        println!(
            "{}: {} rows, {:?}, {} findings",
            found.name,
            found.rows,
            found.state,
            found.findings.len()
        );
    }
    println!(
        "{size:.0} MB: read in {read:.2} s, diagnosed after {:.2} s, peak {:.0} MiB",
        begin.elapsed().as_secs_f64(),
        peak()
    );
    Ok(())
}
