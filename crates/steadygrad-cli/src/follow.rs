use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use steadygrad::guard::Incident;
use steadygrad_commands::output;
use steadygrad_record::{
    RunStatus, StepRecord, has_writer, read_incidents, read_manifest, read_steps,
};

use crate::error::CliError;

/// Time between two looks at the run's folder.
const INTERVAL: Duration = Duration::from_millis(300);

/// Exit code for a run whose process is gone before the run was done.
const GONE: u8 = 1;

/// `steadygrad train --follow`: prints a run's steps and incidents as they are written, until the
/// run ends or its process is gone.
pub(crate) fn follow(run: &Path) -> Result<ExitCode, CliError> {
    let (mut next_step, mut seen) = (0, BTreeSet::new());
    loop {
        // Read before the rows: a run that has ended, or has no process, writes no more of them.
        // The lock comes first: a run that ends writes its status before it lets the lock go.
        let is_gone = has_writer(run) == Some(false);
        let manifest = read_manifest(run)?.value;
        for row in read_steps(run)?.value.rows {
            if row.step >= next_step {
                next_step = row.step + 1;
                output::print(&step_line(&row))?;
            }
        }
        for incident in read_incidents(run)?.value {
            if seen.insert(incident.step) {
                output::print(&incident_line(&incident))?;
            }
        }
        if manifest.status != RunStatus::Running {
            return Ok(ExitCode::SUCCESS);
        }
        if is_gone {
            output::say(&gone(run, next_step, manifest.steps));
            return Ok(ExitCode::from(GONE));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// `planned` is 0 for a guard of PyTorch, which does not know it.
fn gone(run: &Path, recorded: u64, planned: u64) -> String {
    let path = run.display();
    match planned {
        0 => format!(
            "the process of the run is gone after {recorded} recorded steps, and did not close \
             the record; `steadygrad diagnose {path}` judges them"
        ),
        _ => format!(
            "the process of the run is gone after {recorded} of {planned} steps: it was killed, \
             or the disk was full; `steadygrad train --resume {path}` continues it"
        ),
    }
}

fn step_line(row: &StepRecord) -> String {
    format!(
        "step {:>7}  loss {:<10.4e} grad_norm {:<10.3e} learning_rate {:<10.3e} {}\n",
        row.step,
        row.loss,
        row.grad_norm,
        row.learning_rate * row.learning_rate_scale,
        row.decision
    )
}

fn incident_line(incident: &Incident) -> String {
    let judgement = &incident.judgement;
    let first = judgement.detections.first();
    // The step after a rollback is left out without a detection: its decision has the reason.
    let message = first
        .map(|detection| detection.message.as_str())
        .or_else(|| judgement.decision.reason());
    format!(
        "  incident at step {}: {} ({})\n",
        incident.step,
        judgement.decision.name(),
        message.unwrap_or_default()
    )
}
