//! Compares every policy on a Burn module with the core on plain slices. Other tests compare the
//! core with golden vectors from other implementations.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use steadygrad::clip::{
    AdaGC, AdaptiveGradientClip, AutoClip, Clipper, Clippy, GlobalNorm, GlobalNormClip,
    ParameterSlices, Policy, SliceGradients, SpikeAwareClip, Target, TensorNormClip, UpdateRmsClip,
    ValueClip, ZClip,
};
use steadygrad::stats::{SecondMoment, Units};
use steadygrad::{Decision, Workers};
use steadygrad_burn::{GradientClipper, GradientClipperState, for_each_parameter};

const BETA2: f64 = 0.9;
const LEARNING_RATE: f64 = 0.05;

#[derive(Module, Debug)]
struct Model {
    embedding: Embedding,
    hidden: Linear,
    output: Linear,
}

fn model() -> Model {
    let device = Device::flex().autodiff();
    Model {
        embedding: EmbeddingConfig::new(6, 5).init(&device),
        hidden: LinearConfig::new(5, 7).init(&device),
        output: LinearConfig::new(7, 3).with_bias(false).init(&device),
    }
}

/// The units of each parameter, in module order. Matrices of `Linear` are `[in, out]`.
const UNITS: [Units; 4] = [
    Units::Rows(6),
    Units::Columns(7),
    Units::One,
    Units::Columns(3),
];

fn policies() -> Vec<Policy> {
    vec![
        ValueClip { max_abs: 0.5 }.into(),
        TensorNormClip { max_norm: 0.7 }.into(),
        GlobalNormClip::new(0.7).into(),
        GlobalNormClip {
            max_norm: 0.5,
            norm: GlobalNorm::LInf,
        }
        .into(),
        AdaptiveGradientClip::default().into(),
        AutoClip {
            percentile: 50.0,
            window: 7,
        }
        .into(),
        ZClip {
            warmup_steps: 4,
            ..ZClip::default()
        }
        .into(),
        AdaGC {
            warmup_steps: 3,
            ..AdaGC::default()
        }
        .into(),
        SpikeAwareClip {
            grace_steps: 2,
            ratio: 3.0,
        }
        .into(),
        UpdateRmsClip::default().into(),
        Clippy::default().into(),
        Clippy {
            accumulator: 1e-4,
            ..Clippy::default()
        }
        .into(),
        Policy::Chain {
            policies: vec![
                ValueClip { max_abs: 1.0 }.into(),
                GlobalNormClip::new(0.7).into(),
            ],
        },
    ]
}

fn stream(steps: usize) -> Vec<Vec<Vec<f32>>> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut step = || {
        let scale = if random.random_range(0..8) == 0 {
            50.0
        } else {
            1.0
        };
        [30, 35, 7, 21]
            .map(|len| {
                (0..len)
                    .map(|_| scale * random.random_range(-1.0f32..1.0))
                    .collect()
            })
            .to_vec()
    };
    (0..steps).map(|_| step()).collect()
}

/// Gradients with these values, in module order.
fn gradients(model: &Model, values: &[Vec<f32>]) -> GradientsParams {
    struct Visitor<'a>(std::slice::Iter<'a, Vec<f32>>, GradientsParams);
    impl ModuleVisitor for Visitor<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = TensorData::new(self.0.next().unwrap().clone(), param.val().dims());
            self.1
                .register(param.id, Tensor::<D>::from_data(data, &Device::flex()));
        }
    }
    let mut visitor = Visitor(values.iter(), GradientsParams::new());
    model.visit(&mut visitor);
    visitor.1
}

fn weights(model: &Model) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for_each_parameter(model, |_, values| all.push(values.to_vec()));
    all
}

/// The reference: the same policy with plain gradient descent on slices.
struct Reference {
    clipper: Clipper,
    weights: Vec<Vec<f32>>,
    moments: Vec<Vec<f32>>,
    step: i32,
}

