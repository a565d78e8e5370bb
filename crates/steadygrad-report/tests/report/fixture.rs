//! Makes reports like those of `cure`, from synthetic runs and the core's own rules.

use steadygrad::Place;
use steadygrad::cure::{
    CLIP_ONE, CureReport, Curves, End, Goal, Outcome, Prescription, SeedOutcome, SubjectSummary,
    Trial, TrialKind, Verdict, Verification, rank,
};
use steadygrad::detect::{Detection, Detector, Severity};
use steadygrad::diagnose::{ModelCase, diagnose};
use steadygrad::dynamics::{Activation, Axis, GrowthProfile};
use steadygrad::measurements::{
    MatrixRole, Measurements, Sharpness, TrainingSetup, UpdateRule, WeightMatrix,
};
use steadygrad::remedy::{Basis, Family, LowerLearningRate, Remedy, RemedyKind};

pub(crate) const NASTY: &str = "</script><script>alert(1)</script>";

const GOAL: Goal = Goal {
    metric: 0.95,
    trivial: 0.101,
};
const STEPS: u64 = 600;
const DEPTH: i32 = 20;

/// A 20-layer network that explodes, and a cure that works on three fresh seeds.
pub(crate) fn cured() -> CureReport {
    let mut report = trials();
    let seeds = |metrics: [f64; 3]| {
        (1u64..)
            .zip(metrics)
            .map(|(seed, metric)| SeedOutcome {
                seed,
                outcome: if metric.is_nan() {
                    died(40)
                } else {
                    finished(metric, 0.2)
                },
            })
            .collect()
    };
    report.verification = vec![
        Verification::new("initialize".into(), seeds([0.964, 0.953, 0.967])),
        Verification::new("control: clip=1".into(), seeds([0.11, 0.31, f64::NAN])),
        Verification::new("control: random".into(), seeds([f64::NAN; 3])),
    ];
    let remedy = report.trial("initialize").and_then(|trial| trial.remedy);
    let diff = "--- study.toml\n+++ study.toml\n@@ -8,3 +8,3 @@\n [model]\n-gain = 3.0\n\
                +gain = 1.4142\n+input_rms = 8.21\n activation = \"relu\"\n";
    report.prescription = remedy.map(|remedy| {
        let mut prescription = Prescription::new("initialize".into(), &remedy, Some(diff.into()));
        prescription.burn = "let std = gain / (fan_in as f64).sqrt();\n\
                             let weight = Initializer::Normal { mean: 0.0, std };"
            .into();
        prescription.pytorch = "for layer in hidden:\n    \
                                nn.init.normal_(layer.weight, std=gain / fan_in**0.5)"
            .into();
        prescription
    });
    report
}

/// A report that the user interrupted right after the baseline.
pub(crate) fn interrupted() -> CureReport {
    let mut report = trials();
    report.trials.truncate(1);
    report.ranking.clear();
    report.interrupted = true;
    report
}

/// A report in which every family was tried and none cured the run.
pub(crate) fn nothing_cured() -> CureReport {
    let mut report = trials();
    for outcome in report
        .trials
        .iter_mut()
        .filter_map(|trial| trial.outcome.as_mut())
    {
        if outcome.verdict == Verdict::Cured {
            outcome.verdict = Verdict::BelowGoal;
            outcome.validation_metric = 0.7;
        }
    }
    report.ranking = rank(&report.trials[1..], 0.01);
    report
}

