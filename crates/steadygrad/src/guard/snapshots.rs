use super::config::Response;
use super::judgement::Judgement;
use super::state::Guard;
use crate::Decision;
use crate::detect::DetectorConfig;
use crate::recover::Verdict;

impl Guard {
    /// Whether the adapter should take a snapshot now, before step `step`: weights, optimizer,
    /// scheduler and random generators, and the guard itself when it is to outlive the process.
    ///
    /// An adapter that cannot take one may ignore this: the guard then never rolls back.
    pub fn wants_snapshot(&self, step: u64) -> bool {
        self.recover().is_some_and(|recover| {
            recover.max_rollbacks > 0
                && self.ladder.stopped().is_none()
                && self.snapshots.pending().is_none()
                && self.ladder.is_calm(recover)
                && self
                    .snapshots
                    .is_due(recover.snapshots, self.ladder.clock())
                && !self.snapshots.steps().any(|kept| kept == step)
        })
    }

    /// Tells the guard that the adapter took a snapshot before step `step`. It is on probation: see
    /// [`SnapshotConfig`](crate::recover::SnapshotConfig).
    pub fn snapshot_taken(&mut self, step: u64) {
        if let Response::Recover(recover) = &self.config.response {
            let clock = self.ladder.clock();
            self.snapshots
                .add(recover.snapshots, step, clock, &self.detectors);
        }
    }

    /// The steps of the snapshots that the guard may still ask for, oldest first. The adapter may
    /// drop all others at any time.
    pub fn snapshots(&self) -> impl Iterator<Item = u64> {
        self.snapshots.steps()
    }

    /// The step whose snapshot a run that ends by [`Decision::Stop`] should be left with: the last
    /// state that is known to be good. `None` where there is none, and the weights stay as they
    /// are.
    pub fn last_good(&self) -> Option<u64> {
        let recover = self.recover()?;
        self.ladder.last_good(recover, &self.snapshots)
    }

    /// Tells a guard that was loaded that the snapshots of its time are gone. It asks for none of
    /// them any more, and wants one before the next step. If the run was calm, that one is as good
    /// as a snapshot from before the first step: it is the user's own checkpoint.
    pub fn forget_snapshots(&mut self) {
        self.ladder.abandon_for_good(&mut self.snapshots);
        self.snapshots.forget_all(self.ladder.clock());
    }

    /// Whether an adapter that was asked to [roll back](Decision::Rollback) should keep the state
    /// that it leaves, in addition to its snapshots.
    ///
    /// Only losses speak against that state. Should the snapshot have the same losses from its
    /// first reading on, the data cause them. The guard then asks for the state that was left, with
    /// another [`Decision::Rollback`]. An adapter that cannot keep it may ignore this.
    pub fn wants_abandoned(&self) -> bool {
        self.ladder.has_abandoned() && self.snapshots.abandoned().is_none()
    }

    /// Tells the guard that the adapter restored the snapshot of step `step`. The running scales
    /// are again those of that time; the ladder's budgets are not.
    pub fn rolled_back(&mut self, step: u64) {
        self.go_back(step);
        self.ladder.abandon_for_good(&mut self.snapshots);
    }

    /// Tells the guard that the adapter restored the snapshot of step `step`, and keeps the state
    /// that it left as that of step `left`, as it was [asked](Guard::wants_abandoned). That state
    /// is one of [`snapshots`](Guard::snapshots) while it may be needed.
    pub fn rolled_back_from(&mut self, left: u64, step: u64) {
        let detectors = self.detectors.clone();
        self.go_back(step);
        if self.wants_abandoned() {
            self.snapshots.keep_abandoned(left, detectors);
        }
    }

    fn go_back(&mut self, step: u64) {
        let clock = self.ladder.clock();
        let takes_up = self.snapshots.abandoned() == Some(step);
        if let Some(detectors) = self.snapshots.restored(step, clock) {
            self.detectors = detectors;
        }
        if takes_up {
            self.detectors.forget_levels();
            self.ladder.took_up();
            return;
        }
        let largest = DetectorConfig::largest_learning_rate(&self.detectors);
        self.ladder.rolled_back(step, largest);
    }

    /// Tells the guard that the snapshot of step `step` cannot be restored. The judgement asks for
    /// another one, or ends the run.
    pub fn rollback_failed(&mut self, step: u64, why: &str) -> Judgement {
        self.summary.failed_rollbacks += 1;
        let verdict = match &self.config.response {
            Response::Recover(recover) => {
                self.ladder
                    .rollback_failed(recover, &mut self.snapshots, step, why)
            }
            Response::Observe | Response::Stop => Verdict::KEEP,
        };
        let decision = verdict.decision.unwrap_or(Decision::Keep);
        self.judgement(verdict.rung, decision, Vec::new())
    }

    /// An adapter that goes on without an answer to a rollback cannot restore its snapshot.
    pub(super) fn expect_no_answer(&mut self) {
        if let Some(step) = self.snapshots.pending() {
            self.snapshots.lost(step);
            self.summary.failed_rollbacks += 1;
        }
    }
}
