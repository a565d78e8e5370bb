//! Tests the whole guard. It never panics and lets no non-finite value through, whatever the
//! reading. The ladder acts as documented.

use std::str::FromStr;

use proptest::prelude::*;
use steadygrad::clip::{AutoClip, GlobalNormClip, Policy, ValueClip};
use steadygrad::detect::{Detector, DetectorConfig, Severity};
use steadygrad::guard::{GuardConfigError, Incident, Preset, Response};
use steadygrad::recover::{RecoverConfig, Rung};
use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
use steadygrad::{Decision, Guard, GuardConfig, Judgement, StepReading};

const LEARNING_RATE: f64 = 0.01;

/// Returns a reading of one parameter with weight norm 1 and this gradient.
fn reading(step: u64, loss: f64, gradient: f64) -> StepReading {
    let gradients = GradientStats {
        tensors: vec![NamedStats {
            name: "w".into(),
            stats: TensorStats::of(&[gradient]),
        }],
    };
    StepReading::new(step, loss, LEARNING_RATE, gradients).with_weight_norms(vec![1.0])
}

/// Returns a healthy reading with some noise.
fn healthy(step: u64) -> StepReading {
    let noise = [1.0, 1.1, 0.9, 1.05, 0.95][step as usize % 5];
    reading(step, noise, noise)
}

/// A guard whose adapter takes every requested snapshot and restores every snapshot.
struct Run {
    guard: Guard,
    step: u64,
    /// Whether the adapter keeps the state before a rollback when the guard wants it.
    keeps_abandoned: bool,
}

impl Run {
    fn new(config: impl Into<GuardConfig>) -> Self {
        Self {
            guard: Guard::new(config.into()).unwrap(),
            step: 0,
            keeps_abandoned: true,
        }
    }

    fn show(&mut self, mut reading: StepReading) -> Judgement {
        reading.step = self.step;
        if self.guard.wants_snapshot(self.step) {
            self.guard.snapshot_taken(self.step);
        }
        let judgement = self.guard.step(&reading);
        if let Decision::Rollback { to_step, .. } = judgement.decision {
            assert!(to_step <= self.step);
            if self.keeps_abandoned && self.guard.wants_abandoned() {
                self.guard.rolled_back_from(self.step, to_step);
            } else {
                self.guard.rolled_back(to_step);
            }
        }
        self.step += 1;
        judgement
    }

    fn calm(&mut self, steps: u64) {
        for step in 0..steps {
            let judgement = self.show(healthy(step));
            assert_eq!(judgement.rung, Rung::Keep, "{judgement:?}");
        }
    }

    /// Shows the step that the guard skips after a rollback. The weights do not change in it.
    fn left_out(&mut self) {
        let judgement = self.show(healthy(0));
        assert_eq!(judgement.rung, Rung::Skip, "{judgement:?}");
        assert_eq!(judgement.detections, []);
    }

    fn rungs(&mut self, steps: usize, reading: &StepReading) -> Vec<Rung> {
        (0..steps)
            .map(|_| self.show(reading.clone()).rung)
            .collect()
    }
}

fn tensors(rows: Vec<(f64, u64)>) -> GradientStats {
    let tensors = rows.into_iter().enumerate();
    GradientStats {
        tensors: tensors
            .map(|(index, (tensor_norm, non_finite))| NamedStats {
                name: format!("{index}"),
                stats: TensorStats {
                    tensor_norm,
                    max_abs: tensor_norm.abs(),
                    len: 4,
                    non_finite,
                    ..TensorStats::default()
                },
            })
            .collect(),
    }
}

/// Returns readings that no healthy adapter measures.
fn hostile() -> Vec<StepReading> {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        -1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1.0,
    ];
    let mut all = vec![StepReading::default()];
    for value in odd {
        all.push(reading(0, value, 1.0));
        all.push(reading(u64::MAX, 1.0, value));
        all.push(healthy(3).with_weight_norms(vec![value]));
        all.push(healthy(3).with_weight_norms(vec![value; 4]));
        all.push(healthy(2).with_update_norms(vec![value, 1.0]));
        all.push(healthy(1).with_loss_after(value));
        all.push(StepReading {
            learning_rate: value,
            ..healthy(0)
        });
        all.push(StepReading {
            depth_growth: Some(value),
            time_growth: Some(value),
            ..healthy(7)
        });
        // The norm and the counts contradict each other, and parameters come and go.
        all.push(StepReading::new(5, 1.0, 0.1, tensors(vec![(value, 0)])));
        all.push(StepReading::new(
            5,
            1.0,
            0.1,
            tensors(vec![(1.0, 2), (value, 0)]),
        ));
        all.push(StepReading::new(5, value, 0.1, tensors(vec![])));
    }
    all
}

fn is_finite(reading: &StepReading) -> bool {
    reading.loss.is_finite()
        && reading.learning_rate.is_finite()
        && reading.gradients.global_norm().is_finite()
        && reading.gradients.non_finite() == 0
        && !reading
            .weight_norms
            .iter()
            .any(|norm| norm.is_nan() || *norm == f64::INFINITY)
}