impl Reference {
    fn step(&mut self, gradients: &[Vec<f32>]) {
        self.step += 1;
        let policy = self.clipper.policy().clone();
        let mut gradients = gradients.to_vec();
        let mut updates: Vec<Vec<f32>> = gradients
            .iter()
            .map(|gradient| {
                gradient
                    .iter()
                    .map(|g| -(LEARNING_RATE as f32) * g)
                    .collect()
            })
            .collect();
        let on_update = policy.target() == Target::Update;
        if on_update {
            self.push(&gradients);
        }
        let factor = match policy {
            Policy::UpdateRms(_) => 1.0 / (1.0 - BETA2.powi(self.step)),
            _ => 1.0,
        };
        let workers = Workers::single();
        let parameters = gradients.iter_mut().zip(&mut updates).enumerate();
        let parameters = parameters.map(|(index, (gradient, update))| ParameterSlices {
            units: UNITS[index],
            weight: Some((&self.weights[index]).into()),
            second_moment: Some(SecondMoment {
                factor,
                ..SecondMoment::new(&self.moments[index])
            }),
            update: on_update.then(|| (&mut update[..]).into()),
            ..ParameterSlices::new(&mut gradient[..])
        });
        let parameters = parameters.collect();
        let Ok(_) = self.clipper.clip(&mut SliceGradients {
            parameters,
            workers: &workers,
        });
        if !on_update {
            self.push(&gradients);
        }
        for (index, weights) in self.weights.iter_mut().enumerate() {
            for (at, weight) in weights.iter_mut().enumerate() {
                *weight += if on_update {
                    updates[index][at]
                } else {
                    -(LEARNING_RATE as f32) * gradients[index][at]
                };
            }
        }
    }

    fn push(&mut self, gradients: &[Vec<f32>]) {
        for (moments, gradients) in self.moments.iter_mut().zip(gradients) {
            for (v, g) in moments.iter_mut().zip(gradients) {
                *v = (BETA2 * f64::from(*v) + (1.0 - BETA2) * f64::from(*g).powi(2)) as f32;
            }
        }
    }
}

#[test]
fn every_policy_gives_the_same_on_a_module_as_on_slices() {
    for policy in policies() {
        let mut model = model();
        let mut optimizer = SgdConfig::new().init();
        let mut clipper = GradientClipper::new(policy.clone())
            .unwrap()
            .with_beta2(BETA2);
        let start = weights(&model);
        let mut reference = Reference {
            clipper: Clipper::new(policy.clone()).unwrap(),
            moments: start.iter().map(|values| vec![0.0; values.len()]).collect(),
            weights: start,
            step: 0,
        };
        let mut acted = 0;
        for (step, values) in stream(40).iter().enumerate() {
            let given = gradients(&model, values);
            let outcome = clipper.step(&mut optimizer, LEARNING_RATE, model, given);
            model = outcome.model;
            let mut decisions = outcome.report.decisions.iter();
            acted += usize::from(decisions.any(|decision| *decision != Decision::Keep));
            reference.step(values);
            for (ours, theirs) in weights(&model)
                .iter()
                .flatten()
                .zip(reference.weights.iter().flatten())
            {
                assert!(
                    (ours - theirs).abs() <= 2e-5 * theirs.abs().max(0.1),
                    "{policy:?}, step {step}: {ours} for {theirs}"
                );
            }
        }
        assert!(
            acted > 3,
            "{policy:?} acted {acted} times, too few for a test"
        );
    }
}

#[test]
fn a_clipper_saved_and_loaded_in_mid_stream_goes_on_bit_for_bit() {
    for policy in policies() {
        let run = |save: bool| {
            let mut model = model();
            let fixed = weights(&model);
            // Each new model has random weights, but both runs must start from the same weights.
            model = steadygrad_burn::map_parameters(model, |_, _, values| {
                values
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, value)| *value = (at as f32 * 0.7).sin());
                true
            });
            assert_ne!(fixed, weights(&model));
            let mut optimizer = SgdConfig::new().init();
            let mut clipper = GradientClipper::new(policy.clone())
                .unwrap()
                .with_beta2(BETA2);
            for (step, values) in stream(20).iter().enumerate() {
                if save && step == 11 {
                    let text = serde_json::to_string(&clipper.state(&model)).unwrap();
                    let state: GradientClipperState = serde_json::from_str(&text).unwrap();
                    clipper = GradientClipper::new(policy.clone())
                        .unwrap()
                        .with_beta2(BETA2);
                    clipper.load_state(&model, state);
                }
                let given = gradients(&model, values);
                let outcome = clipper.step(&mut optimizer, LEARNING_RATE, model, given);
                model = outcome.model;
            }
            weights(&model)
        };
        assert_eq!(run(false), run(true), "{policy:?}");
    }
}

