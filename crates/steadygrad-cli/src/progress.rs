use std::collections::HashMap;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use steadygrad::cure::Outcome;
use steadygrad_lab::Progress;

/// One bar a running trial, on the standard error; nothing when that is not a terminal.
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

    fn stepped(&self, trial: &str, step: u64, loss: f64) {
        self.with_bar(trial, |bar| {
            bar.set_position(step + 1);
            if step.is_multiple_of(10) {
                bar.set_message(format!("loss {loss:.3e}"));
            }
        });
    }

    fn ended(&self, trial: &str, outcome: &Outcome) {
        self.with_bar(trial, |bar| {
            bar.finish_and_clear();
            self.all.remove(bar);
        });
        // Fails only when the terminal is gone; the report does not depend on it.
        let _ = self
            .all
            .println(format!("{trial:26} {}", outcome.verdict.name()));
    }

    fn phase(&self, name: &str) {
        let _ = self.all.println(format!("-- {name}"));
    }
}
