//! The guard: the only place where detection, clipping and recovery meet, and where a decision is
//! made.
//!
//! ```
//! use steadygrad::guard::{Guard, Preset};
//! use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
//! use steadygrad::{Decision, StepReading};
//!
//! let mut guard = Guard::from(Preset::Default);
//! for step in 0..3 {
//!     if guard.wants_snapshot(step) {
//!         // ... copy weights, optimizer, scheduler and random generators, then:
//!         guard.snapshot_taken(step);
//!     }
//!     let gradients = GradientStats {
//!         tensors: vec![NamedStats { name: "w".into(), stats: TensorStats::of(&[0.3f32, -0.4]) }],
//!     };
//!     let judgement = guard.step(&StepReading::new(step, 1.0, 0.1, gradients));
//!     match judgement.decision {
//!         // After restoring it; `Guard::wants_abandoned` says whether to keep what is left as well.
//!         Decision::Rollback { to_step, .. } => guard.rolled_back(to_step),
//!         Decision::Stop { reason } => panic!("{reason}"),
//!         decision if decision.applies() => { /* optimizer.step(0.1 * judgement.learning_rate_scale) */ }
//!         _ => { /* the next batch, without a step */ }
//!     }
//! }
//! assert_eq!(guard.summary().kept, 3);
//! ```

mod config;
pub(crate) mod error;
mod judgement;
mod preset;
mod summary;

pub use config::{GuardConfig, Response};
pub use error::GuardConfigError;
pub use judgement::{Incident, Judgement};
pub use preset::Preset;
pub use summary::GuardSummary;

use serde::{Deserialize, Serialize};

use crate::clip::{ClipReading, Clipper, Needs, Policy};
use crate::detect::{Detection, Detector, DetectorConfig, DetectorState, Quiet, Severity, Signals};
use crate::recover::{BudgetsLeft, LadderState, RecoverConfig, Rung, Snapshots, Verdict};
use crate::{Decision, StepReading};

/// Harmful readings in a row after which a guard that only watches takes them for the new level.
const WATCHED_LEVEL: usize = 10;

/// A guard's config and its running, serializable state. Saved and loaded after any step, it decides
/// as it would have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Guard {
    config: GuardConfig,
    clipper: Option<Clipper>,
    detectors: DetectorState,
    ladder: LadderState,
    snapshots: Snapshots,
    /// Harmful readings in a row, for a guard without a ladder.
    harmful: usize,
    summary: GuardSummary,
}

/// A [`Guard`] as read, before it is checked.
#[derive(Deserialize)]
struct Saved {
    config: GuardConfig,
    clipper: Option<Clipper>,
    detectors: DetectorState,
    ladder: LadderState,
    snapshots: Snapshots,
    harmful: usize,
    summary: GuardSummary,
}

impl TryFrom<Saved> for Guard {
    type Error = GuardConfigError;

    fn try_from(saved: Saved) -> Result<Self, GuardConfigError> {
        let fresh = Self::new(saved.config)?;
        // A clipper of another policy than the config's would clip by what nobody set.
        let same = |clipper: &Clipper| Some(clipper.policy()) == fresh.config.clip.as_ref();
        Ok(Self {
            clipper: saved.clipper.filter(same).or(fresh.clipper),
            config: fresh.config,
            detectors: saved.detectors,
            ladder: saved.ladder,
            snapshots: saved.snapshots,
            harmful: saved.harmful,
            summary: saved.summary,
        })
    }
}

impl From<Preset> for Guard {
    fn from(preset: Preset) -> Self {
        Self::unchecked(preset.into(), None)
    }
}

impl Default for Guard {
    fn default() -> Self {
        Preset::Default.into()
    }
}

impl Guard {
    /// A guard that has seen nothing yet.
    ///
    /// # Errors
    /// When a setting cannot be used; names the field and what it may hold.
    pub fn new(config: GuardConfig) -> Result<Self, GuardConfigError> {
        config.validate()?;
        let clipper = config.clip.clone().map(Clipper::new).transpose()?;
        Ok(Self::unchecked(config, clipper))
    }

