use super::config::RecoverConfig;
use super::ladder::LadderState;
use super::need::{Jump, Need};
use super::rate::RISEN;
use super::rung::{Rung, Verdict};
use super::snapshots::Snapshots;
use crate::Decision;
use crate::detect::{Detection, Detector};

impl LadderState {
    /// Does the least that gives what is needed and is still within its budget.
    pub(super) fn act(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        worst: &Detection,
        need: Need<'_>,
    ) -> Verdict {
        let why = &worst.message;
        match need {
            Need::Skip => self.skip(why.clone()),
            Need::Lower => {
                let left = self.lowerings.spent() < config.max_lowerings;
                if left && self.rate.scale() * config.lower_factor >= config.min_scale {
                    self.lower(config.lower_factor, why)
                } else {
                    self.act(config, snapshots, worst, Need::ROLLBACK)
                }
            }
            // It has no budget: the rate that is applied stays what it was.
            Need::WarmUp(jump) => self.warm_up(jump, why),
            Need::BackBeforeRise(jump) => self
                .back_before_rise(config, snapshots, jump)
                .unwrap_or_else(|| self.warm_up(jump, why)),
            Need::Rollback { for_losses_alone } => {
                self.abandon_for_good(snapshots);
                match self.last_good(config, snapshots) {
                    Some(_) if !self.can_roll_back(config) => self.stop(why),
                    Some(to_step) => {
                        let in_doubt = for_losses_alone && !self.rate.rises();
                        self.doubt = in_doubt.then_some(self.rate.scale());
                        self.roll_back(config, snapshots, to_step, why)
                    }
                    None => self.without_snapshots(config, snapshots, worst),
                }
            }
            Need::NewLevel => match self.take_up(snapshots, why) {
                Some(verdict) => verdict,
                None => self.accept_level(config, snapshots, why),
            },
        }
    }

    fn can_roll_back(&self, config: &RecoverConfig) -> bool {
        self.rollbacks.spent() < config.max_rollbacks
    }

    fn skip(&mut self, reason: String) -> Verdict {
        self.skips.spend(self.clock);
        Verdict::skip(reason)
    }

    fn lower(&mut self, factor: f64, why: &str) -> Verdict {
        self.rate.lower(factor);
        self.lowered(factor, why)
    }

    fn warm_up(&mut self, jump: Jump<'_>, why: &str) -> Verdict {
        self.rate.warm_up(jump.from, jump.to);
        self.lowered(jump.from / jump.to, why)
    }

    fn lowered(&mut self, factor: f64, why: &str) -> Verdict {
        self.lowerings.spend(self.clock);
        let reason = format!("{why}; harmful steps in a row: {}", self.streak.harmful);
        let decision = Decision::LowerLearningRate { factor, reason };
        Verdict::of(Rung::LowerLearningRate, decision)
    }

    /// Back to a state from before the learning rate rose, where one is kept and affordable.
    fn back_before_rise(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        jump: Jump<'_>,
    ) -> Option<Verdict> {
        let to_step = snapshots.trained_within(config.snapshots, RISEN * jump.from)?;
        if !self.can_roll_back(config) {
            return None;
        }
        self.abandon_for_good(snapshots);
        let verdict = self.roll_back(config, snapshots, to_step, jump.why);
        self.rate.hold(jump.from, jump.to);
        Some(verdict)
    }

    fn roll_back(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        to_step: u64,
        why: &str,
    ) -> Verdict {
        self.rollbacks.spend(self.clock);
        snapshots.ask(to_step);
        let (factor, least) = (config.rollback_factor, config.min_scale);
        self.rate.lower_at_rollback(factor, least);
        Verdict::roll_back(to_step, why.to_owned())
    }

    /// A rollback is needed, and no snapshot is kept. Only detections about the weights then tell
    /// damaged weights from data that have changed.
    fn without_snapshots(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        worst: &Detection,
    ) -> Verdict {
        let why = &worst.message;
        let most = config.max_consecutive_errors;
        let harmful = self.streak.harmful;
        if self.damaged || worst.detector == Detector::NonFinite {
            if harmful > most {
                self.stop(why)
            } else {
                self.skip(why.clone())
            }
        } else if harmful > 2 * most {
            self.accept_level(config, snapshots, why)
        } else {
            self.skip(why.clone())
        }
    }

    /// Takes the last rollback back, if the state that it left is kept: the snapshot has the same
    /// losses.
    fn take_up(&mut self, snapshots: &mut Snapshots, why: &str) -> Option<Verdict> {
        let (scale, to_step) = self.doubt.zip(snapshots.abandoned())?;
        self.rate.restore(scale);
        snapshots.ask(to_step);
        let reason = format!(
            "{why}; the snapshot, a good state, has the same losses, so the data cause them: the \
             rollback is taken back"
        );
        Some(Verdict::roll_back(to_step, reason).with_new_level())
    }

    fn accept_level(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        why: &str,
    ) -> Verdict {
        self.abandon_for_good(snapshots);
        let reason = format!("{why}; this has lasted, and is accepted as usual from now on");
        self.new_level(config, reason)
    }

    /// The level of the readings is the usual one from now on, at a lower learning rate.
    pub(super) fn new_level(&mut self, config: &RecoverConfig, reason: String) -> Verdict {
        self.streak.end();
        self.phase.settle();
        self.rate.cap(config.rollback_factor);
        self.skip(reason).with_new_level()
    }

    /// Ends the run.
    pub(super) fn stop(&mut self, why: &str) -> Verdict {
        let reason = format!(
            "{why}; recent skips ({}), lowered learning rates ({}) and rollbacks ({}) did not help, \
             and no more are allowed or possible: look at the incidents, then lower the learning \
             rate or repair the data",
            self.skips.spent(),
            self.lowerings.spent(),
            self.rollbacks.spent(),
        );
        self.phase.stop(reason.clone());
        Verdict::stop(reason)
    }
}
