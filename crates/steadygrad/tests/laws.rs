//! Laws that hold for any input that a training run can give the core.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use steadygrad::clip::{GlobalNormClip, Policy};
use steadygrad::cure::{Curves, End, Outcome, Prescription, Verdict, WeightGrowth};
use steadygrad::detect::{Detection, Detector, DetectorConfig, OutlierBound, Severity};
use steadygrad::diagnose::{ModelCase, diagnose};
use steadygrad::dynamics::{
    Activation, Axis, CriticalPoint, Criticality, Exponent, FixedPoint, GrowthPoint, GrowthProfile,
    GrowthSpectrum, LayerGrowth, MeanField,
};
use steadygrad::guard::{Preset, Response};
use steadygrad::measurements::{
    MatrixRole, Measurements, Sharpness, TrainingSetup, UpdateRule, WeightMatrix,
};
use steadygrad::remedy::{Basis, REMEDIES, Remedy};
use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
use steadygrad::{Decision, Guard, GuardConfig, Judgement, Place, StepReading};

/// Generates any number, and special values often.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => proptest::num::f64::ANY,
        3 => -10.0..10.0f64,
        1 => (-320.0..308.0f64).prop_map(|exponent| 10f64.powf(exponent)),
        2 => select(vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            1.0,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
        ]),
    ]
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..8, 1 => select(vec![1_000, usize::MAX - 1, usize::MAX])]
}

fn step() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..8, 1 => any::<u64>()]
}