    fn unchecked(config: GuardConfig, clipper: Option<Clipper>) -> Self {
        Self {
            config,
            clipper,
            detectors: DetectorState::default(),
            ladder: LadderState::default(),
            snapshots: Snapshots::default(),
            harmful: 0,
            summary: GuardSummary::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &GuardConfig {
        &self.config
    }

    /// What it has done so far.
    pub fn summary(&self) -> &GuardSummary {
        &self.summary
    }

    /// What the user's learning rate is to be multiplied by. Exactly 1 while nothing is wrong.
    pub fn learning_rate_scale(&self) -> f64 {
        self.ladder.scale()
    }

    /// What the user's clipping has to know beside the reading: for [`Guard::step_with`].
    pub fn needs(&self) -> Needs {
        self.config
            .clip
            .as_ref()
            .map_or(Needs::Stats, |policy| policy.needs())
    }

    /// Judges one step. Never panics, whatever the reading.
    pub fn step(&mut self, reading: &StepReading) -> Judgement {
        if self.clipper.is_none() {
            return self.judge(reading, None);
        }
        let stats = reading.gradients.tensors.iter().map(|tensor| tensor.stats);
        self.judge(reading, Some(&ClipReading::from_stats(stats)))
    }

    /// Judges one step, with what the user's clipping [`needs`](Guard::needs) beside it.
    pub fn step_with(&mut self, reading: &StepReading, clip: &ClipReading) -> Judgement {
        self.judge(reading, Some(clip))
    }

    fn judge(&mut self, reading: &StepReading, clip: Option<&ClipReading>) -> Judgement {
        if let Some(step) = self.snapshots.pending() {
            // The adapter went on without an answer: it cannot restore this one.
            self.snapshots.lost(step);
            self.summary.failed_rollbacks += 1;
        }
        // On a copy: a step that is not applied leaves no trace in the policy.
        let mut clipper = self.clipper.clone();
        let by_policy = match (&mut clipper, clip) {
            (Some(clipper), Some(clip)) => clipper.step(clip),
            _ => Decision::Keep,
        };
        let mut signals = Signals::of(reading);
        if self.recover().is_some() && self.ladder.follow(reading.learning_rate) {
            self.config
                .detectors
                .accept_learning_rate(&mut self.detectors, &signals);
        }
        signals.learning_rate *= self.ladder.scale();
        if by_policy != Decision::Keep {
            let after = by_policy.global_norm_after(&reading.gradients);
            signals.applied_norm = after.unwrap_or(signals.global_norm);
        }
        let detections = self.config.detectors.check(&self.detectors, &signals);
        if self.ladder.has_abandoned() && !self.loss_is_bad(&signals, &detections) {
            // The state gone back to is better than the one that was left.
            self.ladder.abandon_for_good(&mut self.snapshots);
        }
        let verdict = match &self.config.response {
            Response::Recover(recover) => {
                self.ladder.tick(recover);
                self.ladder
                    .decide(recover, &mut self.snapshots, &detections)
            }
            Response::Stop => self.watch(true, &detections),
            Response::Observe => self.watch(false, &detections),
        };
        let decision = match &verdict.decision {
            None => by_policy,
            Some(Decision::ScaleGlobal { coefficient }) => combine(by_policy, *coefficient),
            Some(decision) => decision.clone(),
        };
        let harmful = detections
            .iter()
            .any(|seen| seen.severity >= Severity::Harmful);
        if harmful || verdict.rung >= Rung::Skip {
            let applied = decision.applies();
            self.config
                .detectors
                .reject(&mut self.detectors, &signals, applied);
        } else {
            let clipped = decision != Decision::Keep;
            self.config
                .detectors
                .accept(&mut self.detectors, &signals, clipped);
            self.clipper = clipper;
        }
        if verdict.new_level {
            self.detectors.forget_levels();
            self.summary.new_levels += 1;
        }
        if verdict.rung == Rung::LowerLearningRate {
            // What is still to be seen is what the lower rate does.
            self.config.detectors.forget_rises(&mut self.detectors);
        }
        let judgement = self.judgement(verdict.rung, decision, detections);
        self.summary.count(&judgement);
        judgement
    }

    /// Whether the loss is harmful, or on the way to being called so.
    fn loss_is_bad(&self, signals: &Signals<'_>, detections: &[Detection]) -> bool {
        let spike = detections
            .iter()
            .any(|seen| seen.detector == Detector::LossSpike && seen.severity >= Severity::Harmful);
        spike || self.config.detectors.loss_is_back(&self.detectors, signals)
    }

    /// What a guard without a ladder decides.
    fn watch(&mut self, stop: bool, detections: &[Detection]) -> Verdict {
        let worst = detections
            .iter()
            .find(|seen| seen.severity >= Severity::Harmful);
        let broken = detections
            .iter()
            .find(|seen| seen.detector == Detector::NonFinite);
        self.harmful = match (worst, broken) {
            (Some(_), None) => self.harmful.saturating_add(1),
            _ => 0,
        };
        let new_level = self.harmful >= WATCHED_LEVEL;
        if new_level {
            self.harmful = 0;
        }
        match broken {
            Some(broken) if stop => Verdict::of(
                Rung::Stop,
                Decision::Stop {
                    reason: broken.message.clone(),
                },
            ),
            _ => Verdict {
                new_level,
                ..Verdict::KEEP
            },
        }
    }

    fn judgement(&self, rung: Rung, decision: Decision, detections: Vec<Detection>) -> Judgement {
        Judgement {
            decision,
            rung,
            learning_rate_scale: self.ladder.scale(),
            detections,
            budgets_left: self.recover().map_or(BudgetsLeft::default(), |recover| {
                self.ladder.budgets_left(recover)
            }),
        }
    }

    fn recover(&self) -> Option<&RecoverConfig> {
        match &self.config.response {
            Response::Recover(recover) => Some(recover),
            Response::Observe | Response::Stop => None,
        }
    }

    /// Readings at this learning rate, of the user, that [`step`](Guard::step) will keep as they are, told
    /// before they are measured. `None` where that cannot be said, as while the ladder is at work.
    ///
    /// For an adapter whose gradients are on a device: where the device finds that a reading is within
    /// the bounds, it can apply the step before anybody has seen the numbers.
    pub fn quiet(&self, learning_rate: f64) -> Option<Quiet> {
        let at_work = !self.ladder.is_at_rest() || self.snapshots.pending().is_some();
        if self.recover().is_none() || at_work {
            return None;
        }
        let largest = match &self.config.clip {
            None => f64::INFINITY,
            // Its largest value is at most its norm.
            Some(Policy::GlobalNorm(clip)) => clip.max_norm,
            Some(_) => return None,
        };
        let quiet = self
            .config
            .detectors
            .quiet(&self.detectors, learning_rate)?;
        Some(Quiet {
            global_norm: quiet.global_norm.min(largest),
            ..quiet
        })
    }

    /// Whether the adapter should take a snapshot now, before step `step`: weights, optimizer,
    /// scheduler and random generators, and the guard itself when it is to outlive the process.
    /// An adapter that cannot may leave it: the guard then never rolls back.
    pub fn wants_snapshot(&self, step: u64) -> bool {
        self.recover().is_some_and(|recover| {
            recover.max_rollbacks > 0
                && self.ladder.stopped().is_none()
                && self.snapshots.pending().is_none()
                && self.ladder.is_calm(recover)
                && self.snapshots.due(recover.snapshots, self.ladder.clock())
                && !self.snapshots.steps().any(|kept| kept == step)
        })
    }

    /// The adapter took a snapshot before step `step`. It is on probation: see
    /// [`SnapshotConfig`](crate::recover::SnapshotConfig).
    pub fn snapshot_taken(&mut self, step: u64) {
        if let Response::Recover(recover) = &self.config.response {
            let clock = self.ladder.clock();
            self.snapshots
                .taken(recover.snapshots, step, clock, &self.detectors);
        }
    }

    /// The steps of the snapshots that may still be asked for, oldest first. The adapter may drop all
    /// others, whenever it likes.
    pub fn snapshots(&self) -> impl Iterator<Item = u64> {
        self.snapshots.steps()
    }

    /// The step whose snapshot a run should be left with that ends by [`Decision::Stop`]: the last state that is
    /// known to be good. `None` where there is none, and the weights stay as they are.
    pub fn last_good(&self) -> Option<u64> {
        let recover = self.recover()?;
        self.ladder.last_good(recover, &self.snapshots)
    }

    /// For an adapter that goes on from a saved guard without the snapshots of that time: none of them is asked for
    /// any more, and one is wanted before the next step. That is as good as one from before the first step,
    /// if it was calm: it is the user's own checkpoint.
    pub fn forget_snapshots(&mut self) {
        self.ladder.abandon_for_good(&mut self.snapshots);
        self.snapshots.forget_all(self.ladder.clock());
    }

    /// Whether an adapter that was asked to [roll back](Decision::Rollback) should keep the state that
    /// it leaves, beside its snapshots: only losses speak against it, and should the state gone back to
    /// have the same ones from its first reading on, they are the data's. The guard then asks for the
    /// state that was left, with another [`Decision::Rollback`]. An adapter that cannot may leave it.
    pub fn wants_abandoned(&self) -> bool {
        self.ladder.has_abandoned() && self.snapshots.abandoned().is_none()
    }

    /// The adapter restored the snapshot of step `step`. The running scales are those of that time
    /// again; the ladder's budgets are not.
    pub fn rolled_back(&mut self, step: u64) {
        self.go_back(step);
        self.ladder.abandon_for_good(&mut self.snapshots);
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

    /// The adapter restored the snapshot of step `step`, and keeps the state that it left as that of
    /// step `left`, as it was [asked](Guard::wants_abandoned): one of [`snapshots`](Guard::snapshots)
    /// while it may be needed.
    pub fn rolled_back_from(&mut self, left: u64, step: u64) {
        let detectors = self.detectors.clone();
        self.go_back(step);
        if self.wants_abandoned() {
            self.snapshots.keep_abandoned(left, detectors);
        }
    }

    /// The snapshot of step `step` cannot be restored: another one, older or newer, or the end.
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
}

/// The user's clipping and the ladder's together. A decision about single values or parts cannot be
/// put into one with a factor: it stands alone, as what the user chose for spikes.
fn combine(by_policy: Decision, coefficient: f64) -> Decision {
    match by_policy {
        Decision::Keep => Decision::ScaleGlobal { coefficient },
        // The spike was judged by what the policy leaves.
        Decision::ScaleGlobal { coefficient: own } => Decision::ScaleGlobal {
            coefficient: own * coefficient,
        },
        Decision::ScalePerTensor { coefficients } => Decision::ScalePerTensor {
            coefficients: coefficients.iter().map(|own| own * coefficient).collect(),
        },
        other => other,
    }
}
