use crate::detect::{Detection, Detector};
use crate::guard::Judgement;
use crate::outcome::{Curves, End, Goal, Outcome, Verdict, WeightGrowth, final_loss};
use crate::{Decision, StepReading};

/// Without an active guard, a run continues for this many steps after its first non-finite value.
/// Its record then shows the consequences.
const STEPS_AFTER_THE_END: u64 = 3;

/// Collects the [`Outcome`] of a trial, step by step.
#[derive(Debug, Clone, Default)]
pub struct TrialRecorder {
    trace: Curves,
    detections: Vec<Detection>,
    detection_steps: u64,
    clipped: u64,
    weights: WeightNorms,
    first_non_finite_step: Option<u64>,
    steps_done: u64,
}

/// The values that are known only at the end of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialEnd {
    /// The metric on the validation data; larger is better. NaN if the model is lost.
    pub validation_metric: f64,
    /// The metric at which the task counts as solved.
    pub goal: Goal,
    /// See [`Outcome::work`].
    pub work: f64,
    /// See [`Outcome::seconds`].
    pub seconds: f64,
}

impl TrialRecorder {
    /// Records one judged step. Returns the end of the trial if the guard stopped it, or if values
    /// have been non-finite for several steps.
    pub fn step(&mut self, reading: &StepReading, judgement: &Judgement) -> Option<End> {
        let step = reading.step;
        self.trace.loss.push(reading.loss);
        self.trace.grad_norm.push(reading.gradients.global_norm());
        let explosive = |seen: &Detection| seen.detector.is_about_explosion();
        let explodes = judgement.detections.iter().any(explosive);
        self.detection_steps += u64::from(explodes);
        self.weights.read(reading, explodes);
        for detection in &judgement.detections {
            if detection.detector == Detector::NonFinite {
                self.first_non_finite_step.get_or_insert(step);
            }
            let known = |seen: &Detection| seen.detector == detection.detector;
            if !self.detections.iter().any(known) {
                self.detections.push(detection.clone());
            }
        }
        self.clipped += u64::from(matches!(judgement.decision, Decision::ScaleGlobal { .. }));
        if let Decision::Stop { reason } = &judgement.decision {
            let reason = format!("stopped at step {step}: {reason}");
            return Some(End::Failed { reason });
        }
        self.steps_done += 1;
        let first = self.first_non_finite_step?;
        (step >= first + STEPS_AFTER_THE_END).then(|| End::Failed {
            reason: format!("non-finite since step {first}"),
        })
    }

    /// Returns the outcome of the whole trial.
    pub fn finish(self, end: End, at: TrialEnd) -> Outcome {
        let initial_loss = self.trace.loss.first().copied().unwrap_or(f64::NAN);
        let final_loss = final_loss(&self.trace.loss);
        Outcome {
            verdict: Verdict::judge(&end, &self.trace.loss, at.validation_metric, at.goal),
            end,
            steps_done: self.steps_done,
            detections: self.detections,
            detection_steps: self.detection_steps,
            first_non_finite_step: self.first_non_finite_step,
            initial_loss,
            final_loss,
            validation_metric: at.validation_metric,
            stability_margin: None,
            weight_growth: self.weights.growth(),
            clip_rate: self.clipped as f64 / self.trace.loss.len().max(1) as f64,
            work: at.work,
            trace: self.trace,
            seconds: at.seconds,
        }
    }
}

/// Collects the norm of all weights and the learning rates over the healthy steps.
#[derive(Debug, Clone, Default)]
struct WeightNorms {
    /// The first and the last norm.
    ends: Option<(f64, f64)>,
    /// The number of updates between these norms, and the sum of their learning rates.
    updates: u64,
    rates: f64,
    /// The learning rate of the update that follows the last norm.
    next_rate: f64,
    over: bool,
}

impl WeightNorms {
    /// Reads the weight norm before this step's update. An explosion or a missing norm ends the
    /// healthy part.
    fn read(&mut self, reading: &StepReading, explodes: bool) {
        let norm = reading.weight_norm().filter(|_| !explodes && !self.over);
        let Some(norm) = norm else {
            self.over = true;
            return;
        };
        match &mut self.ends {
            None => self.ends = Some((norm, norm)),
            Some((_, last)) => {
                *last = norm;
                self.updates += 1;
                self.rates += self.next_rate;
            }
        }
        self.next_rate = reading.learning_rate;
    }

