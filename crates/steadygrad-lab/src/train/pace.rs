use std::time::{Duration, Instant};

/// Smallest number of steps between two snapshots. It is also the most that a killed run loses if
/// writing is cheap.
const SNAPSHOT_STEPS: u64 = 100;

/// Largest share of the run's time for writing snapshots: a third of the 3 % that a guard may cost.
/// If writing is slow, snapshots are written less often.
const SNAPSHOT_SHARE: f64 = 0.01;

/// Assumed duration of the first snapshot: a few synced files on an ordinary disk. A run of less
/// than half a second has no snapshot before its end.
const FIRST_SNAPSHOT: Duration = Duration::from_millis(5);

/// Decides when a snapshot is due: from the steps since the last one, and its duration.
pub(super) struct Pace {
    last_step: u64,
    last_time: Instant,
    took: Duration,
    /// Time spent on all snapshots.
    pub(super) spent: Duration,
}

impl Pace {
    pub(super) fn new(step: u64) -> Self {
        Self {
            last_step: step,
            last_time: Instant::now(),
            took: FIRST_SNAPSHOT,
            spent: Duration::ZERO,
        }
    }

    pub(super) fn is_due(&self, step: u64) -> bool {
        step >= self.last_step + SNAPSHOT_STEPS
            && self.last_time.elapsed().as_secs_f64() * SNAPSHOT_SHARE >= self.took.as_secs_f64()
    }

    pub(super) fn written(&mut self, step: u64, took: Duration) {
        self.last_step = step;
        self.last_time = Instant::now();
        self.took = took;
        self.spent += took;
    }
}