/// A report with `odd`, a non-finite or extreme number, wherever such a number may occur.
pub(crate) fn odd(odd: f64) -> CureReport {
    let mut report = cured();
    report.subject.goal = Goal {
        metric: odd,
        trivial: odd,
    };
    report.seconds = odd;
    let measured = &mut report.measurements;
    for value in [
        &mut measured.loss,
        &mut measured.input_rms,
        &mut measured.weight_norm,
        &mut measured.global_norm,
        &mut measured.subnormal_share,
    ] {
        *value = odd;
    }
    measured.growth = GrowthProfile::new(Axis::Time, (0..3).map(|t| (format!("t={t}"), odd, odd)));
    for matrix in &mut measured.weights {
        (matrix.frobenius_norm, matrix.spectral_norm) = (odd, odd);
    }
    measured.sharpness = Some(Sharpness {
        lambda_max: odd,
        lambda_min: odd,
        residual: odd,
        iterations: 0,
        rows: 0,
        relative_step: odd,
    });
    for finding in &mut report.findings {
        finding.evidence.iter_mut().for_each(|e| e.value = odd);
    }
    for trial in &mut report.trials {
        if let Some(derivation) = &mut trial.derivation {
            derivation.measured.iter_mut().for_each(|e| e.value = odd);
        }
    }
    let of_trials = report.trials.iter_mut().filter_map(|t| t.outcome.as_mut());
    let of_seeds = report
        .verification
        .iter_mut()
        .flat_map(|verified| verified.seeds.iter_mut().map(|run| &mut run.outcome));
    for outcome in of_trials.chain(of_seeds) {
        make_odd(outcome, odd);
    }
    for verified in &mut report.verification {
        (verified.worst, verified.mean, verified.standard_deviation) = (odd, odd, odd);
    }
    report
}

/// A report without measurements and runs.
pub(crate) fn empty() -> CureReport {
    let mut report = interrupted();
    report.trials.clear();
    report.findings.clear();
    report.measurements.growth.points.clear();
    report.measurements.weights.clear();
    report.measurements.sharpness = None;
    report.interrupted = false;
    report.study = None;
    report
}

/// A report with markup in every text that a user may choose.
pub(crate) fn nasty() -> CureReport {
    let mut report = cured();
    report.subject.name = NASTY.into();
    report.subject.metric = NASTY.into();
    report.study = Some(NASTY.into());
    for point in &mut report.measurements.growth.points {
        point.name = NASTY.into();
    }
    report.findings[0].place = Place::Layer(NASTY.into());
    let renamed = |name: &mut String| name.push_str(NASTY);
    report.trials.iter_mut().for_each(|t| renamed(&mut t.name));
    report
        .ranking
        .iter_mut()
        .for_each(|r| renamed(&mut r.trial));
    report
        .verification
        .iter_mut()
        .for_each(|v| renamed(&mut v.trial));
    if let Some(prescription) = &mut report.prescription {
        renamed(&mut prescription.trial);
        prescription.burn = NASTY.into();
        prescription.study_diff = Some(NASTY.into());
    }
    report
}

fn make_odd(outcome: &mut Outcome, odd: f64) {
    for value in [
        &mut outcome.initial_loss,
        &mut outcome.final_loss,
        &mut outcome.validation_metric,
        &mut outcome.clip_rate,
        &mut outcome.work,
        &mut outcome.seconds,
    ] {
        *value = odd;
    }
    outcome.stability_margin = Some(odd);
    outcome.trace.loss.fill(odd);
    outcome.trace.grad_norm.fill(odd);
    for detection in &mut outcome.detections {
        (detection.value, detection.threshold) = (odd, odd);
    }
}

