//! Laws that hold for every clipping policy, in every number type.

use half::{bf16, f16};
use proptest::prelude::*;
use steadygrad::clip::{
    AdaGC, AdaptiveGradientClip, AutoClip, Clipped, Clipper, Clippy, GlobalNorm, GlobalNormClip,
    ParameterSlices, Policy, SliceGradients, SpikeAwareClip, Target, TensorNormClip, UpdateRmsClip,
    ValueClip, ZClip,
};
use steadygrad::stats::{SecondMoment, Units, Values, ValuesMut};
use steadygrad::{Decision, Workers};

const LENS: [usize; 3] = [6, 2, 0];

/// Returns every policy and a chain, with bounds near `bound` and warm-ups of a few steps.
fn policies(bound: f64) -> Vec<Policy> {
    let max_abs = 2.0 * bound;
    let zclip = ZClip::default().with_warmup_steps(4).with_max_norm(None);
    let mut policies = Policy::examples(bound);
    policies.push(Policy::Chain {
        policies: vec![
            ValueClip { max_abs }.into(),
            zclip.into(),
            GlobalNormClip::new(bound).into(),
        ],
    });
    policies
}

/// A number type of gradients.
trait Float: Copy + PartialEq + std::fmt::Debug {
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn bits(self) -> u64;
    fn values(slice: &[Self]) -> Values<'_>;
    fn values_mut(slice: &mut [Self]) -> ValuesMut<'_>;
    /// The relative rounding error of one operation.
    const EPS: f64;
}

macro_rules! float {
    ($float:ty, $eps:expr, $from:expr, $to:expr) => {
        impl Float for $float {
            fn from_f64(value: f64) -> Self {
                $from(value)
            }
            fn to_f64(self) -> f64 {
                $to(self)
            }
            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }
            fn values(slice: &[Self]) -> Values<'_> {
                slice.into()
            }
            fn values_mut(slice: &mut [Self]) -> ValuesMut<'_> {
                slice.into()
            }
            const EPS: f64 = $eps;
        }
    };
}

float!(f32, 1.2e-7, |value| value as f32, f64::from);
float!(f64, 2.3e-16, |value| value, |value| value);
float!(f16, 9.8e-4, f16::from_f64, f16::to_f64);
float!(bf16, 7.9e-3, bf16::from_f64, bf16::to_f64);

/// The tensors of one step: gradients, weights, second moments and updates.
#[derive(Clone)]
struct Step<F> {
    gradient: Vec<F>,
    weight: Vec<F>,
    moment: Vec<F>,
    update: Vec<F>,
}

impl<F: Float> Step<F> {
    fn new(gradient: &[f64]) -> Self {
        let list = |value: &dyn Fn(usize) -> f64| -> Vec<F> {
            (0..gradient.len())
                .map(|index| F::from_f64(value(index)))
                .collect()
        };
        Self {
            gradient: list(&|index| gradient[index]),
            weight: list(&|index| 0.5 + 0.1 * index as f64),
            moment: list(&|_| 1e-3),
            update: list(&|index| -0.01 * gradient[index]),
        }
    }

    /// Returns the values that the policy changes.
    fn target(&self, policy: &Policy) -> &[F] {
        match policy.target() {
            Target::Gradient => &self.gradient,
            Target::Update => &self.update,
        }
    }

    fn clip(&mut self, clipper: &mut Clipper) -> Clipped {
        let workers = Workers::single();
        let on_update = clipper.policy().target() == Target::Update;
        let mut parameters = Vec::new();
        let (mut gradients, mut updates) = (&mut self.gradient[..], &mut self.update[..]);
        let mut at = 0;
        for (len, units) in LENS
            .into_iter()
            .zip([Units::Rows(2), Units::One, Units::One])
        {
            let (gradient, rest) = std::mem::take(&mut gradients).split_at_mut(len);
            gradients = rest;
            let (update, rest) = std::mem::take(&mut updates).split_at_mut(len);
            updates = rest;
            parameters.push(ParameterSlices {
                units,
                weight: Some(F::values(&self.weight[at..at + len])),
                second_moment: Some(SecondMoment::new(F::values(&self.moment[at..at + len]))),
                update: on_update.then(|| F::values_mut(update)),
                ..ParameterSlices::new(F::values_mut(gradient))
            });
            at += len;
        }
        let Ok(clipped) = clipper.clip(&mut SliceGradients {
            parameters,
            workers: &workers,
        });
        clipped
    }
}

