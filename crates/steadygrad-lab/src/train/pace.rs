use std::time::{Duration, Instant};

/// A snapshot is written at the earliest so many steps after the last one: what a killed run loses
/// at most, where writing is cheap.
const SNAPSHOT_STEPS: u64 = 100;

/// Writing snapshots may take this share of the run's time: half of the 3 % that a guard may cost
/// in all. Where it is dear, they are written more seldom.
const SNAPSHOT_SHARE: f64 = 0.01;

/// What the first one is expected to take: a few files, synced, on an ordinary disk. A run of less
/// than half a second has none before its end.
const FIRST_SNAPSHOT: Duration = Duration::from_millis(5);

/// When a snapshot is due: by steps, and by what the last one took.
pub(super) struct Pace {
    last_step: u64,
    last_time: Instant,
    took: Duration,
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
