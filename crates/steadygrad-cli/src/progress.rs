use std::collections::HashMap;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use steadygrad::cure::Outcome;
use steadygrad_lab::{Progress, StepProgress};

/// Progress bars on the standard error, one a running trial. Without a terminal they show nothing.
pub(crate) struct Bars {
    all: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self {
            all: MultiProgress::new(),
            running: Mutex::new(HashMap::new()),
        }
    }

    fn with_bar(&self, trial: &str, act: impl FnOnce(&ProgressBar)) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(bar) = running.get(trial) {
            act(bar);
        }
    }
}

impl Progress for Bars {
    fn started(&self, trial: &str, steps: u64) {
        let style = ProgressStyle::with_template("{prefix:26} {bar:30} {pos:>6}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(
            ProgressBar::new(steps)
                .with_style(style)
                .with_prefix(trial.to_owned()),
        );
        self.running
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(trial.to_owned(), bar);
    }

    fn stepped(&self, trial: &str, done: StepProgress<'_>) {
        self.with_bar(trial, |bar| {
            bar.set_position(done.step + 1);
            if done.step.is_multiple_of(10) {
                bar.set_message(message(&done));
            }
        });
    }

    fn ended(&self, trial: &str, outcome: &Outcome) {
        self.with_bar(trial, |bar| {
            bar.finish_and_clear();
            self.all.remove(bar);
        });
        // This fails only if the terminal is gone; the report does not depend on it.
        let _ = self
            .all
            .println(format!("{trial:26} {}", outcome.verdict.name()));
    }

    fn phase(&self, name: &str) {
        let _ = self.all.println(format!("-- {name}"));
    }
}

/// The text beside a bar. It is short: a line that is too long wraps.
fn message(done: &StepProgress<'_>) -> String {
    let guard = done.guard;
    let clipped = (guard.clipped + guard.clipped_by_policy) as f64 / guard.readings.max(1) as f64;
    let interventions = guard.skipped + guard.lowered + guard.rolled_back;
    format!(
        "loss {:.3e}  grad_norm {:.2e}  clipped {:.0}%  interventions {interventions}",
        done.loss,
        done.grad_norm,
        100.0 * clipped
    )
}
