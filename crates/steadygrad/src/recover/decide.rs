use super::config::RecoverConfig;
use super::evidence::Evidence;
use super::ladder::LadderState;
use super::need::{Need, need};
use super::phase::Phase;
use super::rung::{Rung, Verdict};
use super::snapshots::Snapshots;
use super::still::Waiting;
use crate::Decision;
use crate::detect::{Detection, Detector, Severity};

/// The reason of a step that is left out after a rollback.
const TRIED: &str =
    "after the rollback, one step is left out to see whether the weights stand still";

impl LadderState {
    /// Decides about one reading.
    pub(crate) fn decide(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        detections: &[Detection],
    ) -> Verdict {
        if let Some(reason) = self.stopped() {
            return Verdict::stop(reason.to_owned());
        }
        let seen = Evidence(detections);
        if let Some(verdict) = self.wait(config, snapshots, seen) {
            return verdict;
        }
        match seen.worst() {
            Some(worst) => {
                self.count_harm(config, seen);
                let need = need(self, config, seen);
                self.act(config, snapshots, worst, need)
            }
            None => self.rest(config, snapshots, seen),
        }
    }

    /// Waits, after a rollback, for weights that stand still. While steps are skipped it shows
    /// whether something other than the optimizer writes to the weights; while they are trained it
    /// does not. `None` when nothing is waited for.
    fn wait(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        seen: Evidence<'_>,
    ) -> Option<Verdict> {
        let Phase::Waiting { still, .. } = &mut self.phase else {
            return None;
        };
        if seen.is_harmful(Detector::NonFinite) {
            // Nothing can be said about the weights, and something has to be done.
            return None;
        }
        let written = seen.harmful(Detector::WeightGrowth);
        let next = still.next(written, config.level_patience);
        self.streak.disturb();
        let damage = match next {
            Waiting::Try => return Some(Verdict::skip(TRIED.into())),
            Waiting::Moving(damage) => {
                let message = damage.message;
                return Some(Verdict::skip(format!(
                    "{message}: something other than the optimizer writes to the weights"
                )));
            }
            Waiting::Still => {
                self.phase.end_wait();
                return None;
            }
            Waiting::WasMoved(damage) => damage,
            Waiting::Endless(damage) => {
                self.is_written_to = true;
                damage
            }
        };
        self.phase.end_wait();
        self.damaged = true;
        Some(self.act(config, snapshots, &damage, Need::ROLLBACK))
    }

    /// A reading without harm: the learning rate may climb, and a spike is clipped.
    fn rest(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        seen: Evidence<'_>,
    ) -> Verdict {
        let suspicious = seen.has(Severity::Suspicious);
        self.streak.count_harmless(suspicious);
        self.rate.accept();
        if !suspicious {
            snapshots.count_calm();
        }
        if self.streak.calm >= config.cool_down as u64 {
            self.damaged = false;
            self.phase.settle();
            self.abandon_for_good(snapshots);
        }
        self.climb(config);
        match seen.clip_coefficient() {
            Some(coefficient) if config.clip => {
                Verdict::of(Rung::Clip, Decision::ScaleGlobal { coefficient })
            }
            _ => Verdict::KEEP,
        }
    }

    fn climb(&mut self, config: &RecoverConfig) {
        if self.rate.scale() >= 1.0 {
            return;
        }
        let troubles = self.lowerings.spent() + self.rollbacks.spent();
        // The wait doubles with each; 2^10 times the wait is longer than any budget's window.
        let doubled = 1u64 << troubles.saturating_sub(1).min(10);
        if self.streak.calm >= (config.cool_down as u64).saturating_mul(doubled) {
            self.rate.climb(config.climb);
        }
    }

    /// The adapter could not go back: another snapshot, or the end.
    pub(crate) fn rollback_failed(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        step: u64,
        why: &str,
    ) -> Verdict {
        if let Some(reason) = self.stopped() {
            return Verdict::stop(reason.to_owned());
        }
        let taking_up = snapshots.abandoned() == Some(step);
        snapshots.lost(step);
        let reason = format!("the snapshot of step {step} cannot be restored: {why}");
        if taking_up {
            // The snapshot that the run is at is good as well.
            self.doubt = None;
            return self.new_level(config, reason);
        }
        match self.last_good(config, snapshots) {
            // The same rollback, to another state: it is paid for, and the learning rate is low.
            Some(to_step) => {
                snapshots.ask(to_step);
                Verdict::roll_back(to_step, reason)
            }
            None => self.stop(&reason),
        }
    }
}