/// Shows a stream to one guard, and to a second guard that is saved and loaded before each step.
fn survive(preset: Preset, readings: &[&StepReading], answers: u64) {
    let mut guard = Guard::from(preset);
    let mut resumed = guard.clone();
    for (index, &reading) in readings.iter().enumerate() {
        let text = serde_json::to_string(&resumed).unwrap();
        resumed = serde_json::from_str(&text).unwrap();
        assert_eq!(guard, resumed);
        for guard in [&mut guard, &mut resumed] {
            if guard.wants_snapshot(reading.step) {
                guard.snapshot_taken(reading.step);
            }
        }
        let (judgement, same) = (guard.step(reading), resumed.step(reading));
        assert_eq!(format!("{judgement:?}"), format!("{same:?}"));
        let applies = judgement.decision.applies();
        if preset == Preset::Observe {
            assert_eq!(judgement.decision, Decision::Keep);
        } else {
            assert!(is_finite(reading) || !applies, "{reading:?}: {judgement:?}");
        }
        let scale = judgement.learning_rate_scale;
        assert!(scale > 0.0 && scale <= 1.0, "{scale}");
        assert_eq!(scale, guard.learning_rate_scale());
        if let Some(reason) = judgement.decision.reason() {
            assert!(!reason.is_empty());
        }
        if let Some(incident) = judgement.incident(reading.step) {
            let text = serde_json::to_string(&incident).unwrap();
            let read: Incident = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{read:?}"), format!("{incident:?}"));
        } else {
            assert_eq!(judgement.decision, Decision::Keep);
        }
        if let Decision::Rollback { to_step, .. } = judgement.decision {
            for guard in [&mut guard, &mut resumed] {
                match (index as u64 + answers) % 3 {
                    0 => guard.rolled_back(to_step),
                    1 => {
                        let other = guard.rollback_failed(to_step, "torn");
                        assert!(!other.decision.applies());
                    }
                    // The adapter never answers.
                    _ => {}
                }
            }
        }
    }
    let summary = guard.summary();
    let rungs = summary.kept
        + summary.clipped_by_policy
        + summary.clipped
        + summary.skipped
        + summary.lowered
        + summary.rolled_back
        + summary.stopped;
    assert_eq!(rungs, summary.readings);
    assert_eq!(summary.readings, readings.len() as u64);
}

