use fearless_simd::Level;
use proptest::prelude::*;

use super::rule::Rule;
use super::step::step;
use super::*;
use crate::TensorStats;
use crate::stats::{Shard, distance};

/// One value's weight, gradient and two states.
type One = (f32, f32, f32, f32);

fn values() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => -3f32..3.0,
        1 => Just(0.0f32),
        1 => Just(1e-42f32),
        1 => Just(3e38f32),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NAN),
    ]
}

fn tensors() -> impl Strategy<Value = Vec<One>> {
    prop::collection::vec((values(), values(), values(), values()), 0..70)
}

fn bits(values: &[f32]) -> Vec<u32> {
    // The bits of a NaN depend on the order of the operands.
    let canonical = |value: &f32| if value.is_nan() { f32::NAN } else { *value };
    values
        .iter()
        .map(|value| canonical(value).to_bits())
        .collect()
}

/// Compares the rule with a plain loop over `one`, with every instruction set, measured and not.
fn check<const STATES: usize>(
    all: &[One],
    rule: impl Rule<STATES>,
    one: impl Fn(f32, f32, &mut [f32; 2]) -> f32,
) -> Result<(), TestCaseError> {
    let before: Vec<f32> = all.iter().map(|one| one.0).collect();
    let gradient: Vec<f32> = all.iter().map(|one| one.1).collect();
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for &(weight, gradient, first, second) in all {
        let mut states = [first, second];
        expected[0].push(one(weight, gradient, &mut states));
        expected[1].push(states[0]);
        expected[2].push(states[1]);
    }
    let mut norms = Vec::new();
    for level in [Level::new(), Level::baseline()] {
        for measured in [true, false] {
            let mut weights = before.clone();
            let mut states: [Vec<f32>; STATES] = std::array::from_fn(|state| {
                let of = |one: &One| [one.2, one.3][state];
                all.iter().map(of).collect()
            });
            let slices = states.each_mut().map(|state| &mut state[..]);
            let found = step(level, rule, &mut weights, &gradient, slices, measured);
            prop_assert_eq!(bits(&weights), bits(&expected[0]));
            for (state, expected) in states.iter().zip(&expected[1..]) {
                prop_assert_eq!(bits(state), bits(expected));
            }
            prop_assert_eq!(found.is_some(), measured);
            norms.extend(found);
        }
    }
    let update_norm = distance(&before, &expected[0]);
    let weight_norm = TensorStats::of(&expected[0]).tensor_norm;
    for found in norms {
        prop_assert_eq!(
            found.update_norm.to_bits() & !SIGN,
            update_norm.to_bits() & !SIGN
        );
        prop_assert_eq!(
            found.weight_norm.to_bits() & !SIGN,
            weight_norm.to_bits() & !SIGN
        );
    }
    Ok(())
}

/// Of a NaN, it says nothing.
const SIGN: u64 = 1 << 63;

proptest! {
    #[test]
    fn sgd_is_the_plain_loop(
        all in tensors(), decay in prop::option::of(0f32..0.1), nesterov in any::<bool>(),
    ) {
        let rule = SgdStep {
            learning_rate: 0.03,
            weight_decay: decay,
            momentum: 0.9,
            gradient_share: 0.7,
            nesterov,
        };
        let decayed = |weight: f32, gradient: f32| match decay {
            Some(penalty) => weight * penalty + gradient,
            None => gradient,
        };
        check::<0>(&all, rule, |weight, gradient, _| weight - decayed(weight, gradient) * 0.03)?;
        let one = |weight: f32, gradient: f32, [velocity, _]: &mut [f32; 2]| {
            let gradient = decayed(weight, gradient);
            *velocity = gradient * 0.7 + *velocity * 0.9;
            let direction = if nesterov { *velocity * 0.9 + gradient } else { *velocity };
            weight - direction * 0.03
        };
        check::<1>(&all, rule, one)?;
        prop_assert_eq!(rule.plain_momentum().is_some(), decay.is_none() && !nesterov);
        if let Some(plain) = rule.plain_momentum() {
            check::<1>(&all, plain, one)?;
        }
    }

    #[test]
    fn adam_is_the_plain_loop(
        all in tensors(), decay in prop::option::of(0f32..0.1), time in 1i32..2000,
    ) {
        let [b1, b2] = [0.9f32, 0.999f32];
        let push = |gradient: f32, [first, second]: &mut [f32; 2]| {
            *first = *first * b1 + gradient * (1.0 - b1);
            *second = *second * b2 + (gradient * gradient) * (1.0 - b2);
            (*first, *second)
        };
        let rule = AdamStep {
            learning_rate: 0.03,
            betas: [b1, b2],
            epsilon: 1e-5,
            weight_decay: decay,
            time,
        };
        check(&all, rule.rule(), |weight, gradient, states| {
            let gradient = match decay {
                Some(penalty) => weight * penalty + gradient,
                None => gradient,
            };
            let (first, second) = push(gradient, states);
            let root = (1.0 - b2.powi(time)).sqrt();
            let direction =
                first * (root / (1.0 - b1.powi(time))) / (second.sqrt() + 1e-5 * root);
            weight - direction * 0.03
        })?;
        let decay = decay.unwrap_or(0.0);
        let rule = AdamWStep {
            learning_rate: 0.03,
            betas: [b1, b2],
            epsilon: 1e-5,
            weight_decay: decay,
            time,
        };
        check(&all, rule.rule(), |weight, gradient, states| {
            let (first, second) = push(gradient, states);
            let direction = first / (1.0 - b1.powi(time))
                / ((second / (1.0 - b2.powi(time))).sqrt() + 1e-5);
            let shrink = 1.0 - 0.03 * f64::from(decay);
            let weight = if decay == 0.0 { weight } else { weight * shrink as f32 };
            weight - direction * 0.03
        })?;
    }
}

/// Blocks are measured one after the other. The norms are those of the whole tensor.
#[test]
fn a_tensor_of_several_blocks_has_the_norms_of_the_whole() {
    for len in [Shard::BLOCK, 2 * Shard::BLOCK + 21] {
        let before: Vec<f32> = (0..len).map(|at| (at as f32 * 0.37).sin()).collect();
        let gradient: Vec<f32> = (0..len).map(|at| (at as f32 * 1.7).cos()).collect();
        let rule = SgdStep {
            learning_rate: 0.25,
            weight_decay: None,
            momentum: 0.0,
            gradient_share: 1.0,
            nesterov: false,
        };
        let mut weights = before.clone();
        let norms = rule.step(&mut weights, &gradient, None, true).unwrap();
        assert_eq!(norms.update_norm, distance(&before, &weights));
        assert_eq!(norms.weight_norm, TensorStats::of(&weights).tensor_norm);
        // A closed form: the step is a quarter of the gradient.
        let expected = 0.25 * TensorStats::of(&gradient).tensor_norm;
        assert!((norms.update_norm / expected - 1.0).abs() < 1e-6);
    }
}

#[test]
#[should_panic(expected = "one length")]
fn slices_of_different_lengths_are_refused() {
    let rule = AdamStep {
        learning_rate: 0.1,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: None,
        time: 1,
    };
    rule.step(
        &mut [1.0; 3],
        &[1.0; 3],
        [&mut [0.0; 3], &mut [0.0; 2]],
        true,
    );
}