/// A report with baseline, families and controls, ranked but not yet verified.
fn trials() -> CureReport {
    let (measurements, baseline) = (measurements(), exploded());
    let setup = TrainingSetup {
        learning_rate: 0.1,
        momentum: 0.9,
        update_rule: Some(UpdateRule::Sgd),
        depth: Some(DEPTH as usize),
        sequence_length: None,
    };
    let basis = Basis::new(&measurements, &setup).with_baseline(&baseline);
    let family = |family: Family, outcome: Option<Outcome>| {
        let trial = Trial {
            name: family.to_string(),
            kind: TrialKind::Family(family),
            remedy: None,
            derivation: None,
            not_tried: None,
            outcome,
        };
        let first = RemedyKind::of_family(family).next();
        match first.expect("every family has a remedy").derive(basis) {
            Ok((remedy, derivation)) if trial.outcome.is_some() => Trial {
                remedy: Some(remedy),
                derivation: Some(derivation),
                ..trial
            },
            Ok(_) => Trial {
                not_tried: Some(
                    "the subject does not support it: its layers are fixed by the study".into(),
                ),
                ..trial
            },
            Err(reason) => Trial {
                not_tried: Some(reason.to_string()),
                outcome: None,
                ..trial
            },
        }
    };
    let control = |name: &str, remedy: Remedy, outcome: Outcome| Trial {
        name: name.into(),
        kind: TrialKind::Control,
        remedy: Some(remedy),
        derivation: None,
        not_tried: None,
        outcome: Some(outcome),
    };
    let mut clipped = finished(0.872, 0.9);
    clipped.clip_rate = 0.734;
    clipped.stability_margin = Some(2.0);
    let mut slow = finished(0.113, 2.2);
    slow.stability_margin = None;
    let mut normalized = finished(0.958, 0.25);
    (normalized.work, normalized.stability_margin) = (1.07, Some(8.0));
    let mut initialized = finished(0.961, 0.2);
    initialized.stability_margin = Some(16.0);
    let trials = vec![
        Trial {
            name: "baseline".into(),
            kind: TrialKind::Baseline,
            remedy: None,
            derivation: None,
            not_tried: None,
            outcome: Some(baseline.clone()),
        },
        family(Family::Clip, Some(clipped)),
        family(Family::Regularize, Some(died(37))),
        family(Family::Initialize, Some(initialized)),
        family(Family::Normalize, Some(normalized)),
        family(Family::Simplify, None),
        family(Family::SlowDown, Some(slow)),
        control("control: clip=1", CLIP_ONE, finished(0.31, 2.0)),
        control(
            "control: random",
            LowerLearningRate {
                learning_rate: 0.0213,
            }
            .into(),
            died(5),
        ),
    ];
    let findings =
        diagnose(&ModelCase::new(&measurements, &setup).with_detections(&baseline.detections));
    CureReport {
        version: "0.1.0".into(),
        subject: SubjectSummary {
            name: "digits-mlp".into(),
            description: "8x8 handwritten digits, 20 hidden layers of 64 relu units".into(),
            metric: "accuracy".into(),
            goal: GOAL,
            training_samples: 1437,
            validation_samples: 360,
            parameters: 84_170,
        },
        seed: 0,
        steps: STEPS,
        batch_size: 64,
        setup,
        study: Some(
            "[task]\nname = \"digits\"\n\n[model]\nlayers = 20\nwidth = 64\n\
             activation = \"relu\"\ngain = 3.0\n\n[training]\nlearning_rate = 0.1\n\
             momentum = 0.9\nsteps = 600\n"
                .into(),
        ),
        ranking: rank(&trials[1..], 0.01),
        measurements,
        findings,
        trials,
        verification: vec![],
        prescription: None,
        interrupted: false,
        seconds: 83.4,
    }
}

pub(crate) fn measurements() -> Measurements {
    let gain = 3.0;
    let matrix = |name: String, role, fan_out: usize, gain: f64| WeightMatrix {
        name,
        role,
        fan_in: 64,
        fan_out,
        frobenius_norm: gain * (fan_out as f64).sqrt(),
        spectral_norm: 1.93 * gain,
    };
    let mut weights = vec![matrix(
        "hidden.0.weight".into(),
        MatrixRole::Input,
        64,
        gain,
    )];
    weights.extend(
        (1..DEPTH).map(|l| matrix(format!("hidden.{l}.weight"), MatrixRole::Hidden, 64, gain)),
    );
    weights.push(matrix("output.weight".into(), MatrixRole::Output, 10, gain));
    let wobble = |l: i32| 1.0 + 0.15 * f64::from(l * 7 % 5 - 2);
    let rate: f64 = 2.13;
    Measurements {
        loss: 3.87e6,
        input_rms: 8.21,
        growth: GrowthProfile::new(
            Axis::Depth,
            (0..DEPTH).map(|l| {
                let activation = 14.2 * rate.powi(l) * wobble(l + 1);
                let gradient = 0.61 * rate.powi(DEPTH - l) * wobble(l);
                (format!("hidden.{l}"), activation, gradient)
            }),
        ),
        spectrum: None,
        criticality: None,
        normalized: false,
        activation: Activation::Relu,
        weights,
        weight_norm: 107.4,
        global_norm: 9.13e6,
        subnormal_share: 0.0,
        skip_share: None,
        sharpness: Some(Sharpness {
            lambda_max: 4.71e9,
            lambda_min: -3.1e8,
            residual: 6.2e7,
            iterations: 30,
            rows: 32,
            relative_step: 1e-5,
        }),
    }
}

