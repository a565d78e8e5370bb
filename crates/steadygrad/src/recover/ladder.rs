use serde::{Deserialize, Serialize};

use super::level::Level;
use super::still::{Still, Waiting};
use super::{Budget, BudgetsLeft, RecoverConfig, Snapshots};
use crate::Decision;
use crate::detect::{Detection, Detector, Severity};

/// The rungs, from the least to the most that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Nothing: the step is applied as the user's own clipping leaves it.
    Keep,
    /// The gradients are scaled back to the largest usual norm.
    Clip,
    /// The step is not applied.
    Skip,
    /// Nor is this, and the learning rate is lower from now on.
    LowerLearningRate,
    /// Back to a snapshot.
    Rollback,
    /// The end of the run.
    Stop,
}

/// Where on the ladder a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LadderState {
    /// Readings so far.
    clock: u64,
    /// What the user's learning rate is multiplied by.
    scale: f64,
    /// A jump of the user's learning rate that is being warmed up to.
    jump: Option<Jump>,
    /// Readings in a row with nothing suspicious.
    calm: u64,
    /// Harmful readings in a row.
    consecutive: usize,
    /// Of these, the last ones with a harmful loss.
    losses: usize,
    /// How many of the harmful ones had a loss that some detector spoke of, or that was no number.
    #[serde(default)]
    bad_losses: usize,
    /// The losses of these.
    #[serde(default)]
    level: Level,
    /// Weights were seen to be damaged, and it has not been calm since.
    damaged: bool,
    /// After going back: whether something else than the optimizer writes to the weights.
    #[serde(default)]
    still: Option<Still>,
    /// It was waited for without end: somebody means to, and it is not asked again.
    #[serde(default)]
    written_to: bool,
    /// The step gone back to, until it has been calm since.
    retrying: Option<u64>,
    /// The scale of the learning rate before the last rollback, while what it left may have been a good
    /// state: its losses alone spoke against it. Where the state gone back to, which was trusted, has the
    /// same losses from its first reading on, they are the data's, and what was left is as good and further.
    #[serde(default)]
    abandoned: Option<f64>,
    /// The user's last finite learning rate.
    learning_rate: Option<f64>,
    /// The same of the last reading without harm.
    #[serde(default)]
    unharmed_rate: Option<f64>,
    skips: Budget,
    lowerings: Budget,
    rollbacks: Budget,
    /// The reason of the end.
    stopped: Option<String>,
}

/// A rise of the user's learning rate to where no state is known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Jump {
    /// The learning rate from which on it counts as one.
    beyond: f64,
    /// The scale before it.
    scale: f64,
    /// The rate before it, which states are known to be good with.
    #[serde(default)]
    good: f64,
    /// The rate that is applied at most, however far the user's goes on rising.
    applied: f64,
}

/// The reason of a step that is left out after going back.
const TRIED: &str = "gone back: one step left out shows whether the weights stand still";

/// A learning rate so many times what it was before a snapshot is not one that its state was
/// trained with: beyond the steps of the usual schedules.
const RISEN: f64 = 2.0;

/// Growth of the learning rate in one reading that is no slow schedule's: a linear warm-up's is less
/// from the hundredth on.
const RISING: f64 = 1.01;

impl Jump {
    /// From one learning rate to another, at the scale that was right for the first.
    fn new(from: f64, to: f64, scale: f64) -> Self {
        Self {
            // Half way, on the scale of factors.
            beyond: from.sqrt() * to.sqrt(),
            scale,
            good: from,
            applied: from * scale,
        }
    }

    /// By how much the applied rate is let climb: it halts at the last that was good, beyond which it is
    /// taken only when the user's has come to rest.
    fn climb(&mut self, by: f64) -> f64 {
        let by = if self.applied < self.good {
            by.min(self.good / self.applied)
        } else {
            by
        };
        self.applied *= by;
        self.scale = (self.scale * by).min(1.0);
        by
    }
}

/// What the ladder decided about one reading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) rung: Rung,
    /// `None` on the rung [`Rung::Keep`], which is the user's own clipping's to fill.
    pub(crate) decision: Option<Decision>,
    /// The level of this reading is taken for the new usual one.
    pub(crate) new_level: bool,
}