    fn growth(&self) -> Option<WeightGrowth> {
        let (start, end) = self.ends.filter(|_| self.updates > 0)?;
        Some(WeightGrowth {
            start,
            end,
            updates: self.updates,
            learning_rate: self.rates / self.updates as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::reading;
    use crate::guard::{Guard, Preset};

    const AT: TrialEnd = TrialEnd {
        validation_metric: 0.97,
        goal: Goal {
            metric: 0.95,
            trivial: 0.1,
        },
        work: 1.0,
        seconds: 2.0,
    };

    fn run(preset: Preset, losses: &[f64]) -> (Outcome, usize) {
        let (mut guard, mut recorder) = (Guard::from(preset), TrialRecorder::default());
        for (step, loss) in losses.iter().enumerate() {
            let reading = reading(step as u64, *loss, 1.0);
            let judgement = guard.step(&reading);
            if let Some(end) = recorder.step(&reading, &judgement) {
                return (recorder.finish(end, AT), step);
            }
        }
        (recorder.finish(End::Completed, AT), losses.len())
    }

    #[test]
    fn a_run_to_its_end() {
        let falls: Vec<f64> = (0..40).map(|step| 2.0 - 0.04 * f64::from(step)).collect();
        let (outcome, _) = run(Preset::Observe, &falls);
        assert_eq!(outcome.verdict, Verdict::Cured);
        assert_eq!(outcome.steps_done, 40);
        assert_eq!(outcome.trace.loss, falls);
        assert_eq!(outcome.initial_loss, 2.0);
        // The last four losses are, sorted, 0.44, 0.48, 0.52 and 0.56. The upper median is 0.52.
        assert!((outcome.final_loss - 0.52).abs() < 1e-12);
        assert_eq!((outcome.clip_rate, outcome.seconds), (0.0, 2.0));
    }

    #[test]
    fn a_run_without_a_guard_ends_soon_after_its_first_non_finite_value() {
        let mut losses = [1.0; 20];
        losses[5..].fill(f64::NAN);
        let (outcome, ended) = run(Preset::Observe, &losses);
        assert_eq!(ended, 8);
        assert_eq!(outcome.first_non_finite_step, Some(5));
        assert_eq!(outcome.verdict, Verdict::Diverged);
        assert!(outcome.final_loss.is_nan());
        let end = End::Failed {
            reason: "non-finite since step 5".into(),
        };
        assert_eq!(outcome.end, end);
    }

    #[test]
    fn nothing_is_no_success() {
        let (outcome, _) = run(Preset::Observe, &[]);
        assert!(outcome.initial_loss.is_nan() && outcome.final_loss.is_nan());
        assert_eq!(outcome.verdict, Verdict::Diverged);
        assert_eq!(outcome.clip_rate, 0.0);
    }

    /// Returns the weight growth for these norms at learning rates 0.1, 0.2 and so on. The loss
    /// becomes NaN at step `explodes_at`.
    fn growth(norms: &[f64], explodes_at: usize) -> Option<WeightGrowth> {
        let (mut guard, mut recorder) = (Guard::from(Preset::Observe), TrialRecorder::default());
        for (step, norm) in norms.iter().enumerate() {
            let loss = if step < explodes_at { 1.0 } else { f64::NAN };
            let mut reading = reading(step as u64, loss, 1e-3).with_weight_norms(vec![*norm]);
            reading.learning_rate = 0.1 * (1 + step) as f64;
            let judgement = guard.step(&reading);
            recorder.step(&reading, &judgement);
        }
        recorder.finish(End::Completed, AT).weight_growth
    }

    #[test]
    fn the_weights_growth_ends_before_the_explosion() {
        let found = growth(&[1.0, 2.0, 4.0, 8.0, 1e9], 4).unwrap();
        assert_eq!((found.start, found.end, found.updates), (1.0, 8.0, 3));
        assert!((found.learning_rate - 0.2).abs() < 1e-12);
        assert!((found.log_growth() - 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn weights_without_two_healthy_norms_have_no_growth() {
        for (norms, explodes_at) in [
            (&[][..], 9),
            (&[1.0], 9),
            (&[1.0, 2.0], 1),
            (&[1.0, 2.0], 0),
            (&[-1.0, 2.0, 3.0], 9),
        ] {
            assert_eq!(growth(norms, explodes_at), None, "{norms:?}");
        }
        let odd = growth(&[0.0, 1.0], 9).unwrap();
        assert!(!odd.log_growth().is_finite());
    }
}
