use super::config::Response;
use super::judgement::Judgement;
use super::state::Guard;
use crate::clip::{ClipReading, Clipper, Policy};
use crate::detect::{Detection, Detector, Quiet, Severity, Signals};
use crate::recover::{BudgetsLeft, Rung, Verdict};
use crate::{Decision, StepReading};

/// Harmful readings in a row after which a guard that only watches accepts their level.
const WATCHED_LEVEL: usize = 10;

impl Guard {
    /// Judges one step. Never panics, whatever the reading.
    pub fn step(&mut self, reading: &StepReading) -> Judgement {
        if self.clipper.is_none() {
            return self.judge(reading, None);
        }
        let stats = reading.gradients.tensors.iter().map(|tensor| tensor.stats);
        self.judge(reading, Some(&ClipReading::from_stats(stats)))
    }

    /// Judges one step, given what the user's clipping [`needs`](Guard::needs) beyond the reading.
    pub fn step_with(&mut self, reading: &StepReading, clip: &ClipReading) -> Judgement {
        self.judge(reading, Some(clip))
    }

    fn judge(&mut self, reading: &StepReading, clip: Option<&ClipReading>) -> Judgement {
        self.expect_no_answer();
        // On a copy: a step that is not applied leaves no trace in the policy.
        let mut clipper = self.clipper.clone();
        let by_policy = match (&mut clipper, clip) {
            (Some(clipper), Some(clip)) => clipper.step(clip),
            _ => Decision::Keep,
        };
        let signals = self.signals(reading, &by_policy);
        let detections = self.config.detectors.check(&self.detectors, &signals);
        if self.ladder.has_abandoned() && !self.loss_is_bad(&signals, &detections) {
            // The snapshot is better than the state that the rollback left.
            self.ladder.abandon_for_good(&mut self.snapshots);
        }
        let verdict = self.verdict(&detections);
        let decision = match &verdict.decision {
            None => by_policy,
            Some(Decision::ScaleGlobal { coefficient }) => combine(by_policy, *coefficient),
            Some(decision) => decision.clone(),
        };
        let harmful = is_harmful(&detections);
        self.remember(&signals, &verdict, &decision, harmful, clipper);
        let judgement = self.judgement(verdict.rung, decision, detections);
        self.summary.count(&judgement);
        judgement
    }

    /// A reading with the learning rate that would be applied, and the norm that the user's
    /// clipping leaves.
    fn signals<'a>(&mut self, reading: &'a StepReading, by_policy: &Decision) -> Signals<'a> {
        let mut signals = Signals::of(reading);
        if self.recover().is_some() && self.ladder.follow(reading.learning_rate) {
            let detectors = &mut self.detectors;
            self.config
                .detectors
                .accept_learning_rate(detectors, &signals);
        }
        signals.learning_rate *= self.ladder.scale();
        if *by_policy != Decision::Keep {
            let after = by_policy.global_norm_after(&reading.gradients);
            signals.applied_norm = after.unwrap_or(signals.global_norm);
        }
        signals
    }

    /// Whether the loss is harmful, or the first of several that would be.
    fn loss_is_bad(&self, signals: &Signals<'_>, detections: &[Detection]) -> bool {
        let spike = detections
            .iter()
            .any(|seen| seen.detector == Detector::LossSpike && seen.severity >= Severity::Harmful);
        spike || self.config.detectors.loss_is_back(&self.detectors, signals)
    }

    fn verdict(&mut self, detections: &[Detection]) -> Verdict {
        match &self.config.response {
            Response::Recover(recover) => {
                self.ladder.tick(recover);
                self.ladder.decide(recover, &mut self.snapshots, detections)
            }
            Response::Stop => self.watch(true, detections),
            Response::Observe => self.watch(false, detections),
        }
    }

    /// The verdict of a guard without a ladder.
    fn watch(&mut self, stop: bool, detections: &[Detection]) -> Verdict {
        let broken = detections
            .iter()
            .find(|seen| seen.detector == Detector::NonFinite);
        self.harmful = if is_harmful(detections) && broken.is_none() {
            self.harmful.saturating_add(1)
        } else {
            0
        };
        let new_level = self.harmful >= WATCHED_LEVEL;
        if new_level {
            self.harmful = 0;
        }
        match broken {
            Some(broken) if stop => Verdict::stop(broken.message.clone()),
            _ => Verdict {
                new_level,
                ..Verdict::KEEP
            },
        }
    }

    /// Lets detectors and policy remember the reading, as far as it may.
    fn remember(
        &mut self,
        signals: &Signals<'_>,
        verdict: &Verdict,
        decision: &Decision,
        harmful: bool,
        clipper: Option<Clipper>,
    ) {
        let (config, detectors) = (&self.config.detectors, &mut self.detectors);
        if harmful || verdict.rung >= Rung::Skip {
            config.reject(detectors, signals, decision.applies());
        } else {
            config.accept(detectors, signals, *decision != Decision::Keep);
            self.clipper = clipper;
        }
        if verdict.new_level {
            detectors.forget_levels();
            self.summary.new_levels += 1;
        }
        if verdict.rung == Rung::LowerLearningRate {
            // The next rise shows what the lower rate does.
            config.forget_rises(detectors);
        }
    }

    pub(super) fn judgement(
        &self,
        rung: Rung,
        decision: Decision,
        detections: Vec<Detection>,
    ) -> Judgement {
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

    /// Bounds on the next reading at this learning rate of the user's, within which
    /// [`step`](Guard::step) will keep it. `None` where there are none, as while the ladder is at
    /// work.
    ///
    /// For an adapter whose gradients are on a device: where the device finds that a reading is
    /// within the bounds, it can apply the step before anybody has seen the numbers.
    pub fn quiet(&self, learning_rate: f64) -> Option<Quiet> {
        let at_work = !self.ladder.is_at_rest() || self.snapshots.pending().is_some();
        if self.recover().is_none() || at_work {
            return None;
        }
        let largest = match &self.config.clip {
            None => f64::INFINITY,
            // It leaves a norm up to this bound as it is.
            Some(Policy::GlobalNorm(clip)) => clip.max_norm,
            Some(_) => return None,
        };
        let detectors = &self.config.detectors;
        let quiet = detectors.quiet(&self.detectors, learning_rate)?;
        Some(quiet.with_norm(largest))
    }
}

fn is_harmful(detections: &[Detection]) -> bool {
    let mut all = detections.iter();
    all.any(|seen| seen.severity >= Severity::Harmful)
}

/// The user's clipping and the ladder's together. A policy's decision about single values or units
/// cannot be combined with a factor. It stands alone: the user chose it for spikes.
fn combine(by_policy: Decision, coefficient: f64) -> Decision {
    match by_policy {
        Decision::Keep => Decision::ScaleGlobal { coefficient },
        // The spike was judged by the norm that the policy leaves.
        Decision::ScaleGlobal { coefficient: own } => Decision::ScaleGlobal {
            coefficient: own * coefficient,
        },
        Decision::ScalePerTensor { coefficients } => Decision::ScalePerTensor {
            coefficients: coefficients.iter().map(|own| own * coefficient).collect(),
        },
        other => other,
    }
}