fn detection(detector: Detector, step: u64, message: &str) -> Detection {
    Detection {
        detector,
        severity: Severity::Harmful,
        step,
        place: Place::Parameter("hidden.0.weight".into()),
        value: 4312.7,
        threshold: 0.1,
        message: message.into(),
    }
}

/// A run with a detection at step 0 and a non-finite loss from step 3 on.
fn exploded() -> Outcome {
    Outcome {
        end: End::Failed {
            reason: "the gradient is not finite".into(),
        },
        verdict: Verdict::Diverged,
        steps_done: 5,
        detections: vec![
            detection(
                Detector::UpdateRatio,
                0,
                "the update is x4.3e3 the weights, above 0.1",
            ),
            detection(Detector::NonFinite, 3, "64 of 4096 gradient values are NaN"),
        ],
        detection_steps: 5,
        first_non_finite_step: Some(3),
        initial_loss: 3.87e6,
        final_loss: f64::NAN,
        validation_metric: f64::NAN,
        stability_margin: None,
        weight_growth: None,
        clip_rate: 0.0,
        work: 1.0,
        trace: Curves {
            loss: vec![3.87e6, 2.2e17, 6.4e31, f64::NAN, f64::NAN],
            grad_norm: vec![9.13e6, 7.1e18, 4.4e35, f64::INFINITY, f64::NAN],
        },
        seconds: 0.0312,
    }
}

/// A run whose model becomes non-finite after this many steps.
fn died(steps: u64) -> Outcome {
    let loss = (0..steps)
        .map(|step| 2.3 * 3.1f64.powi(step as i32))
        .chain([f64::NAN]);
    let loss: Vec<f64> = loss.collect();
    Outcome {
        steps_done: steps + 1,
        first_non_finite_step: Some(steps),
        initial_loss: 2.3,
        trace: Curves {
            grad_norm: loss.iter().map(|loss| 3.0 * loss).collect(),
            loss,
        },
        seconds: 0.4,
        ..exploded()
    }
}

/// A run that trains to its end: the loss falls exponentially, with noise.
fn finished(metric: f64, final_loss: f64) -> Outcome {
    let loss: Vec<f64> = (0..STEPS)
        .map(|step| {
            let noise = 1.0 + 0.25 * f64::sin(12.9898 * step as f64 * (1.0 + metric));
            let progress = step as f64 / 90.0;
            (final_loss + (2.31 - final_loss) * (-progress).exp()) * noise
        })
        .collect();
    Outcome {
        end: End::Completed,
        verdict: Verdict::judge(&End::Completed, &[2.31, final_loss], metric, GOAL),
        steps_done: STEPS,
        detections: vec![],
        detection_steps: 0,
        first_non_finite_step: None,
        initial_loss: 2.31,
        final_loss,
        validation_metric: metric,
        stability_margin: Some(4.0),
        weight_growth: None,
        clip_rate: 0.0,
        work: 1.0,
        trace: Curves {
            grad_norm: loss.iter().map(|loss| 1.7 * loss).collect(),
            loss,
        },
        seconds: 4.13,
    }
}