fn tensor_stats() -> impl Strategy<Value = TensorStats> {
    (
        number(),
        number(),
        any::<u64>(),
        step(),
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(
            |(tensor_norm, max_abs, len, non_finite, subnormal, zero)| TensorStats {
                tensor_norm,
                max_abs,
                len,
                non_finite,
                subnormal,
                zero,
            },
        )
}

fn gradients() -> impl Strategy<Value = GradientStats> {
    vec(("[a-c]?", tensor_stats()), 0..4).prop_map(|tensors| GradientStats {
        tensors: tensors
            .into_iter()
            .map(|(name, stats)| NamedStats { name, stats })
            .collect(),
    })
}

/// Generates an arbitrary reading. Norms and counts may contradict each other, and lists may differ
/// in length.
fn any_reading() -> impl Strategy<Value = StepReading> {
    (
        any::<u64>(),
        number(),
        number(),
        gradients(),
        (vec(number(), 0..5), vec(number(), 0..5)),
        (
            option::of(number()),
            option::of(number()),
            option::of(number()),
        ),
    )
        .prop_map(
            |(step, loss, learning_rate, gradients, norms, (loss_after, depth, time))| {
                StepReading {
                    step,
                    loss,
                    learning_rate,
                    gradients,
                    weight_norms: norms.0,
                    update_norms: norms.1,
                    loss_after,
                    depth_growth: depth,
                    time_growth: time,
                }
            },
        )
}

/// Generates a reading as an adapter measures it, sometimes broken.
fn measured_reading() -> impl Strategy<Value = StepReading> {
    let value = prop_oneof![
        6 => -3.0..3.0f32,
        2 => (-30.0..30.0f32).prop_map(|exponent| 10f32.powf(exponent)),
        1 => select(vec![f32::NAN, f32::INFINITY, 0.0, 1e-40]),
    ];
    (step(), number(), 1e-6..1.0f64, vec(vec(value, 0..5), 0..4)).prop_map(
        |(step, loss, learning_rate, tensors)| {
            let gradients = GradientStats {
                tensors: tensors
                    .iter()
                    .enumerate()
                    .map(|(index, values)| NamedStats {
                        name: format!("{index}"),
                        stats: TensorStats::of(values),
                    })
                    .collect(),
            };
            StepReading::new(step, loss, learning_rate, gradients).with_weight_norms(vec![
                1.0;
                tensors
                    .len()
            ])
        },
    )
}

/// Generates a config with arbitrary numbers. It observes, or stops at the first non-finite value.
fn config(
    number: impl Strategy<Value = f64> + Clone,
    count: impl Strategy<Value = usize> + Clone,
    max_norm: impl Strategy<Value = f64>,
) -> impl Strategy<Value = GuardConfig> {
    (
        (number.clone(), number.clone(), number.clone(), number),
        (count.clone(), count.clone(), count),
        option::of(max_norm),
        any::<bool>(),
    )
        .prop_map(
            |((ratio, factor, divergence, z), (window, warmup, steps), max_norm, stop)| {
                let mut bound = OutlierBound::default();
                (bound.window, bound.warmup) = (window, warmup);
                (bound.z, bound.ratio, bound.margin) = (z, factor, factor);
                let mut detectors = DetectorConfig::default();
                detectors.update_ratio.max_ratio = ratio;
                detectors.update_ratio.bound = bound;
                detectors.update_ratio.harmful_ratio = factor;
                detectors.norm_spike.bound = bound;
                detectors.norm_spike.harmful_ratio = factor;
                detectors.norm_growth.steps = steps;
                detectors.norm_growth.factor = factor;
                detectors.norm_growth.margin = factor;
                detectors.norm_growth.window = window;
                detectors.loss_spike.window = window;
                detectors.loss_spike.warmup = warmup;
                detectors.loss_spike.z = z;
                detectors.loss_spike.span = factor;
                detectors.loss_divergence.factor = divergence;
                detectors.loss_divergence.window = window;
                let response = if stop {
                    Response::Stop
                } else {
                    Response::Observe
                };
                let mut config = GuardConfig::default()
                    .with_detectors(detectors)
                    .with_response(response);
                config.clip = max_norm.map(|max_norm| GlobalNormClip::new(max_norm).into());
                config
            },
        )
}

fn any_config() -> impl Strategy<Value = GuardConfig> {
    config(number().boxed(), count().boxed(), number())
}

fn max_norm() -> impl Strategy<Value = f64> {
    (-3.0..3.0f64).prop_map(|exponent| 10f64.powf(exponent))
}

fn valid_config() -> impl Strategy<Value = GuardConfig> {
    config(1.1..20.0f64, 4usize..8, max_norm())
        .prop_filter("usable", |config| config.validate().is_ok())
}

/// Returns the judgement as text, because the value of a detection may be NaN.
fn text(judgement: &Judgement) -> String {
    format!("{judgement:?}")
}

proptest! {
    #[test]
    fn a_guard_that_observes_keeps_every_step(
        config in valid_config(), readings in vec(any_reading(), 0..30),
    ) {
        for config in [
            GuardConfig::observe(),
            GuardConfig::observe().with_detectors(config.detectors),
        ] {
            let mut guard = Guard::new(config).unwrap();
            for reading in &readings {
                let judgement = guard.step(reading);
                prop_assert_eq!(judgement.decision, Decision::Keep);
                prop_assert_eq!(judgement.learning_rate_scale, 1.0);
                prop_assert!(!guard.wants_snapshot(reading.step));
            }
        }
    }

    #[test]
    fn a_config_is_refused_or_never_panics(
        config in any_config(), readings in vec(any_reading(), 0..30),
    ) {
        match Guard::new(config) {
            Ok(mut guard) => readings.iter().for_each(|reading| {
                guard.step(reading);
            }),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn the_clip_bound_holds_and_what_is_within_it_is_kept(
        config in valid_config(), readings in vec(measured_reading(), 1..30),
    ) {
        let mut guard = Guard::new(config.clone()).unwrap();
        let max_norm = match config.clip {
            Some(Policy::GlobalNorm(clip)) => clip.max_norm,
            _ => f64::INFINITY,
        };
        for reading in &readings {
            let norm = reading.gradients.global_norm();
            let finite = reading.loss.is_finite() && reading.gradients.non_finite() == 0;
            match guard.step(reading).decision {
                Decision::ScaleGlobal { coefficient } => {
                    prop_assert!(norm > max_norm);
                    prop_assert!((0.0..1.0).contains(&coefficient));
                    prop_assert!(norm * coefficient <= max_norm * (1.0 + 1e-12));
                    prop_assert!(norm * coefficient >= max_norm * (1.0 - 1e-12));
                }
                Decision::Stop { reason } => {
                    prop_assert!(!finite && config.response == Response::Stop);
                    prop_assert!(!reason.is_empty());
                }
                Decision::Keep => {
                    prop_assert!(finite || config.response == Response::Observe);
                    prop_assert!(!norm.is_finite() || norm <= max_norm);
                }
                other => prop_assert!(false, "a global clip decided {other:?}"),
            }
        }
    }

    #[test]
    fn a_norm_at_the_threshold_is_kept(gradient in vec(-1e3..1e3f32, 1..20)) {
        let stats = TensorStats::of(&gradient);
        prop_assume!(stats.tensor_norm > 0.0);
        let gradients = GradientStats { tensors: vec![NamedStats { name: "w".into(), stats }] };
        let reading = StepReading::new(0, 1.0, 0.1, gradients);
        let decision = |max_norm: f64| {
            let config = GuardConfig::default().with_clip(GlobalNormClip::new(max_norm));
            Guard::new(config).unwrap().step(&reading).decision
        };
        let norm = reading.gradients.global_norm();
        prop_assert_eq!(decision(norm), Decision::Keep);
        prop_assert_eq!(decision(norm * 1.5), Decision::Keep);
        prop_assert!(decision(norm * 0.5) != Decision::Keep);
    }

    #[test]
    fn a_guard_that_is_saved_and_loaded_goes_on_as_if_nothing_had_happened(
        config in valid_config(), preset in select(Preset::ALL.to_vec()),
        readings in vec(measured_reading(), 1..40), saved in 0usize..40,
    ) {
        for config in [config, preset.into()] {
            let mut whole = Guard::new(config.clone()).unwrap();
            let mut resumed = Guard::new(config).unwrap();
            for (step, reading) in readings.iter().enumerate() {
                if step == saved.min(readings.len() - 1) {
                    let text = serde_json::to_string(&resumed).unwrap();
                    resumed = serde_json::from_str(&text).unwrap();
                    prop_assert_eq!(&resumed, &whole);
                }
                let (expected, seen) = (whole.step(reading), resumed.step(reading));
                prop_assert_eq!(text(&expected), text(&seen));
            }
            prop_assert_eq!(resumed, whole);
        }
    }
}

fn growth() -> impl Strategy<Value = GrowthProfile> {
    let point = (
        number(),
        number(),
        option::of(number()),
        option::of(number()),
    )
        .prop_map(
            |(activation_rms, gradient_norm, forward_growth, backward_growth)| GrowthPoint {
                name: "h".into(),
                activation_rms,
                gradient_norm,
                gradient_rms: gradient_norm,
                gradient_max_abs: gradient_norm,
                forward_growth,
                backward_growth,
            },
        );
    let measured = vec((Just("h".to_owned()), number(), number()), 0..40);
    prop_oneof![
        (axis(), measured).prop_map(|(axis, measured)| GrowthProfile::new(axis, measured)),
        // A profile as read from a file: its factors may contradict its sizes.
        (axis(), vec(point, 0..10)).prop_map(|(axis, points)| GrowthProfile { axis, points }),
        // A profile of steady growth, as in real networks.
        (axis(), 0.3..3.0f64, 2usize..60).prop_map(|(axis, rate, count)| {
            let point = |l: usize| ("h".to_owned(), rate.powi(l as i32), rate.powi(-(l as i32)));
            GrowthProfile::new(axis, (0..count).map(point))
        }),
    ]
}

fn matrix() -> impl Strategy<Value = WeightMatrix> {
    let role = select(vec![
        MatrixRole::Input,
        MatrixRole::Hidden,
        MatrixRole::Recurrent,
        MatrixRole::Output,
    ]);
    (role, count(), count(), number(), number()).prop_map(
        |(role, fan_in, fan_out, frobenius_norm, spectral_norm)| WeightMatrix {
            name: "w".into(),
            role,
            fan_in,
            fan_out,
            frobenius_norm,
            spectral_norm,
        },
    )
}

fn axis() -> impl Strategy<Value = Axis> {
    select(vec![Axis::Depth, Axis::Time])
}

/// Generates a spectrum as read from a file. Its exponents may be unsorted, or contradict the
/// layers or the width.
fn spectrum() -> impl Strategy<Value = GrowthSpectrum> {
    let exponent = (number(), option::of(number())).prop_map(|(value, standard_error)| Exponent {
        value,
        standard_error,
    });
    let layer =
        (number(), number(), number()).prop_map(|(log_growth, log_largest, log_smallest)| {
            LayerGrowth {
                name: "h".into(),
                log_growth,
                log_largest,
                log_smallest,
            }
        });
    (
        axis(),
        count(),
        vec(exponent, 0..5),
        vec(layer, 0..5),
        (count(), count(), any::<bool>(), any::<u64>()),
    )
        .prop_map(
            |(axis, steps, exponents, layers, (samples, width, bound, seed))| GrowthSpectrum {
                axis,
                steps,
                exponents,
                lower_bound: bound,
                complete: !bound,
                layers,
                layer_samples: samples,
                samples,
                failed_samples: 0,
                width,
                seed,
            },
        )
}

fn critical_point() -> impl Strategy<Value = CriticalPoint> {
    prop_oneof![
        number().prop_map(|sigma_w| CriticalPoint::Continuous {
            sigma_w,
            fixed_point: FixedPoint::Zero,
        }),
        (number(), number(), number()).prop_map(|(sigma_w, below, above)| CriticalPoint::Jump {
            sigma_w,
            below,
            above,
        }),
    ]
}

/// Generates measured criticalities, and ones from a file, whose numbers may contradict each other.
fn criticality() -> impl Strategy<Value = Criticality> {
    let activation = || select(Activation::ALL.to_vec());
    let scale = || prop_oneof![4 => 0.0..10.0f64, 1 => select(vec![0.0, 1e-300, 1e70, 1e75])];
    let fixed_point = prop_oneof![
        Just(FixedPoint::Zero),
        Just(FixedPoint::Diverges),
        number().prop_map(FixedPoint::Finite),
        number().prop_map(FixedPoint::Every),
    ];
    prop_oneof![
        (
            activation(),
            0.0..5.0f64,
            0.0..2.0f64,
            0.0..100.0f64,
            0usize..40
        )
            .prop_map(|(activation, w, b, q, steps)| {
                let network = MeanField::new(activation, w, b).expect("valid scales");
                Criticality::new(network, q, steps).expect("a valid signal")
            }),
        (
            (activation(), scale(), scale()),
            (fixed_point, critical_point()),
            (number(), number(), number(), count()),
        )
            .prop_map(|((activation, w, b), (fixed_point, critical), numbers)| {
                Criticality {
                    mean_field: MeanField::new(activation, w, b).expect("valid scales"),
                    fixed_point,
                    chi_1: numbers.0,
                    depth_scale: numbers.1,
                    critical,
                    log_growth: numbers.2,
                    steps: numbers.3,
                }
            }),
    ]
}

fn measurements() -> impl Strategy<Value = Measurements> {
    let sharpness = option::of((number(), number(), number(), count()).prop_map(
        |(lambda_max, lambda_min, residual, iterations)| Sharpness {
            lambda_max,
            lambda_min,
            residual,
            iterations,
            rows: iterations,
            relative_step: residual,
        },
    ));
    let activation = select(Activation::ALL.to_vec());
    (
        (number(), number(), number(), number(), number()),
        growth(),
        (
            option::of(spectrum()),
            option::of(criticality()),
            any::<bool>(),
            option::of(number()),
        ),
        activation,
        vec(matrix(), 0..6),
        sharpness,
    )
        .prop_map(
            |(
                numbers,
                growth,
                (spectrum, criticality, normalized, skip_share),
                activation,
                weights,
                sharpness,
            )| {
                Measurements {
                    loss: numbers.0,
                    input_rms: numbers.1,
                    growth,
                    spectrum,
                    criticality,
                    normalized,
                    activation,
                    weights,
                    weight_norm: numbers.2,
                    global_norm: numbers.3,
                    subnormal_share: numbers.4,
                    skip_share,
                    sharpness,
                }
            },
        )
}

fn any_setup() -> impl Strategy<Value = TrainingSetup> {
    (number(), number(), option::of(count()), option::of(count())).prop_map(
        |(learning_rate, momentum, depth, sequence_length)| TrainingSetup {
            learning_rate,
            momentum,
            update_rule: Some(UpdateRule::Sgd),
            depth,
            sequence_length,
        },
    )
}

fn valid_setup() -> impl Strategy<Value = TrainingSetup> {
    (
        (-8.0..3.0f64).prop_map(|exponent| 10f64.powf(exponent)),
        0.0..1.0f64,
        option::of(1usize..100),
        option::of(1usize..500),
    )
        .prop_map(
            |(learning_rate, momentum, depth, sequence_length)| TrainingSetup {
                learning_rate,
                momentum,
                update_rule: None,
                depth,
                sequence_length,
            },
        )
}

fn detection() -> impl Strategy<Value = Detection> {
    let kind = (
        select(Detector::ALL.to_vec()),
        select(vec![Severity::Note, Severity::Harmful]),
    );
    let place = select(vec![
        Place::Run,
        Place::Parameter("w".into()),
        Place::Layer("h".into()),
        Place::TimeStep(0),
    ]);
    (kind, step(), place, number(), number()).prop_map(
        |((detector, severity), step, place, value, threshold)| Detection {
            detector,
            severity,
            step,
            place,
            value,
            threshold,
            message: String::new(),
        },
    )
}

fn weight_growth() -> impl Strategy<Value = WeightGrowth> {
    (number(), number(), step(), number()).prop_map(|(start, end, updates, learning_rate)| {
        WeightGrowth {
            start,
            end,
            updates,
            learning_rate,
        }
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let end = select(vec![
        End::Completed,
        End::Failed {
            reason: String::new(),
        },
        End::Interrupted,
    ]);
    (
        end,
        vec(detection(), 0..4),
        (step(), step(), option::of(step())),
        (number(), number(), number(), number(), number(), number()),
        (option::of(number()), option::of(weight_growth())),
        (vec(number(), 0..30), vec(number(), 0..30)),
    )
        .prop_map(
            |(
                end,
                detections,
                steps,
                numbers,
                (stability_margin, weight_growth),
                (loss, grad_norm),
            )| Outcome {
                end,
                verdict: Verdict::Cured,
                steps_done: steps.0,
                detections,
                detection_steps: steps.1,
                first_non_finite_step: steps.2,
                initial_loss: numbers.0,
                final_loss: numbers.1,
                validation_metric: numbers.2,
                stability_margin,
                weight_growth,
                clip_rate: numbers.3,
                work: numbers.4,
                trace: Curves { loss, grad_norm },
                seconds: numbers.5,
            },
        )
}

/// Whether a training run can use every parameter.
fn is_usable(remedy: &Remedy) -> bool {
    let parameters = remedy.kind().parameters;
    let mut values = parameters.iter().zip(remedy.values());
    values.all(|(parameter, value)| parameter.range.contains(value))
}

proptest! {
    #[test]
    fn nothing_measured_makes_diagnosis_or_derivation_panic(
        measurements in measurements(), setup in any_setup(), outcome in outcome(),
    ) {
        let case = ModelCase::new(&measurements, &setup).with_detections(&outcome.detections);
        for finding in diagnose(&case) {
            prop_assert!(!finding.code.is_empty() && !finding.title.is_empty());
        }
        let basis = Basis::new(&measurements, &setup).with_baseline(&outcome);
        for kind in REMEDIES {
            match kind.derive(basis) {
                Ok((remedy, _)) => {
                    prop_assert_eq!(remedy.name(), kind.name);
                    Prescription::new("trial".into(), &remedy, None);
                }
                Err(reason) => prop_assert!(!reason.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn with_a_valid_setup_every_derived_remedy_is_usable(
        measurements in measurements(), setup in valid_setup(), outcome in outcome(),
    ) {
        let basis = Basis::new(&measurements, &setup).with_baseline(&outcome);
        for kind in REMEDIES {
            if let Ok((remedy, _)) = kind.derive(basis) {
                prop_assert!(is_usable(&remedy), "{remedy:?}");
            }
        }
    }
}