#[test]
fn every_hostile_reading_through_every_preset() {
    let (hostile, normal) = (hostile(), healthy(0));
    for preset in Preset::ALL {
        survive(preset, &hostile.iter().collect::<Vec<_>>(), 0);
        for reading in &hostile {
            // The reading comes at the first step, once in a calm run, and then repeatedly.
            let mut stream = vec![reading];
            stream.extend([&normal; 30]);
            stream.push(reading);
            stream.extend([&normal; 30]);
            stream.extend([reading; 30]);
            stream.extend([&normal; 30]);
            for answers in 0..3 {
                survive(preset, &stream, answers);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_readings_in_any_order(
        picks in prop::collection::vec(0usize..200, 1..120), answers in 0u64..3,
    ) {
        let (hostile, normal) = (hostile(), healthy(0));
        // About half of the picks are healthy.
        let stream: Vec<_> = picks.iter().map(|&pick| hostile.get(pick).unwrap_or(&normal)).collect();
        for preset in Preset::ALL {
            survive(preset, &stream, answers);
        }
    }

    /// With the same history, a higher sensitivity never reacts less.
    #[test]
    fn the_dial_is_monotone(
        low in 0.0..1.0f64, high in 0.0..1.0f64, noise in 0.0..0.8f64,
        loss in 0.5..50.0f64, gradient in -1.0..6.0f64, rate in 0.0..3.0f64, weight in 0.0..2.0f64,
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let at = |sensitivity: f64| {
            let config = GuardConfig::default().with_sensitivity(sensitivity).unwrap();
            let mut run = Run::new(config);
            for step in 0..60u64 {
                let swing = 1.0 + noise * ((step * 7 % 11) as f64 / 11.0 - 0.5);
                run.show(reading(step, swing, swing));
            }
            let mut odd = reading(60, loss, 10f64.powf(gradient));
            odd.learning_rate *= 10f64.powf(rate);
            run.show(odd.with_weight_norms(vec![10f64.powf(weight)]))
        };
        let (calm, eager) = (at(low), at(high));
        prop_assert!(calm.severity() <= eager.severity(), "{calm:?} {eager:?}");
        prop_assert!(calm.rung <= eager.rung, "{calm:?} {eager:?}");
    }

    /// Other units for gradients and losses give the same judgements.
    #[test]
    fn units_do_not_matter(power in -20i32..20, seed in 0u64..1000) {
        let factor = 2f64.powi(power);
        let rungs = |gradients: f64, losses: f64| -> Vec<Rung> {
            let mut run = Run::new(GuardConfig::default());
            (0..150u64)
                .map(|step| {
                    let swing = 1.0 + (step.wrapping_mul(seed * 2 + 1) % 13) as f64 / 40.0;
                    let spike = if step % 50 == 49 { 2f64.powi((seed % 12) as i32) } else { 1.0 };
                    // The learning rate is too low for any absolute bound on the update.
                    let mut reading = reading(step, swing * spike * losses, swing * spike * gradients);
                    reading.learning_rate = 1e-12;
                    run.show(reading).rung
                })
                .collect()
        };
        prop_assert_eq!(rungs(1.0, 1.0), rungs(factor, factor));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// The guard keeps a reading within the quiet bounds, whatever the history.
    #[test]
    fn a_reading_within_the_quiet_bounds_is_kept(
        sensitivity in 0.0..1.0f64,
        clip in prop::option::of(0.1..10.0f64),
        rates in prop::collection::vec(-0.02..0.02f64, 4),
        norms in prop::collection::vec(-0.4..0.5f64, 160),
        losses in prop::collection::vec(-0.3..0.3f64, 160),
        drifts in prop::collection::vec((-0.3..0.4f64, -0.1..0.1f64), 8),
        within in (0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64),
    ) {
        let mut config = GuardConfig::default().with_sensitivity(sensitivity).unwrap();
        if let Some(max_norm) = clip {
            config = config.with_clip(GlobalNormClip::new(max_norm));
        }
        let mut run = Run::new(config);
        let (mut norm, mut loss, mut rate) = (0.0f64, 0.0f64, LEARNING_RATE.ln());
        for step in 0..160usize {
            let (of_norm, of_loss) = drifts[step / 20];
            norm += of_norm + norms[step] * 0.5;
            loss += of_loss + losses[step];
            rate += rates[step / 40];
            let rate = rate.exp();
            let at = |loss: f64, norm: f64, weights: f64| StepReading {
                step: run.step,
                learning_rate: rate,
                ..reading(0, loss, norm).with_weight_norms(vec![weights])
            };
            if let Some(quiet) = run.guard.quiet(rate) {
                let (a, b, c) = within;
                let weights = quiet.least_weight_norm..=quiet.weight_norm.min(1.0 + quiet.weight_rise);
                let between = weights.start() + c * (weights.end() - weights.start());
                for reading in [
                    at(quiet.loss, quiet.global_norm, *weights.start()),
                    at(quiet.loss, quiet.global_norm, *weights.end()),
                    at(a * quiet.loss, b * quiet.global_norm, between),
                    at(quiet.loss, b * quiet.global_norm, between),
                    at(a * quiet.loss, quiet.global_norm, 1.0),
                    at(-1e9, 0.0, 1.0),
                ] {
                    let judgement = run.guard.clone().step(&reading);
                    prop_assert_eq!(&judgement.decision, &Decision::Keep, "{:?} {:?}", reading, judgement);
                    prop_assert!(judgement.severity() < Some(Severity::Harmful), "{:?}", judgement);
                }
            }
            let reading = at(loss.exp(), norm.exp(), 1.0);
            run.show(reading);
        }
    }
}

/// The bounds are useful: nearly all steps of a healthy run are within them.
#[test]
fn a_healthy_run_is_nearly_always_within_the_quiet_bounds() {
    let mut run = Run::new(Preset::Default);
    let mut within = 0;
    for step in 0..400u64 {
        let noise = |by: u64| ((step * by) % 97) as f64 / 97.0;
        let next = reading(
            step,
            2.0 / (1.0 + step as f64 / 50.0) + 0.2 * noise(31),
            0.5 + noise(53),
        );
        let quiet = run.guard.quiet(LEARNING_RATE);
        assert!(step >= 20 || quiet.is_none());
        within += usize::from(quiet.is_some_and(|quiet| {
            next.loss <= quiet.loss && next.gradients.global_norm() <= quiet.global_norm
        }));
        assert_eq!(run.show(next).rung, Rung::Keep);
    }
    assert_eq!(within, 380);
}

#[test]
fn nothing_is_quiet_where_the_guard_may_act() {
    for preset in [Preset::Observe, Preset::Default] {
        assert_eq!(Run::new(preset).guard.quiet(LEARNING_RATE), None);
    }
    let mut run = Run::new(Preset::Default);
    run.calm(60);
    let quiet = run.guard.quiet(LEARNING_RATE).unwrap();
    for rate in [f64::NAN, f64::INFINITY, -1.0, 31.0 * LEARNING_RATE] {
        assert_eq!(run.guard.quiet(rate), None, "{rate}");
    }
    assert_eq!(
        run.guard.quiet(0.0).map(|quiet| quiet.loss),
        Some(quiet.loss)
    );
    // After a skipped step, any change of the weights is out of bounds.
    assert_eq!(run.show(reading(0, f64::NAN, 1.0)).rung, Rung::Skip);
    assert_eq!(run.guard.quiet(LEARNING_RATE), None);
    run.calm(1);
    assert!(run.guard.quiet(LEARNING_RATE).is_some());
    run.rungs(
        8,
        &StepReading {
            learning_rate: 1.0,
            ..healthy(0)
        },
    );
    assert_eq!(run.guard.quiet(1.0), None);
    // Norm clipping limits the quiet bounds. The decision of any other policy cannot be predicted.
    let mut run = Run::new(GuardConfig::default().with_clip(GlobalNormClip::new(1.5)));
    run.calm(60);
    assert_eq!(
        run.guard
            .quiet(LEARNING_RATE)
            .map(|quiet| quiet.global_norm),
        Some(1.5)
    );
    let mut run = Run::new(GuardConfig::default().with_clip(AutoClip::default()));
    run.calm(60);
    assert_eq!(run.guard.quiet(LEARNING_RATE), None);
}

#[test]
fn a_healthy_run_is_left_alone() {
    for preset in Preset::ALL {
        let mut run = Run::new(preset);
        run.calm(500);
        let summary = run.guard.summary();
        assert_eq!(summary.kept, 500);
        assert_eq!(run.guard.learning_rate_scale(), 1.0);
    }
}

#[test]
fn a_moderate_spike_is_clipped_to_the_largest_usual_norm_and_a_far_one_is_skipped() {
    let mut run = Run::new(Preset::Default);
    run.calm(50);
    let Decision::ScaleGlobal { coefficient } = run.show(reading(0, 1.0, 50.0)).decision else {
        panic!("not clipped");
    };
    // The bound is ten times the median.
    assert!((coefficient * 50.0 - 10.0).abs() < 1e-9, "{coefficient}");
    let judgement = run.show(reading(0, 1.0, 1e6));
    assert!(matches!(judgement.decision, Decision::Skip { .. }));
    assert_eq!(judgement.severity(), Some(Severity::Harmful));
    run.calm(50);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
}

#[test]
fn the_ladder_step_by_step_and_back() {
    let mut run = Run::new(Preset::Default);
    run.calm(50);
    let nan = reading(0, f64::NAN, f64::NAN);
    let mut expected = vec![Rung::Skip; 5];
    expected.push(Rung::LowerLearningRate);
    expected.extend([Rung::Skip; 4]);
    expected.push(Rung::Rollback);
    assert_eq!(run.rungs(11, &nan), expected);
    // The scale is 0.5 after the lower rate, times 0.3 after the rollback.
    assert!((run.guard.learning_rate_scale() - 0.15).abs() < 1e-12);
    // The scale recovers after a delay, step by step, exactly to 1.
    run.left_out();
    run.calm(19);
    assert!((run.guard.learning_rate_scale() - 0.15).abs() < 1e-12);
    run.calm(10);
    let scale = run.guard.learning_rate_scale();
    assert!(0.15 < scale && scale < 1.0, "{scale}");
    run.calm(60);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
}

#[test]
fn endless_harm_ends_in_a_stop_that_says_what_was_tried() {
    let mut run = Run::new(Preset::Default);
    run.calm(50);
    let nan = reading(0, f64::NAN, 1.0);
    let rungs = run.rungs(200, &nan);
    assert_eq!(rungs.last(), Some(&Rung::Stop));
    assert_eq!(run.guard.summary().rolled_back, 5);
    let Decision::Stop { reason } = run.show(healthy(0)).decision else {
        panic!("a stopped run goes on");
    };
    assert!(reason.contains("rollbacks (5)"), "{reason}");
    assert!(!run.guard.wants_snapshot(1000));
}

#[test]
fn without_snapshots_non_finite_values_end_the_run_and_a_new_level_is_accepted() {
    let mut guard = Guard::default();
    (0..50).for_each(|step| drop(guard.step(&healthy(step))));
    let mut nan = guard.clone();
    let rungs: Vec<Rung> = (0..12)
        .map(|step| nan.step(&reading(step, f64::NAN, 1.0)).rung)
        .collect();
    assert_eq!(rungs.iter().position(|rung| *rung == Rung::Stop), Some(10));

    let rungs: Vec<Rung> = (0..40)
        .map(|step| guard.step(&reading(step, 90.0, 5e3)).rung)
        .collect();
    assert_eq!(guard.summary().new_levels, 1);
    assert!(
        rungs[11..].iter().all(|rung| *rung == Rung::Keep),
        "{rungs:?}"
    );
}

/// The loss stays high for every batch because the weights are damaged. The rollback heals it.
#[test]
fn damage_that_shows_in_the_loss_is_rolled_back_to_before_it() {
    let mut run = Run::new(Preset::Default);
    run.calm(58);
    let high = reading(0, 80.0, 1.0);
    assert_eq!(run.rungs(5, &high), [Rung::Skip; 5]);
    let judgement = run.show(high);
    // The snapshot of step 40 is the newest and has seen 18 calm steps.
    assert!(
        matches!(judgement.decision, Decision::Rollback { to_step: 40, .. }),
        "{judgement:?}"
    );
    run.left_out();
    run.calm(100);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
}

/// The loss is still high after the rollback, because the data have changed.
#[test]
fn a_lasting_change_of_the_data_is_accepted_in_the_end() {
    let mut run = Run::new(Preset::Default);
    run.calm(60);
    let changed = |step: u64| {
        let noise = [1.0, 1.1, 0.9][step as usize % 3];
        reading(step, 80.0 * noise, 5.0 * noise)
    };
    let rungs: Vec<Rung> = (0..200).map(|step| run.show(changed(step)).rung).collect();
    // The first rollback goes to the snapshot, the second back to the abandoned state.
    assert_eq!(run.guard.summary().rolled_back, 2);
    assert_eq!(run.guard.summary().new_levels, 1);
    let last = rungs.iter().rposition(|rung| *rung != Rung::Keep);
    // There are 5 skips, the rollback, and one skip to check that the weights stand still. Then
    // come 30 skips of possibly bad data, and the accepted step.
    assert_eq!(last, Some(37), "{rungs:?}");
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
}

/// The guard waits while bad data get worse. It never trains the snapshot on them.
#[test]
fn data_that_get_worse_are_no_level_yet() {
    let worse = |steps: u64| {
        let mut run = Run::new(Preset::Default);
        run.calm(60);
        let bad = |step: u64| {
            let noise = [1.0, 1.1, 0.9][step as usize % 3];
            reading(step, noise * (40.0 + 2.0 * step as f64), 1.0)
        };
        let rungs: Vec<Rung> = (0..steps).map(|step| run.show(bad(step)).rung).collect();
        (run, rungs)
    };
    let (mut run, rungs) = worse(60);
    assert_eq!(rungs[5], Rung::Rollback);
    assert!(
        rungs[6..].iter().all(|rung| *rung == Rung::Skip),
        "{rungs:?}"
    );
    assert_eq!(run.guard.summary().new_levels, 0);
    run.calm(200);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
    // Data that stay bad for long are accepted as the new level.
    let (run, rungs) = worse(150);
    assert_eq!(run.guard.summary().new_levels, 1);
    let accepted = rungs[6..].iter().position(|rung| *rung != Rung::Skip);
    assert_eq!(accepted, Some(91));
}

/// Returns a run whose loss fell from 2.3 to 0.3 and then relapsed for five readings. The guard
/// rolled it back from step 104 to step 80.
fn rolled_back_for_its_loss(keeps_abandoned: bool) -> Run {
    let mut run = Run {
        keeps_abandoned,
        ..Run::new(Preset::Default)
    };
    for step in 0..100 {
        let noise = f64::from([0, 2, -1, 1, -2][step as usize % 5]);
        let loss = 0.3 + 2.0 * (-(step as f64) / 10.0).exp() + 0.01 * noise;
        let judgement = run.show(reading(step, loss, 1.0 + 0.05 * noise));
        assert_eq!(judgement.rung, Rung::Keep, "{judgement:?}");
    }
    let rungs: Vec<Rung> = (0..5).map(|_| run.show(back()).rung).collect();
    assert_eq!(rungs[..4], [Rung::Keep; 4]);
    assert_eq!(rungs[4], Rung::Rollback);
    run
}

/// Returns a reading with the loss of an untrained network. It is not a spike.
fn back() -> StepReading {
    reading(0, 1.4, 1.0)
}

#[test]
fn a_rollback_that_shows_the_data_to_be_at_fault_is_taken_back() {
    let mut run = rolled_back_for_its_loss(true);
    assert_eq!(run.guard.snapshots().collect::<Vec<_>>(), [60, 80, 104]);
    assert!((run.guard.learning_rate_scale() - 0.3).abs() < 1e-12);
    // The guard skips one step. Five readings show that the high loss lasts. Bad data may last for
    // 30 more.
    let mut judgement = run.show(back());
    let mut rungs = vec![judgement.rung];
    while judgement.rung != Rung::Rollback {
        judgement = run.show(back());
        rungs.push(judgement.rung);
    }
    let mut expected = vec![Rung::Skip];
    expected.extend([Rung::Keep; 3]);
    expected.extend([Rung::Skip; 30]);
    expected.push(Rung::Rollback);
    assert_eq!(rungs, expected);
    assert!(matches!(
        judgement.decision,
        Decision::Rollback { to_step: 104, .. }
    ));
    // The state before the rollback is back, and the guard accepts the new loss level.
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
    assert_eq!(run.guard.summary().new_levels, 1);
    assert_eq!(run.rungs(100, &back()), [Rung::Keep; 100]);
    // The restored state is on probation for eight readings, like any other snapshot.
    assert!(run.guard.snapshots().any(|step| step > 104));
}

#[test]
fn a_rollback_that_helped_is_not_taken_back() {
    let mut run = rolled_back_for_its_loss(true);
    run.show(reading(0, 0.3, 1.0));
    assert_eq!(run.guard.snapshots().collect::<Vec<_>>(), [60, 80]);
    for _ in 0..40 {
        if let Decision::Rollback { to_step, .. } = run.show(back()).decision {
            assert!(to_step <= 80);
        }
    }
}

#[test]
fn an_adapter_that_does_not_keep_the_state_it_left_is_not_asked_for_it() {
    let mut run = rolled_back_for_its_loss(false);
    assert_eq!(run.guard.snapshots().collect::<Vec<_>>(), [60, 80]);
    run.rungs(40, &back());
    assert_eq!(run.guard.summary().rolled_back, 1);
    assert_eq!(run.guard.summary().new_levels, 1);
}

#[test]
fn where_the_state_that_was_left_is_lost_the_snapshot_stays() {
    let mut run = rolled_back_for_its_loss(true);
    let guard = &mut run.guard;
    let mut step = run.step;
    while !matches!(
        guard.step(&back()).decision,
        Decision::Rollback { to_step: 104, .. }
    ) {
        step += 1;
        assert!(step < 200, "the guard never asked for step 104");
    }
    let judgement = guard.rollback_failed(104, "torn");
    assert_eq!(judgement.rung, Rung::Skip);
    assert!((judgement.learning_rate_scale - 0.3).abs() < 1e-12);
    assert_eq!(guard.snapshots().collect::<Vec<_>>(), [60, 80]);
    assert_eq!(guard.step(&back()).rung, Rung::Keep);
}

#[test]
fn a_rollback_for_damaged_weights_leaves_nothing_to_take_up() {
    let mut run = Run::new(Preset::Default);
    run.calm(44);
    run.show(healthy(0).with_weight_norms(vec![1e20]));
    assert!(!run.guard.wants_abandoned());
    assert_eq!(run.guard.snapshots().collect::<Vec<_>>(), [0, 20]);
}

#[test]
fn damaged_weights_are_rolled_back_at_once_and_a_young_snapshot_is_not_trusted() {
    let mut run = Run::new(Preset::Default);
    run.calm(44);
    for weights in [f64::NAN, f64::INFINITY, 1e20] {
        let mut run = Run {
            guard: run.guard.clone(),
            ..run
        };
        let judgement = run.show(healthy(0).with_weight_norms(vec![weights]));
        assert!(
            matches!(judgement.decision, Decision::Rollback { to_step: 20, .. }),
            "{judgement:?}"
        );
        assert_eq!(run.guard.snapshots().collect::<Vec<_>>(), [0, 20]);
        // The next fault comes before a calm phase. The guard uses an older snapshot and a lower
        // rate.
        let judgement = run.show(healthy(0).with_weight_norms(vec![f64::NAN]));
        assert!(matches!(
            judgement.decision,
            Decision::Rollback { to_step: 0, .. }
        ));
        assert!((judgement.learning_rate_scale - 0.09).abs() < 1e-12);
    }
}

/// User code writes to the weights after the rollback. The guard skips every step meanwhile. When
/// the writes end, the guard rolls them back.
#[test]
fn writes_to_the_weights_are_waited_for_and_rolled_back() {
    let weights = |norm: f64| healthy(0).with_weight_norms(vec![norm]);
    let mut run = Run::new(Preset::Default);
    run.calm(44);
    assert_eq!(run.show(weights(1e20)).rung, Rung::Rollback);
    let mut norm = 1.0;
    for _ in 0..40 {
        norm *= 1.05;
        let judgement = run.show(weights(norm));
        assert_eq!(judgement.rung, Rung::Skip, "{judgement:?}");
    }
    assert_eq!(run.rungs(2, &weights(norm)), [Rung::Skip; 2]);
    let judgement = run.show(weights(norm));
    assert!(
        matches!(&judgement.decision, Decision::Rollback { to_step: 0, reason }
            if reason.contains("although the step before was not applied")),
        "{judgement:?}"
    );
    run.left_out();
    run.calm(100);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
    assert_eq!(run.guard.summary().rolled_back, 2);
}

/// User code may write to the weights on purpose. An embedding of bounded norm does so in every
/// forward pass.
#[test]
fn weights_that_are_written_to_without_end_are_trained_in_the_end() {
    let mut run = Run::new(Preset::Default);
    let mut norm = 1.0;
    let mut written = |run: &mut Run, gradient: f64| {
        norm *= 1.0001;
        let noise = healthy(run.step);
        let bad = reading(0, noise.loss, gradient).with_weight_norms(vec![norm]);
        run.show(if gradient.is_finite() {
            noise.with_weight_norms(vec![norm])
        } else {
            bad
        })
    };
    for _ in 0..60 {
        assert_eq!(written(&mut run, 1.0).rung, Rung::Keep);
    }
    assert_eq!(written(&mut run, f64::NAN).rung, Rung::Skip);
    let rungs: Vec<Rung> = (0..400).map(|_| written(&mut run, 1.0).rung).collect();
    assert_eq!(run.guard.summary().rolled_back, 2);
    assert_eq!(rungs[92..], [Rung::Keep; 308]);
    // The guard does not wait a second time.
    written(&mut run, f64::NAN);
    let rungs: Vec<Rung> = (0..100).map(|_| written(&mut run, 1.0).rung).collect();
    assert_eq!(rungs[0], Rung::Rollback);
    assert_eq!(rungs[1..], [Rung::Keep; 99]);
}

/// The data cause losses around the bound, one in seven below it. The guard accepts them.
#[test]
fn a_noisy_change_of_the_data_is_accepted_in_the_end() {
    let mut run = rolled_back_for_its_loss(true);
    let rungs: Vec<Rung> = (0..200)
        .map(|step| {
            let loss = if step % 7 == 6 { 0.8 } else { 1.4 };
            run.show(reading(0, loss, 1.0)).rung
        })
        .collect();
    let last = rungs.iter().rposition(|rung| *rung != Rung::Keep);
    assert!(last.is_some_and(|last| last < 100), "{rungs:?}");
    assert_eq!(run.guard.summary().rolled_back, 1);
    assert_eq!(run.rungs(50, &back()), [Rung::Keep; 50]);
}

#[test]
fn a_snapshot_that_cannot_be_restored_gives_way_to_an_older_one_and_then_the_run_stops() {
    let mut guard = Guard::default();
    for step in 0..50 {
        if guard.wants_snapshot(step) {
            guard.snapshot_taken(step);
        }
        guard.step(&healthy(step));
    }
    let lost = healthy(50).with_weight_norms(vec![f64::NAN]);
    let Decision::Rollback { to_step: 40, .. } = guard.step(&lost).decision else {
        panic!("no rollback");
    };
    for (torn, expected) in [(40, 20), (20, 0)] {
        let Decision::Rollback { to_step, .. } = guard.rollback_failed(torn, "torn").decision
        else {
            panic!("no other snapshot");
        };
        assert_eq!(to_step, expected);
    }
    assert_eq!(guard.rollback_failed(0, "torn").rung, Rung::Stop);
    assert_eq!(guard.summary().failed_rollbacks, 3);
}

#[test]
fn norm_and_loss_that_grow_together_lower_the_learning_rate_first() {
    let mut run = Run::new(Preset::Default);
    run.calm(60);
    let mut rungs = Vec::new();
    for step in 0..17 {
        let (loss, norm) = (1.2 * 1.06f64.powi(step), 1.2 * 1.45f64.powi(step));
        rungs.push(run.show(reading(0, loss, norm)).rung);
    }
    let at = |rung| rungs.iter().position(|other| *other == rung);
    assert_eq!(at(Rung::LowerLearningRate), Some(7));
    // The lower rate gets as many steps as another rise takes.
    assert_eq!(at(Rung::Rollback), Some(16));
    assert_eq!(at(Rung::Skip), None);
}

#[test]
fn a_learning_rate_that_jumps_for_some_steps_is_skipped_and_one_that_stays_is_warmed_up_to() {
    let with_rate = |rate: f64| StepReading {
        learning_rate: rate,
        ..healthy(0)
    };
    let mut run = Run::new(Preset::Default);
    run.calm(60);
    assert_eq!(run.rungs(4, &with_rate(1.0)), [Rung::Skip; 4]);
    run.calm(1);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);

    let mut run = Run::new(Preset::Default);
    run.calm(60);
    let rungs = run.rungs(8, &with_rate(1.0));
    assert_eq!(
        rungs[5..],
        [Rung::LowerLearningRate, Rung::Keep, Rung::Keep]
    );
    // The applied rate is unchanged.
    assert!((run.guard.learning_rate_scale() - 0.01).abs() < 1e-12);
    let mut back = Run {
        guard: run.guard.clone(),
        ..run
    };
    back.calm(1);
    assert_eq!(back.guard.learning_rate_scale(), 1.0);
    assert_eq!(run.rungs(200, &with_rate(1.0)), [Rung::Keep; 200]);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
}

/// The learning rate rises without end, and the loss stays healthy.
#[test]
fn a_learning_rate_that_rises_without_end_is_held() {
    let mut run = Run::new(Preset::Default);
    run.calm(60);
    let mut most = 0.0f64;
    for step in 1..=40 {
        let learning_rate = LEARNING_RATE * 1.25f64.powi(step);
        let judgement = run.show(StepReading {
            learning_rate,
            ..healthy(0)
        });
        if judgement.decision.applies() {
            most = most.max(learning_rate * judgement.learning_rate_scale);
        }
    }
    // 1.25^15 = 28 is the last factor below a jump.
    assert!(most <= 28.5 * LEARNING_RATE, "{most}");
    assert_eq!(run.guard.summary().skipped, 5);
    let applied = run.guard.learning_rate_scale() * 1.25f64.powi(40);
    assert!((applied - 1.0).abs() < 1e-9, "{applied}");
    run.calm(1);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
    // The guard detects a second rise like the first one.
    let jump = StepReading {
        learning_rate: 1.0,
        ..healthy(0)
    };
    assert_eq!(run.rungs(1, &jump), [Rung::Skip]);
}

/// The learning rate rises without end. The loss rises once the rate has grown as much as in a
/// jump.
#[test]
fn a_rise_that_hurt_the_weights_is_rolled_back_to_before_it() {
    let mut run = Run::new(Preset::Default);
    run.calm(75);
    let rising = |step: i32, loss: f64| StepReading {
        learning_rate: LEARNING_RATE * 1.25f64.powi(step),
        ..reading(0, loss, 1.0)
    };
    let mut applied = Vec::new();
    let mut back = Vec::new();
    for step in 1..=45 {
        let loss = match step {
            16.. if back.is_empty() => 4.0,
            _ => 1.0,
        };
        let judgement = run.show(rising(step, loss));
        if let Decision::Rollback { to_step, reason } = judgement.decision {
            back.push((step, to_step));
            assert!(reason.contains("learning rate"), "{reason}");
        } else if !back.is_empty() {
            let scale = judgement.learning_rate_scale;
            applied.push(1.25f64.powi(step) * scale);
        }
    }
    // Step 80 is within the rise. The weights were good before it.
    assert_eq!(back, [(21, 60)]);
    // The applied rate climbs back to the last good rate, and no further during the rise.
    assert!((applied[0] - 0.3).abs() < 1e-9, "{applied:?}");
    assert!(applied.is_sorted_by(|a, b| *b >= a * 0.999), "{applied:?}");
    assert!((applied[23] - 1.0).abs() < 1e-9, "{applied:?}");
    // When the user's rate is back to normal, it is applied in full.
    run.calm(1);
    assert_eq!(run.guard.learning_rate_scale(), 1.0);
}

/// The run relapses during the rise, before a jump has lasted.
#[test]
fn a_relapse_under_a_rising_learning_rate_is_rolled_back_to_before_the_rise() {
    let learning = |step: u64| {
        let noise = [0.02, -0.02, 0.0, 0.01, -0.01][step as usize % 5];
        reading(step, (2.3 - 0.04 * step as f64).max(0.3) + noise, 1.0)
    };
    let mut run = Run::new(Preset::Default);
    for step in 0..75 {
        assert_eq!(run.show(learning(step)).rung, Rung::Keep);
    }
    let back = (1..=30).find_map(|step| {
        let judgement = run.show(StepReading {
            learning_rate: LEARNING_RATE * 1.25f64.powi(step),
            loss: if step < 14 { 0.3 } else { 2.4 },
            ..healthy(0)
        });
        match judgement.decision {
            Decision::Rollback { to_step, .. } => Some((step, to_step)),
            _ => None,
        }
    });
    // The newest trusted snapshot is at step 80, within the rise.
    assert_eq!(back, Some((18, 60)));
}

/// The first snapshot has no recorded rate. The guard takes the rate before the rise.
#[test]
fn back_at_the_first_step_no_more_is_applied_than_before_a_rise() {
    let mut run = Run::new(Preset::Default);
    run.calm(20);
    let rated = |by: f64, loss: f64| StepReading {
        learning_rate: by * LEARNING_RATE,
        ..reading(0, loss, 1.0)
    };
    for by in [5.0, 25.0] {
        assert_eq!(run.show(rated(by, 1.0)).rung, Rung::Keep);
    }
    let to = (0..10).find_map(|_| match run.show(rated(125.0, 4.0)).decision {
        Decision::Rollback { to_step, .. } => Some(to_step),
        _ => None,
    });
    assert_eq!(to, Some(0));
    let scale = run.show(rated(125.0, 1.0)).learning_rate_scale;
    assert!((125.0 * scale - 0.3).abs() < 1e-9, "{scale}");
}

/// One bad loss among six is not attributed to the rise.
#[test]
fn weights_whose_losses_are_good_are_kept_under_a_rising_learning_rate() {
    let mut run = Run::new(Preset::Default);
    run.calm(75);
    for step in 1..=30 {
        let loss = if step == 21 { f64::NAN } else { 1.0 };
        let judgement = run.show(StepReading {
            learning_rate: LEARNING_RATE * 1.25f64.powi(step),
            ..reading(0, loss, 1.0)
        });
        assert_ne!(judgement.rung, Rung::Rollback, "{step}");
    }
    assert_eq!(run.guard.summary().lowered, 1);
}

/// The learning rate grows, by less than a jump, until the loss is back at its start.
#[test]
fn after_a_rollback_no_higher_rate_is_applied_than_its_state_was_trained_with() {
    let learning = |step: u64| {
        let noise = [0.02, -0.02, 0.0, 0.01, -0.01][step as usize % 5];
        let loss = (2.3 - 0.02 * step as f64).max(0.3) + noise;
        reading(step, loss, 1.0)
    };
    let mut run = Run::new(Preset::Default);
    for step in 0..120 {
        assert_eq!(run.show(learning(step)).rung, Rung::Keep);
    }
    let grown = |step: i32| StepReading {
        learning_rate: LEARNING_RATE * 1.3f64.powi(step),
        ..reading(0, 2.5, 1.0)
    };
    let rungs: Vec<Rung> = (1..=5).map(|step| run.show(grown(step)).rung).collect();
    assert_eq!(rungs[4], Rung::Rollback);
    let well = |step: i32| StepReading {
        loss: 0.3,
        ..grown(step)
    };
    assert_eq!(run.show(well(6)).rung, Rung::Skip);
    let judgement = run.show(well(7));
    assert_eq!(judgement.rung, Rung::Keep);
    let applied = 1.3f64.powi(7) * judgement.learning_rate_scale;
    assert!((applied - 0.3).abs() < 1e-12, "{applied}");
    // When the user's rate is back, only the factor of the rollback still has to recover.
    let judgement = run.show(learning(120));
    assert_eq!(judgement.learning_rate_scale, 0.3);
}

#[test]
fn many_skips_with_calm_between_lower_the_learning_rate() {
    let mut run = Run::new(Preset::Default);
    run.calm(60);
    let mut rungs = Vec::new();
    for _ in 0..11 {
        rungs.push(run.show(reading(0, 1.0, 1e6)).rung);
        run.calm(3);
    }
    assert_eq!(rungs[..10], [Rung::Skip; 10]);
    assert_eq!(rungs[10], Rung::LowerLearningRate);
}

#[test]
fn the_users_clipping_and_the_ladders_act_together() {
    let config = GuardConfig::default().with_clip(GlobalNormClip::new(1.0));
    let mut run = Run::new(config);
    for step in 0..100 {
        run.show(healthy(step));
    }
    // A spike that the user's clipping makes harmless is not skipped.
    let judgement = run.show(reading(0, 1.0, 1e6));
    assert_eq!(judgement.rung, Rung::Keep);
    assert_eq!(
        judgement.decision,
        Decision::ScaleGlobal { coefficient: 1e-6 }
    );
    // The ladder clips a spike below the user's bound.
    let loose = GuardConfig::default().with_clip(GlobalNormClip::new(1e3));
    let mut run = Run::new(loose);
    run.calm(60);
    let Decision::ScaleGlobal { coefficient } = run.show(reading(0, 1.0, 50.0)).decision else {
        panic!("not clipped");
    };
    assert!((coefficient * 50.0 - 10.0).abs() < 1e-9);
    let summary = run.guard.summary();
    assert_eq!((summary.clipped, summary.clipped_by_policy), (1, 0));
}

#[test]
fn a_step_that_is_not_applied_leaves_no_trace_in_the_policy() {
    let config = GuardConfig::default().with_clip(AutoClip {
        percentile: 100.0,
        window: 8,
    });
    let (mut run, mut control) = (Run::new(config.clone()), Run::new(config));
    for step in 0..60 {
        run.show(healthy(step));
        control.show(healthy(step));
    }
    assert_eq!(run.show(reading(0, 1.0, 1e6)).rung, Rung::Skip);
    let judgements = [&mut run, &mut control].map(|run| run.show(reading(0, 1.0, 1.2)).decision);
    assert_eq!(judgements[0], judgements[1]);
}

#[test]
fn presets_have_names_and_settings_out_of_range_are_refused_by_name() {
    for preset in Preset::ALL {
        assert_eq!(Preset::from_str(preset.name()), Ok(preset));
        assert_eq!(serde_json::to_value(preset).unwrap(), preset.name());
        let config = GuardConfig::from(preset);
        assert_eq!(config.validate(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<GuardConfig>(&text).unwrap(), config);
    }
    let unknown = Preset::from_str("Brave").unwrap_err().to_string();
    assert!(
        unknown.contains("`Brave`") && unknown.contains("careful"),
        "{unknown}"
    );

    let refused = |config: GuardConfig| Guard::new(config).unwrap_err().to_string();
    let mut config = GuardConfig::default();
    config.detectors.norm_spike.bound.warmup = 200;
    let error = refused(config);
    assert_eq!(
        error,
        "norm_spike.bound.warmup is 200; give a number from 1 to 128"
    );
    for z in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let mut detectors = DetectorConfig::default();
        detectors.loss_spike.z = z;
        let error = detectors.validate().unwrap_err().to_string();
        assert!(error.starts_with("loss_spike.z is "), "{error}");
    }
    let mut recover = RecoverConfig::default();
    recover.climb = 1.0;
    let error = refused(GuardConfig::default().with_response(Response::Recover(recover)));
    assert!(error.starts_with("recover.climb is 1"), "{error}");
    let error = refused(GuardConfig::default().with_clip(ValueClip { max_abs: 0.0 }));
    assert!(error.starts_with("value.max_abs is 0"), "{error}");
    let chain = Policy::Chain { policies: vec![] };
    let error = Guard::new(GuardConfig::default().with_clip(chain)).unwrap_err();
    assert!(matches!(error, GuardConfigError::Policy { .. }));
    for dial in [f64::NAN, -0.1, 1.1] {
        assert!(GuardConfig::default().with_sensitivity(dial).is_err());
    }
    let same = GuardConfig::default().with_sensitivity(0.5).unwrap();
    assert_eq!(same, GuardConfig::default());
}

#[test]
fn a_saved_guard_with_settings_that_cannot_be_used_is_refused() {
    let text = serde_json::to_string(&Guard::default()).unwrap();
    let broken = text.replace("\"climb\":1.15", "\"climb\":0.5");
    assert_ne!(broken, text);
    let error = serde_json::from_str::<Guard>(&broken)
        .unwrap_err()
        .to_string();
    assert!(error.contains("recover.climb is 0.5"), "{error}");
}

#[test]
fn counts_by_detector() {
    let mut run = Run::new(Preset::Default);
    run.calm(30);
    run.show(reading(0, f64::NAN, f64::NAN));
    let detections = &run.guard.summary().detections;
    assert_eq!(detections.get(&Detector::NonFinite), Some(&1));
    assert_eq!(detections.len(), 1);
}