impl Default for LadderState {
    fn default() -> Self {
        Self {
            clock: 0,
            scale: 1.0,
            jump: None,
            calm: 0,
            consecutive: 0,
            losses: 0,
            bad_losses: 0,
            level: Level::default(),
            damaged: false,
            still: None,
            written_to: false,
            retrying: None,
            abandoned: None,
            learning_rate: None,
            unharmed_rate: None,
            skips: Budget::default(),
            lowerings: Budget::default(),
            rollbacks: Budget::default(),
            stopped: None,
        }
    }
}

/// Whether the loss was seen to be bad, however bad.
fn speaks_of_the_loss(seen: &Detection) -> bool {
    use Detector::{LossDivergence, LossRelapse, LossSpike, NonFinite};
    [LossDivergence, LossRelapse, LossSpike, NonFinite].contains(&seen.detector)
}

/// What this detector saw, where it is harmful.
fn harmful(detections: &[Detection], detector: Detector) -> Option<&Detection> {
    detections
        .iter()
        .find(|seen| seen.detector == detector && seen.severity >= Severity::Harmful)
}

/// What a harmful reading asks for.
enum Need {
    Skip,
    Lower,
    WarmUp {
        from: f64,
        to: f64,
    },
    /// The same, from a state that was not trained on the way up.
    BackBeforeRise {
        from: f64,
        to: f64,
        why: String,
    },
    Rollback {
        /// Nothing else speaks against the state that is left.
        for_losses_alone: bool,
    },
    NewLevel,
}