#[test]
fn within_the_bound_nothing_changes_and_a_nan_does_not_spread() {
    let model = model();
    let mut clipper = GradientClipper::new(GlobalNormClip::new(1e6)).unwrap();
    let values = &stream(1)[0];
    let (kept, clipped) = clipper.clip(&model, gradients(&model, values));
    assert_eq!(clipped.decisions, [Decision::Keep]);
    assert_eq!(&steadygrad_burn::gradient_values(&model, &kept), values);

    let mut broken = values.clone();
    broken[1][3] = f32::NAN;
    let mut strict = GradientClipper::new(GlobalNormClip::new(0.1)).unwrap();
    let (kept, clipped) = strict.clip(&model, gradients(&model, &broken));
    assert!(clipped.before.global_norm().is_nan());
    let kept = steadygrad_burn::gradient_values(&model, &kept);
    let nans = kept.iter().flatten().filter(|value| value.is_nan()).count();
    assert_eq!(nans, 1);

    let mut clamp = GradientClipper::new(ValueClip { max_abs: 0.1 }).unwrap();
    broken[1][4] = f32::NEG_INFINITY;
    let (kept, _) = clamp.clip(&model, gradients(&model, &broken));
    let kept = steadygrad_burn::gradient_values(&model, &kept);
    assert!(kept[1][3].is_nan() && kept[1][4] == -0.1);
}

#[test]
fn an_exempt_parameter_is_neither_measured_nor_changed() {
    let model = model();
    let values = &stream(1)[0];
    let mut clipper = GradientClipper::new(GlobalNormClip::new(0.1))
        .unwrap()
        .with_exempt(["hidden.weight"]);
    let (clipped, seen) = clipper.clip(&model, gradients(&model, values));
    assert_eq!(seen.before.tensors.len(), 3);
    let clipped = steadygrad_burn::gradient_values(&model, &clipped);
    assert_eq!(clipped[1], values[1]);
    let rest = clipped[0].iter().chain(&clipped[2]).chain(&clipped[3]);
    let norm = rest
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    assert!((norm / 0.1 - 1.0).abs() < 1e-6, "{norm}");
}

/// A parameter in two places (tied weights) enters the norm once and is scaled once.
#[test]
fn a_shared_parameter_counts_once() {
    #[derive(Module, Debug)]
    struct Tied {
        first: Linear,
        second: Linear,
    }
    let device = Device::flex().autodiff();
    let first = LinearConfig::new(3, 3).with_bias(false).init(&device);
    let model = Tied {
        second: first.clone(),
        first,
    };
    let mut given = GradientsParams::new();
    given.register(
        model.first.weight.id,
        Tensor::<2>::ones([3, 3], &Device::flex()),
    );
    for policy in [
        GlobalNormClip::new(1.5).into(),
        Policy::from(ValueClip { max_abs: 0.5 }),
    ] {
        let mut again = GradientsParams::new();
        let ones = given.get::<2>(model.first.weight.id).unwrap();
        again.register(model.first.weight.id, ones);
        let (clipped, seen) = GradientClipper::new(policy).unwrap().clip(&model, again);
        assert_eq!(seen.before.tensors.len(), 1);
        let values = clipped.get::<2>(model.first.weight.id).unwrap();
        assert_eq!(
            values.into_data().try_into_vec_as::<f32>().unwrap(),
            [0.5; 9]
        );
    }
}

/// Gradients for all parameters but the first, as with a frozen or unused layer.
fn without_first(model: &Model, values: &[Vec<f32>]) -> GradientsParams {
    let mut given = gradients(model, values);
    given.remove::<2>(model.embedding.weight.id);
    given
}