fn norm<F: Float>(values: &[F]) -> f64 {
    let max = values
        .iter()
        .fold(0.0f64, |max, value| max.max(value.to_f64().abs()));
    let scale = if max > 0.0 { max } else { 1.0 };
    scale
        * values
            .iter()
            .map(|value| (value.to_f64() / scale).powi(2))
            .sum::<f64>()
            .sqrt()
}

fn bits<F: Float>(values: &[F]) -> Vec<u64> {
    values.iter().map(|value| value.bits()).collect()
}

fn gradient() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![8 => -1.0f64..1.0, 1 => Just(0.0), 1 => -30.0f64..30.0];
    prop::collection::vec(value, 8)
}

fn stream() -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(gradient(), 1..30)
}

/// Generates steps that contain NaN, infinity and zeros.
fn broken_stream() -> impl Strategy<Value = Vec<Vec<f64>>> {
    let broken = (
        gradient(),
        0usize..8,
        prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
    )
        .prop_map(|(mut gradient, index, value)| {
            gradient[index] = value;
            gradient
        });
    let step = prop_oneof![4 => gradient(), 2 => broken, 1 => Just(vec![0.0; 8])];
    prop::collection::vec(step, 1..30)
}

/// Checks that a kept gradient stays bit-identical. Checks that a bound holds in the values' own
/// type.
fn keeps_or_bounds<F: Float>(steps: &[Vec<f64>]) -> Result<(), TestCaseError> {
    for policy in policies(0.7) {
        let mut clipper = Clipper::new(policy.clone()).unwrap();
        for gradient in steps {
            let before = Step::<F>::new(gradient);
            let mut after = before.clone();
            let clipped = after.clip(&mut clipper);
            let (old, new) = (before.target(&policy), after.target(&policy));
            if clipped
                .decisions
                .iter()
                .all(|decision| *decision == Decision::Keep)
            {
                prop_assert_eq!(bits(old), bits(new), "{:?}", policy);
            }
            // No policy makes a value larger, or changes its sign.
            for (old, new) in old.iter().zip(new) {
                let (old, new) = (old.to_f64(), new.to_f64());
                prop_assert!(new.abs() <= old.abs() * (1.0 + F::EPS), "{policy:?}");
                prop_assert!(new * old >= 0.0, "{policy:?}");
            }
            let slack = 1.0 + 3.0 * F::EPS;
            let max = new
                .iter()
                .fold(0.0f64, |max, value| max.max(value.to_f64().abs()));
            match &policy {
                Policy::Value(clip) => prop_assert!(max <= clip.max_abs),
                Policy::TensorNorm(clip) => {
                    prop_assert!(norm(&new[..6]) <= clip.max_norm * slack);
                    prop_assert!(norm(&new[6..]) <= clip.max_norm * slack);
                }
                Policy::GlobalNorm(clip) if clip.norm == GlobalNorm::LInf => {
                    prop_assert!(max <= clip.max_norm * slack);
                }
                Policy::GlobalNorm(clip) => prop_assert!(norm(new) <= clip.max_norm * slack),
                Policy::AdaptiveGradient(clip) => {
                    for unit in [0..3, 3..6, 6..8] {
                        let bound =
                            clip.clipping * norm(&before.weight[unit.clone()]).max(clip.eps);
                        prop_assert!(norm(&new[unit]) <= bound * slack);
                    }
                }
                Policy::Clippy(clip) => {
                    for (new, weight) in new.iter().zip(&before.weight) {
                        let bound = clip.relative * weight.to_f64().abs() + clip.absolute;
                        prop_assert!(new.to_f64().abs() <= bound * slack);
                    }
                }
                Policy::Chain { .. } => prop_assert!(norm(new) <= 0.7 * slack),
                // The bounds of the other policies depend on their state.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Checks that a clipper saved and loaded at any step continues bit for bit, for any gradients.
fn resumes<F: Float>(steps: &[Vec<f64>], saved: usize) -> Result<(), TestCaseError> {
    for policy in policies(0.7) {
        let mut whole = Clipper::new(policy.clone()).unwrap();
        let mut resumed = whole.clone();
        for (index, gradient) in steps.iter().enumerate() {
            if index == saved.min(steps.len() - 1) {
                let text = serde_json::to_string(&resumed).unwrap();
                resumed = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(&resumed, &whole);
            }
            let (mut one, mut other) = (Step::<F>::new(gradient), Step::<F>::new(gradient));
            one.clip(&mut whole);
            other.clip(&mut resumed);
            prop_assert_eq!(bits(one.target(&policy)), bits(other.target(&policy)));
        }
        prop_assert_eq!(whole, resumed);
    }
    Ok(())
}

/// Checks that a NaN or infinite value does not spread to other values or enter the state.
fn keeps_broken_values_in_place<F: Float>(steps: &[Vec<f64>]) -> Result<(), TestCaseError> {
    for policy in policies(0.7) {
        let mut clipper = Clipper::new(policy.clone()).unwrap();
        for gradient in steps {
            let before = Step::<F>::new(gradient);
            let mut after = before.clone();
            after.clip(&mut clipper);
            for (old, new) in before.target(&policy).iter().zip(after.target(&policy)) {
                prop_assert!(
                    new.to_f64().is_finite() || new.to_f64().is_nan() == old.to_f64().is_nan(),
                    "{policy:?} made {new:?} of {old:?}"
                );
                prop_assert!(
                    !old.to_f64().is_finite() || new.to_f64().is_finite(),
                    "{policy:?}"
                );
            }
        }
        let text = serde_json::to_string(&clipper).unwrap();
        // JSON writes NaN as null, which also stands for a missing bound and an empty state.
        let text = text.replace("\"state\":null", "");
        prop_assert!(
            !text.replace("\"max_norm\":null", "").contains("null"),
            "{text}"
        );
        // Afterwards the policy still clips a plain step to finite values.
        let mut plain = Step::<F>::new(&[0.25; 8]);
        plain.clip(&mut clipper);
        prop_assert!(
            plain
                .target(&policy)
                .iter()
                .all(|value| value.to_f64().is_finite())
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn f32_keeps_or_bounds(steps in stream()) {
        keeps_or_bounds::<f32>(&steps)?;
    }
    #[test]
    fn f64_keeps_or_bounds(steps in stream()) {
        keeps_or_bounds::<f64>(&steps)?;
    }
    #[test]
    fn f16_keeps_or_bounds(steps in stream()) {
        keeps_or_bounds::<f16>(&steps)?;
    }
    #[test]
    fn bf16_keeps_or_bounds(steps in stream()) {
        keeps_or_bounds::<bf16>(&steps)?;
    }

    #[test]
    fn resuming_equals_never_having_stopped(steps in broken_stream(), saved in 0usize..30) {
        resumes::<f32>(&steps, saved)?;
        resumes::<f64>(&steps, saved)?;
        resumes::<f16>(&steps, saved)?;
        resumes::<bf16>(&steps, saved)?;
    }

    #[test]
    fn a_broken_value_stays_where_it_is(steps in broken_stream()) {
        keeps_broken_values_in_place::<f32>(&steps)?;
        keeps_broken_values_in_place::<f64>(&steps)?;
        keeps_broken_values_in_place::<f16>(&steps)?;
        keeps_broken_values_in_place::<bf16>(&steps)?;
    }

    /// Scaling gradients and bounds by a power of two scales the result, bit for bit.
    #[test]
    fn fixed_bounds_are_scale_equivariant(steps in stream(), power in -20i32..20) {
        let factor = 2f64.powi(power);
        for (policy, scaled) in policies(0.5).into_iter().zip(policies(0.5 * factor)) {
            let homogeneous = matches!(
                policy,
                Policy::Value(_) | Policy::TensorNorm(_) | Policy::GlobalNorm(_)
                    | Policy::AutoClip(_) | Policy::AdaGC(_)
            );
            if !homogeneous {
                continue;
            }
            let mut one = Clipper::new(policy.clone()).unwrap();
            let mut other = Clipper::new(scaled).unwrap();
            for gradient in &steps {
                let mut plain = Step::<f64>::new(gradient);
                let large: Vec<f64> = gradient.iter().map(|value| value * factor).collect();
                let mut large = Step::<f64>::new(&large);
                plain.clip(&mut one);
                large.clip(&mut other);
                for (plain, large) in plain.gradient.iter().zip(&large.gradient) {
                    prop_assert_eq!(plain * factor, *large, "{:?}", policy);
                }
            }
        }
    }
}

/// The bound holds from 1e-40 to 1e38, and in f16 up to its largest value.
#[test]
fn the_bound_holds_at_every_scale() {
    fn check<F: Float>(scale: f64, bound: f64) {
        for policy in policies(bound) {
            let mut clipper = Clipper::new(policy.clone()).unwrap();
            let mut step = Step::<F>::new(&[scale; 8]);
            let clipped = step.clip(&mut clipper);
            assert_eq!(clipped.before.non_finite(), 0);
            let new = step.target(&policy);
            assert!(
                new.iter().all(|value| value.to_f64().is_finite()),
                "{scale} {policy:?}"
            );
            if let Policy::GlobalNorm(GlobalNormClip {
                norm: GlobalNorm::L2,
                ..
            })
            | Policy::Chain { .. } = policy
            {
                assert!(
                    norm(new) <= bound * (1.0 + 3.0 * F::EPS),
                    "{scale}: {policy:?}"
                );
                assert!(
                    norm(new) >= bound * (1.0 - 3.0 * F::EPS),
                    "{scale}: {policy:?}"
                );
            }
        }
    }
    for scale in [1e-30, 1.0, 1e30, 1e38] {
        check::<f32>(scale, scale * 1e-3);
        check::<bf16>(scale, scale * 1e-3);
    }
    check::<f32>(1e38, 1e-6);
    for scale in [1e-300, 1.0, 1e300] {
        check::<f64>(scale, scale * 1e-3);
    }
    check::<f16>(65_504.0, 70.0);
    // A subnormal gradient has few digits, so the tolerance is one step of the format.
    let mut tiny = Step::<f32>::new(&[1e-40; 8]);
    tiny.clip(&mut Clipper::new(GlobalNormClip::new(1e-41)).unwrap());
    assert!((norm(&tiny.gradient) - 1e-41).abs() < 8.0 * f64::from(f32::from_bits(1)));
    assert_eq!(f16::from_f64(65_504.0), f16::MAX);
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let bad: Vec<(Policy, &str)> = vec![
        (ValueClip { max_abs: 0.0 }.into(), "value.max_abs"),
        (
            TensorNormClip { max_norm: f64::NAN }.into(),
            "tensor_norm.max_norm",
        ),
        (GlobalNormClip::new(-1.0).into(), "global_norm.max_norm"),
        (
            GlobalNormClip::new(f64::INFINITY).into(),
            "global_norm.max_norm",
        ),
        (
            AdaptiveGradientClip {
                clipping: 0.0,
                eps: 1.0,
            }
            .into(),
            "adaptive_gradient.clipping",
        ),
        (
            AdaptiveGradientClip {
                clipping: 1.0,
                eps: 0.0,
            }
            .into(),
            "adaptive_gradient.eps",
        ),
        (
            AutoClip {
                percentile: 100.1,
                window: 1,
            }
            .into(),
            "autoclip.percentile",
        ),
        (
            AutoClip {
                percentile: -0.1,
                window: 1,
            }
            .into(),
            "autoclip.percentile",
        ),
        (
            AutoClip {
                percentile: 1.0,
                window: 0,
            }
            .into(),
            "autoclip.window",
        ),
        (
            ZClip {
                alpha: 1.0,
                ..ZClip::default()
            }
            .into(),
            "zclip.alpha",
        ),
        (
            ZClip {
                z_threshold: 0.0,
                ..ZClip::default()
            }
            .into(),
            "zclip.z_threshold",
        ),
        (
            ZClip {
                warmup_steps: 0,
                ..ZClip::default()
            }
            .into(),
            "zclip.warmup_steps",
        ),
        (
            ZClip {
                max_norm: Some(0.0),
                ..ZClip::default()
            }
            .into(),
            "zclip.max_norm",
        ),
        (
            AdaGC {
                warmup_max_norm: 0.0,
                ..AdaGC::default()
            }
            .into(),
            "adagc.warmup_max_norm",
        ),
        (
            AdaGC {
                ratio: 0.0,
                ..AdaGC::default()
            }
            .into(),
            "adagc.ratio",
        ),
        (
            AdaGC {
                decay: -0.1,
                ..AdaGC::default()
            }
            .into(),
            "adagc.decay",
        ),
        (
            SpikeAwareClip {
                ratio: 0.0,
                grace_steps: 0,
            }
            .into(),
            "spike_aware.ratio",
        ),
        (UpdateRmsClip { eps: 0.0 }.into(), "update_rms.eps"),
        (
            Clippy {
                relative: -1.0,
                ..Clippy::default()
            }
            .into(),
            "clippy.relative",
        ),
        (
            Clippy {
                accumulator: -1.0,
                ..Clippy::default()
            }
            .into(),
            "clippy.accumulator",
        ),
        (
            Clippy {
                absolute: f64::NAN,
                ..Clippy::default()
            }
            .into(),
            "clippy.absolute",
        ),
        (
            Policy::Chain {
                policies: vec![ValueClip { max_abs: 0.0 }.into()],
            },
            "value.max_abs",
        ),
        (
            Policy::Chain {
                policies: vec![Clippy::default().into()],
            },
            "chain",
        ),
    ];
    for (policy, field) in bad {
        let error = Clipper::new(policy).unwrap_err();
        assert_eq!(error.field, field);
        assert!(error.to_string().contains(field), "{error}");
    }
    for policy in policies(1.0) {
        policy.validate().unwrap();
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(
            serde_json::from_str::<Policy>(&text).unwrap(),
            policy,
            "{text}"
        );
    }
}