impl LadderState {
    /// Readings so far.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// What the user's learning rate is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Why the run was stopped.
    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Whether it changes nothing of what the user does.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.stopped.is_none() && self.jump.is_none() && self.still.is_none() && self.scale == 1.0
    }

    /// Whether the last readings were calm enough to trust the state they left.
    pub(crate) fn is_calm(&self, config: &RecoverConfig) -> bool {
        self.clock == 0 || self.calm >= config.loss_patience as u64
    }

    /// The snapshot that a rollback would ask for now.
    pub(crate) fn last_good(&self, config: &RecoverConfig, snapshots: &Snapshots) -> Option<u64> {
        snapshots.target(config.snapshots, self.retrying)
    }

    /// What is left in this window.
    pub(crate) fn budgets_left(&self, config: &RecoverConfig) -> BudgetsLeft {
        let left = |most: usize, spent: usize| most.saturating_sub(spent) as u64;
        let skipped = self.skips.within(self.clock, config.skip_window as u64);
        BudgetsLeft {
            skips: left(config.max_skips, skipped),
            lowerings: left(config.max_lowerings, self.lowerings.spent()),
            rollbacks: left(config.max_rollbacks, self.rollbacks.spent()),
        }
    }

    /// One more reading; budgets of long ago are whole again.
    pub(crate) fn tick(&mut self, config: &RecoverConfig) {
        self.clock = self.clock.saturating_add(1);
        self.skips.forget(self.clock, config.skip_window as u64);
        for budget in [&mut self.lowerings, &mut self.rollbacks] {
            budget.forget(self.clock, config.budget_window as u64);
        }
    }

    /// The user's learning rate of a reading, before anything is judged: what is applied of a rise stays
    /// what it is, and a rise that is over is forgotten with what was done about it. Whether the rate is
    /// taken care of here, so that it is no news to the detectors.
    pub(crate) fn follow(&mut self, learning_rate: f64) -> bool {
        if !learning_rate.is_finite() || learning_rate <= 0.0 {
            return false;
        }
        let before = self.learning_rate.replace(learning_rate);
        let Some(jump) = self.jump else {
            return false;
        };
        if learning_rate <= jump.beyond {
            self.scale = jump.scale;
            self.jump = None;
        } else {
            self.scale = self.scale.min(jump.applied / learning_rate);
            let rises = before.is_some_and(|before| learning_rate > RISING * before);
            if rises && jump.applied >= jump.good {
                // Nobody knows yet where it ends.
                self.calm = 0;
            }
        }
        true
    }

    /// Decides on one reading.
    pub(crate) fn decide(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        detections: &[Detection],
    ) -> Verdict {
        if let Some(reason) = &self.stopped {
            let reason = reason.clone();
            return Verdict::of(Rung::Stop, Decision::Stop { reason });
        }
        let worst = detections.iter().max_by(|a, b| {
            // The first of equals, since the list begins with the surest.
            a.severity
                .cmp(&b.severity)
                .then(std::cmp::Ordering::Greater)
        });
        if let Some(verdict) = self.wait_until_still(config, snapshots, detections) {
            return verdict;
        }
        match worst {
            Some(worst) if worst.severity >= Severity::Harmful => {
                let need = self.need(config, detections);
                self.act(config, snapshots, worst, need)
            }
            _ => self.rest(config, snapshots, detections),
        }
    }

    /// After going back, steps are not applied until one has left the weights as they were: whatever wrote to
    /// them may go on, and is not seen while they are trained. What it wrote meanwhile is gone back from.
    fn wait_until_still(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        detections: &[Detection],
    ) -> Option<Verdict> {
        let still = self.still.as_mut()?;
        if harmful(detections, Detector::NonFinite).is_some() {
            // Nothing can be said of the weights, and something has to be done.
            return None;
        }
        let written = harmful(detections, Detector::WeightGrowth);
        let next = still.next(written, config.level_patience);
        let endless = matches!(next, Waiting::Endless(_));
        self.calm = 0;
        match next {
            Waiting::Try => Some(Verdict::skip(TRIED.into())),
            Waiting::Moving(damage) => Some(Verdict::skip(format!(
                "{}: something else than the optimizer writes to the weights",
                damage.message
            ))),
            Waiting::WasMoved(damage) | Waiting::Endless(damage) => {
                self.written_to = endless;
                self.still = None;
                self.damaged = true;
                let need = Need::Rollback {
                    for_losses_alone: false,
                };
                Some(self.act(config, snapshots, &damage, need))
            }
            Waiting::Still => {
                self.still = None;
                None
            }
        }
    }

    /// A reading without harm: the learning rate may climb, and a spike is clipped.
    fn rest(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        detections: &[Detection],
    ) -> Verdict {
        self.consecutive = 0;
        self.losses = 0;
        self.unharmed_rate = self.learning_rate;
        let suspicious = detections
            .iter()
            .any(|seen| seen.severity == Severity::Suspicious);
        if suspicious {
            self.calm = 0;
        } else {
            self.calm = self.calm.saturating_add(1);
            snapshots.calm();
        }
        if self.calm >= config.cool_down as u64 {
            self.damaged = false;
            self.retrying = None;
            self.abandon_for_good(snapshots);
        }
        self.climb(config);
        let spike = detections
            .iter()
            .find(|seen| seen.detector == Detector::NormSpike && config.clip);
        match spike.map(|seen| seen.threshold / seen.value) {
            Some(coefficient) if coefficient < 1.0 => {
                Verdict::of(Rung::Clip, Decision::ScaleGlobal { coefficient })
            }
            _ => Verdict::KEEP,
        }
    }

    fn climb(&mut self, config: &RecoverConfig) {
        if self.scale >= 1.0 {
            return;
        }
        let troubles = self.lowerings.spent() + self.rollbacks.spent();
        // The wait doubles with each; beyond 2^10 it is longer than any budget's window.
        let doubled = 1u64 << troubles.saturating_sub(1).min(10);
        if self.calm >= (config.cool_down as u64).saturating_mul(doubled) {
            let by = match &mut self.jump {
                Some(jump) => jump.climb(config.climb),
                None => config.climb,
            };
            self.scale = (self.scale * by).min(1.0);
            if self.scale == 1.0 {
                self.jump = None;
            }
        }
    }

    /// What a harmful reading asks for, whether it can be had or not.
    fn need(&mut self, config: &RecoverConfig, detections: &[Detection]) -> Need {
        let harmful = |detector| harmful(detections, detector);
        self.calm = 0;
        self.consecutive = self.consecutive.saturating_add(1);
        let spike = harmful(Detector::LossSpike);
        self.losses = match spike {
            Some(_) => self.losses.saturating_add(1),
            None => 0,
        };
        let retried = self.retrying.is_some();
        if self.consecutive == 1 {
            self.bad_losses = 0;
            if !retried {
                self.level.clear();
            }
        }
        self.bad_losses += usize::from(detections.iter().any(speaks_of_the_loss));
        if let Some(bad) = spike.or(harmful(Detector::LossRelapse)) {
            self.level.push(bad.value, config.level_patience);
        }
        if detections
            .iter()
            .any(|seen| seen.severity == Severity::Damage)
        {
            self.damaged = true;
            return Need::Rollback {
                for_losses_alone: false,
            };
        }
        let risen = harmful(Detector::LearningRateJump)
            .filter(|jump| self.trained_on_the_way(jump.threshold))
            .map(|jump| Need::BackBeforeRise {
                from: jump.threshold,
                to: jump.value,
                why: jump.message.clone(),
            });
        // What was learnt is lost. Where going back did not help, something still writes to the weights,
        // which shows while steps are skipped, or the data are others, and not so bad that their loss
        // were a spike.
        if harmful(Detector::LossRelapse).is_some() {
            if !retried {
                return risen.unwrap_or(Need::Rollback {
                    for_losses_alone: true,
                });
            }
            let other = [Detector::LossSpike, Detector::NonFinite];
            if other
                .into_iter()
                .all(|detector| harmful(detector).is_none())
            {
                // In all since then: a better one among them does not make the data good.
                let waited = self.level.seen();
                let stands = self.level.stands(waited, config.level_patience);
                return if stands { Need::NewLevel } else { Need::Skip };
            }
        }
        if self.losses > config.loss_patience && !retried {
            return risen.unwrap_or(Need::Rollback {
                for_losses_alone: true,
            });
        }
        // A rise, and no jump on top of it: the weights move in the wrong direction.
        let jumped = harmful(Detector::NormSpike).or(harmful(Detector::NonFinite));
        if harmful(Detector::NormGrowth).is_some() && jumped.is_none() {
            let lowered = self.lowerings.within(self.clock, config.skip_window as u64) > 0;
            return if lowered {
                Need::Rollback {
                    for_losses_alone: false,
                }
            } else {
                Need::Lower
            };
        }
        let most = config.max_consecutive_errors;
        let finite = harmful(Detector::NonFinite).is_none();
        if self.consecutive > most {
            // One bad loss is not what the rise did.
            if let Some(need) = risen.filter(|_| 2 * self.bad_losses > self.consecutive) {
                return need;
            }
            if let Some(jump) = harmful(Detector::LearningRateJump) {
                // It means to stay: warm up to it, from where it was.
                let (from, to) = (jump.threshold, jump.value);
                return Need::WarmUp { from, to };
            }
            if retried {
                // The weights are good, so it is the data: they may be bad for a while yet.
                let stands = self.level.stands(self.consecutive, config.level_patience);
                return match (finite, stands) {
                    (false, _) => Need::Rollback {
                        for_losses_alone: false,
                    },
                    (true, true) => Need::NewLevel,
                    (true, false) => Need::Skip,
                };
            }
            if self.consecutive == most + 1 {
                return Need::Lower;
            }
            if self.consecutive > 2 * most {
                return Need::Rollback {
                    for_losses_alone: false,
                };
            }
        }
        let often = self.skips.within(self.clock, config.skip_window as u64) >= config.max_skips;
        let lowered = self.lowerings.within(self.clock, config.skip_window as u64) > 0;
        if often && !lowered {
            Need::Lower
        } else {
            Need::Skip
        }
    }

    /// Whether updates were applied on the way up from a learning rate.
    fn trained_on_the_way(&self, from: f64) -> bool {
        self.unharmed_rate.is_some_and(|rate| rate > RISEN * from)
    }

    /// The lowest rung that gives what is needed and has something left.
    fn act(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        worst: &Detection,
        need: Need,
    ) -> Verdict {
        let why = &worst.message;
        match need {
            Need::Skip => {
                self.skips.spend(self.clock);
                Verdict::skip(why.clone())
            }
            Need::Lower => {
                let left = self.lowerings.spent() < config.max_lowerings;
                if left && self.scale * config.lower_factor >= config.min_scale {
                    self.lower(config.lower_factor, why)
                } else {
                    self.act(
                        config,
                        snapshots,
                        worst,
                        Need::Rollback {
                            for_losses_alone: false,
                        },
                    )
                }
            }
            // Not bounded: the rate that is applied stays what it was.
            Need::WarmUp { from, to } => {
                let scale = self.scale;
                let verdict = self.lower(from / to, why);
                self.jump = Some(Jump::new(from, to, scale));
                verdict
            }
            Need::BackBeforeRise { from, to, why } => {
                let affordable = self.rollbacks.spent() < config.max_rollbacks;
                let before = snapshots.trained_within(config.snapshots, RISEN * from);
                match before.filter(|_| affordable) {
                    Some(to_step) => {
                        self.rollbacks.spend(self.clock);
                        self.abandon_for_good(snapshots);
                        let verdict = self.roll_back(config, snapshots, to_step, why);
                        self.rise(from, to);
                        verdict
                    }
                    None => self.act(config, snapshots, worst, Need::WarmUp { from, to }),
                }
            }
            Need::Rollback { for_losses_alone } => {
                let affordable = self.rollbacks.spent() < config.max_rollbacks;
                self.abandon_for_good(snapshots);
                match self.last_good(config, snapshots) {
                    Some(to_step) if affordable => {
                        self.rollbacks.spend(self.clock);
                        self.abandoned =
                            (for_losses_alone && self.jump.is_none()).then_some(self.scale);
                        self.roll_back(config, snapshots, to_step, why.clone())
                    }
                    Some(_) => self.stop(why),
                    // Without snapshots nothing tells damaged weights from other data but what was
                    // seen of the weights.
                    None if self.damaged || worst.detector == Detector::NonFinite => {
                        if self.consecutive > config.max_consecutive_errors {
                            self.stop(why)
                        } else {
                            self.act(config, snapshots, worst, Need::Skip)
                        }
                    }
                    None if self.consecutive > 2 * config.max_consecutive_errors => {
                        self.act(config, snapshots, worst, Need::NewLevel)
                    }
                    None => self.act(config, snapshots, worst, Need::Skip),
                }
            }
            Need::NewLevel => {
                if let Some(verdict) = self.take_up(snapshots, why) {
                    return verdict;
                }
                self.abandon_for_good(snapshots);
                let reason =
                    format!("{why}; it has lasted, and is taken for the usual from now on");
                self.new_level(config, reason)
            }
        }
    }

    fn new_level(&mut self, config: &RecoverConfig, reason: String) -> Verdict {
        self.skips.spend(self.clock);
        self.consecutive = 0;
        self.losses = 0;
        self.retrying = None;
        self.scale = self.scale.min(config.rollback_factor);
        Verdict {
            new_level: true,
            ..Verdict::skip(reason)
        }
    }

    /// Back to what a rollback left, if it is kept: the state gone back to has the same losses.
    fn take_up(&mut self, snapshots: &mut Snapshots, why: &str) -> Option<Verdict> {
        let (scale, to_step) = self.abandoned.zip(snapshots.abandoned())?;
        self.scale = scale;
        snapshots.ask(to_step);
        let reason = format!(
            "{why}; a state that was good has the same losses, so they are the data's: the rollback is taken back"
        );
        Some(Verdict {
            new_level: true,
            ..Verdict::of(Rung::Rollback, Decision::Rollback { to_step, reason })
        })
    }

    /// Whether what the last rollback left may have been a good state.
    pub(crate) fn has_abandoned(&self) -> bool {
        self.abandoned.is_some()
    }

    /// The rollback was right, or nobody can tell any more.
    pub(crate) fn abandon_for_good(&mut self, snapshots: &mut Snapshots) {
        self.abandoned = None;
        snapshots.forget_abandoned();
    }

    fn lower(&mut self, factor: f64, why: &str) -> Verdict {
        self.lower_by(factor);
        self.lowerings.spend(self.clock);
        let reason = format!("{why}; {} such steps in a row", self.consecutive);
        Verdict::of(
            Rung::LowerLearningRate,
            Decision::LowerLearningRate { factor, reason },
        )
    }

    fn lower_by(&mut self, factor: f64) {
        self.scale *= factor;
        if let Some(jump) = &mut self.jump {
            jump.applied *= factor;
        }
    }

    fn roll_back(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        to_step: u64,
        reason: String,
    ) -> Verdict {
        snapshots.ask(to_step);
        // A scale that is lower already, by a warm-up, stays.
        let least = config.min_scale.min(self.scale) / self.scale;
        let factor = config.rollback_factor.max(least);
        self.lower_by(factor);
        if let Some(jump) = &mut self.jump {
            jump.scale *= factor;
        }
        Verdict::of(Rung::Rollback, Decision::Rollback { to_step, reason })
    }

    fn stop(&mut self, why: &str) -> Verdict {
        let reason = format!(
            "{why}; skips ({} of late), lower learning rates ({}) and rollbacks ({}) did not help, and \
             no more is allowed or possible: look at the incidents, then lower the learning rate or \
             repair the data",
            self.skips.spent(),
            self.lowerings.spent(),
            self.rollbacks.spent(),
        );
        self.stopped = Some(reason.clone());
        Verdict::of(Rung::Stop, Decision::Stop { reason })
    }

    /// The adapter took up what the last rollback had left: all is as it was before that rollback, but
    /// that the level is a new one.
    pub(crate) fn took_up(&mut self) {
        self.abandoned = None;
        self.jump = None;
        self.still = None;
        self.skips = Budget::default();
        self.calm = 0;
        self.consecutive = 0;
        self.losses = 0;
        self.retrying = None;
    }

    /// The adapter went back to this step, before which the user's largest learning rate was this.
    pub(crate) fn rolled_back(&mut self, step: u64, largest: Option<f64>) {
        self.retrying = Some(step);
        self.still = (!self.written_to).then(Still::default);
        self.level.clear();
        self.unharmed_rate = None;
        self.calm = 0;
        self.consecutive = 0;
        self.losses = 0;
        self.damaged = false;
        if let (None, Some(from), Some(to)) = (self.jump, largest, self.learning_rate)
            && to > RISEN * from
        {
            self.rise(from, to);
            // A rate that nothing was trained with is not the data's.
            self.abandoned = None;
        }
    }

    /// From here on no more of the user's rate is applied than before it rose.
    fn rise(&mut self, from: f64, to: f64) {
        let jump = Jump::new(from, to, self.scale);
        self.scale = self.scale.min(jump.applied / to);
        self.jump = Some(jump);
    }

    /// The adapter could not go back: another snapshot, or the end.
    pub(crate) fn rollback_failed(
        &mut self,
        config: &RecoverConfig,
        snapshots: &mut Snapshots,
        step: u64,
        why: &str,
    ) -> Verdict {
        if let Some(reason) = &self.stopped {
            let reason = reason.clone();
            return Verdict::of(Rung::Stop, Decision::Stop { reason });
        }
        let taking_up = snapshots.abandoned() == Some(step);
        snapshots.lost(step);
        let reason = format!("the snapshot of step {step} cannot be restored: {why}");
        if taking_up {
            // The state gone back to is good as well.
            self.abandoned = None;
            return self.new_level(config, reason);
        }
        match self.last_good(config, snapshots) {
            // The same rollback, by other means: it is paid for, and the learning rate is low.
            Some(to_step) => {
                snapshots.ask(to_step);
                Verdict::of(Rung::Rollback, Decision::Rollback { to_step, reason })
            }
            None => self.stop(&reason),
        }
    }
}

impl Verdict {
    pub(crate) const KEEP: Self = Self {
        rung: Rung::Keep,
        decision: None,
        new_level: false,
    };

    fn skip(reason: String) -> Self {
        Self::of(Rung::Skip, Decision::Skip { reason })
    }

    pub(crate) fn of(rung: Rung, decision: Decision) -> Self {
        Self {
            rung,
            decision: Some(decision),
            ..Self::KEEP
        }
    }
}