#[test]
fn a_parameter_without_a_gradient_shifts_no_other() {
    let values: Vec<Vec<f32>> = stream(1)[0]
        .iter()
        .map(|row| vec![50.0; row.len()])
        .collect();
    let mut model = model();
    let before = weights(&model);
    let mut optimizer = SgdConfig::new().init();
    let mut clipper = GradientClipper::new(Clippy::default()).unwrap();
    let given = without_first(&model, &values);
    let outcome = clipper.step(&mut optimizer, LEARNING_RATE, model, given);
    model = outcome.model;
    let tensors = outcome.report.before.tensors;
    assert_eq!((tensors.len(), tensors[0].stats.len), (4, 0));
    let after = weights(&model);
    assert_eq!(after[0], before[0]);
    for (new, old) in after.iter().flatten().zip(before.iter().flatten()) {
        assert!(
            (new - old).abs() <= 0.1 * old.abs() + 3e-7,
            "{old} became {new}"
        );
    }

    // A policy that remembers parameters by position finds each at its old position.
    let mut clipper = GradientClipper::new(AdaGC {
        warmup_steps: 1,
        warmup_max_norm: 1e9,
        ..AdaGC::default()
    })
    .unwrap();
    clipper.clip(&model, gradients(&model, &values));
    let (_, clipped) = clipper.clip(&model, without_first(&model, &values));
    assert_eq!(clipped.decisions, [Decision::Keep]);
}

#[test]
fn only_the_scaled_parameters_get_another_update() {
    let mut model = model();
    let mut plain = model.clone();
    let mut values = stream(1)[0]
        .iter()
        .map(|row| vec![1e-6; row.len()])
        .collect::<Vec<Vec<f32>>>();
    values[3].fill(50.0);
    let mut optimizer = SgdConfig::new().init();
    let mut clipper = GradientClipper::new(Clippy {
        relative: 0.1,
        absolute: 1e-3,
        ..Clippy::default()
    })
    .unwrap();
    plain = optimizer.step(LEARNING_RATE, plain.clone(), gradients(&plain, &values));
    let given = gradients(&model, &values);
    let outcome = clipper.step(&mut optimizer, LEARNING_RATE, model, given);
    model = outcome.model;
    let (ours, theirs) = (weights(&model), weights(&plain));
    assert_eq!(ours[..3], theirs[..3]);
    assert_ne!(ours[3], theirs[3]);
}

#[test]
fn a_chain_gets_the_measurements_that_each_of_its_policies_needs() {
    let model = model();
    let policies = vec![
        GlobalNormClip::new(1e9).into(),
        SpikeAwareClip {
            grace_steps: 2,
            ratio: 3.0,
        }
        .into(),
    ];
    let mut clipper = GradientClipper::new(Policy::Chain { policies })
        .unwrap()
        .with_beta2(BETA2);
    let mut clamped = 0;
    for values in stream(20) {
        let (_, clipped) = clipper.clip(&model, gradients(&model, &values));
        clamped += usize::from(clipped.decisions[1] != Decision::Keep);
    }
    assert!(clamped > 0);
}

#[test]
fn a_nan_does_not_enter_the_second_moment() {
    let mut model = model();
    let mut optimizer = SgdConfig::new().init();
    let mut clipper = GradientClipper::new(UpdateRmsClip::default())
        .unwrap()
        .with_beta2(BETA2);
    let mut steps = stream(3);
    steps.iter_mut().flatten().for_each(|row| row.fill(0.1));
    steps[1][0][0] = f32::NAN;
    for values in &steps {
        let given = gradients(&model, values);
        let outcome = clipper.step(&mut optimizer, LEARNING_RATE, model, given);
        model = outcome.model;
    }
    let text = serde_json::to_string(&clipper.state(&model)).unwrap();
    assert!(
        !text.replace("\"state\":null", "").contains("null"),
        "{text}"
    );
    let spike: Vec<Vec<f32>> = steps[0].iter().map(|row| vec![100.0; row.len()]).collect();
    let given = gradients(&model, &spike);
    let outcome = clipper.step(&mut optimizer, LEARNING_RATE, model, given);
    let decisions = &outcome.report.decisions;
    let Decision::ScalePerTensor { coefficients } = &decisions[0] else {
        panic!("{decisions:?}");
    };
    // v is close to 0.1 * 100^2, and the bias correction is 1 - 0.9^4.
    let expected = (0.1f64 / (1.0 - BETA2.powi(4))).sqrt();
    assert!(
        coefficients
            .iter()
            .all(|coefficient| (coefficient - expected).abs() < 1e-3),
        "{coefficients:?} for {expected}"
    );
}
