#![allow(
    clippy::print_stdout,
    reason = "the measured exponent is worth seeing: run with --nocapture"
)]

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;

fn settings() -> ButterflySettings {
    ButterflySettings::new(f64::EPSILON)
}

/// All three quantities separate alike, at size 1.
fn butterfly(apart: impl IntoIterator<Item = f64>) -> Butterfly {
    Butterfly::new(steps(apart), settings()).unwrap()
}

fn steps(apart: impl IntoIterator<Item = f64>) -> Vec<SeparationStep> {
    (0..)
        .zip(apart)
        .map(|(step, distance)| {
            let one = Separation {
                distance,
                size: 1.0,
            };
            SeparationStep {
                step,
                loss: one,
                weights: one,
                gradients: one,
            }
        })
        .collect()
}

fn exponential(rate: f64, count: u32) -> impl Iterator<Item = f64> {
    (0..count).map(move |t| 1e-8 * (rate * f64::from(t)).exp())
}

#[test]
fn an_exponential_has_its_rate_and_its_horizon() {
    for rate in [0.5, 0.05, 1.0] {
        let found = butterfly(exponential(rate, 400));
        let fit = found.weights.exponent.unwrap();
        assert!((fit.rate - rate).abs() < 1e-12 && fit.standard_error < 1e-12);
        assert!((fit.log_start - 1e-8f64.ln()).abs() < 1e-9 && fit.separates());
        let truth = (0.1f64 / 1e-8).ln() / rate;
        let step = truth.ceil() as u64;
        assert_eq!(found.weights.horizon, Horizon::Measured { step }, "{rate}");
    }
}

#[test]
fn a_horizon_that_was_not_reached_is_extrapolated() {
    let found = butterfly(exponential(0.05, 100));
    let Horizon::Extrapolated { step } = found.loss.horizon else {
        panic!("{:?}", found.loss.horizon);
    };
    assert!((step - (0.1f64 / 1e-8).ln() / 0.05).abs() < 1e-6, "{step}");
}

#[test]
fn without_growth_there_is_no_horizon() {
    let flat = butterfly(vec![1e-8; 50]);
    let fit = flat.weights.exponent.unwrap();
    assert!(fit.rate.abs() < 1e-12 && !fit.separates(), "{fit:?}");
    assert_eq!(flat.weights.horizon, Horizon::NotReached { after: 49 });
    // A shrinking one is fitted down to the floor only: its tail of round-off is left out.
    let tail = exponential(-0.5, 60).map(|apart| apart.max(1e-16));
    let shrinks = butterfly(tail);
    let fit = shrinks.weights.exponent.unwrap();
    assert!((fit.rate + 0.5).abs() < 1e-9, "{fit:?}");
    assert!(fit.last_step < 32, "{fit:?}");
    assert_eq!(shrinks.weights.horizon, Horizon::NotReached { after: 59 });
}

#[test]
fn saturation_and_later_steps_are_not_fitted() {
    let saturates = exponential(0.5, 300).map(|apart| apart.min(1.3));
    let fit = butterfly(saturates).weights.exponent.unwrap();
    assert!((fit.rate - 0.5).abs() < 1e-12, "{fit:?}");
    // Levels off between saturation and tolerance: measured not to get there, so not forecast.
    let levels = butterfly(exponential(0.5, 300).map(|apart| apart.min(0.05)));
    assert!(levels.weights.exponent.unwrap().separates());
    assert_eq!(levels.weights.horizon, Horizon::NotReached { after: 299 });
}

#[test]
fn a_separation_below_round_off_is_fitted_once_it_exceeds_it() {
    let late = (0..200).map(|t| 1e-20 * (0.3 * f64::from(t)).exp() + 1e-17);
    let fit = butterfly(late).weights.exponent.unwrap();
    assert!((fit.rate - 0.3).abs() < 2e-3, "{fit:?}");
    assert!(fit.first_step > 30, "{fit:?}");
}

#[test]
fn the_standard_error_covers_noise() {
    let (mut outside, mut separating) = (0, 0);
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut noise = || -> f64 { StandardNormal.sample(&mut rng) };
        let grows: Vec<f64> = exponential(0.1, 80)
            .map(|apart| apart * noise().exp())
            .collect();
        let flat: Vec<f64> = (0..80).map(|_| 1e-8 * noise().exp()).collect();
        let fit = butterfly(grows).weights.exponent.unwrap();
        outside += usize::from((fit.rate - 0.1).abs() > 3.0 * fit.standard_error);
        separating += usize::from(butterfly(flat).weights.exponent.unwrap().separates());
    }
    // Normal noise: 0.3 and 2.3 in a hundred are expected; 3 and 7 are their 99th percentile.
    assert!(outside <= 3, "{outside}");
    assert!(separating <= 7, "{separating}");
}

#[test]
fn logistic_twins_separate_at_ln_2() {
    let step = |x: f64| 4.0 * x * (1.0 - x);
    let (mut sum, mut within) = (0.0, 0);
    let runs = 200;
    for run in 0..runs {
        let mut a = 0.1 + 0.8 * (f64::from(run) * 0.618_033_988_75).fract();
        for _ in 0..50 {
            a = step(a);
        }
        let mut b = a + 1e-13;
        let mut measured = Vec::new();
        for number in 0..60 {
            let apart = Separation {
                distance: (a - b).abs(),
                size: 1.0,
            };
            measured.push(SeparationStep {
                step: number,
                loss: apart,
                weights: apart,
                gradients: apart,
            });
            (a, b) = (step(a), step(b));
        }
        let found = Butterfly::new(measured, settings()).unwrap();
        let Ok(fit) = found.weights.exponent else {
            continue;
        };
        sum += fit.rate;
        let off = (fit.rate - std::f64::consts::LN_2).abs();
        within += usize::from(off < 3.0 * fit.standard_error);
        assert!(matches!(found.weights.horizon, Horizon::Measured { .. }));
    }
    let mean = sum / f64::from(runs);
    println!(
        "logistic twins: mean exponent {mean:.4}, {within} of {runs} within 3 standard errors"
    );
    assert!((mean - std::f64::consts::LN_2).abs() < 0.03, "{mean}");
    assert!(within >= 180, "{within}");
}

#[test]
fn a_twin_that_diverges_is_an_outcome() {
    for odd in [f64::NAN, f64::INFINITY] {
        let found = butterfly(exponential(0.2, 20).chain([odd, odd]));
        assert_eq!(found.weights.diverged_at, Some(20));
        assert_eq!(found.weights.horizon, Horizon::Measured { step: 20 });
        assert!((found.weights.exponent.unwrap().rate - 0.2).abs() < 1e-12);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(
            serde_json::from_str::<Butterfly>(&text).unwrap().weights,
            found.weights
        );
    }
}

#[test]
fn a_failed_fit_has_its_reason() {
    let too_few = |found| ButterflyError::TooFewPoints { found, needed: 8 };
    assert_eq!(Butterfly::new(vec![], settings()), Err(too_few(0)));
    assert_eq!(butterfly([0.0; 30]).weights.exponent, Err(too_few(0)));
    assert_eq!(
        butterfly(exponential(0.1, 7)).loss.exponent,
        Err(too_few(7))
    );
    assert_eq!(butterfly([1.0; 30]).weights.exponent, Err(too_few(0)));
    assert_eq!(
        Butterfly::new(steps([f64::NAN, 1.0]), settings()),
        Err(ButterflyError::NonFinite { step: 0 })
    );
    let mut twice = steps([1e-8; 12]);
    twice[5].step = 4;
    assert_eq!(
        Butterfly::new(twice, settings()),
        Err(ButterflyError::Order { step: 4 })
    );
    // Only the gradient is lost from the start: the weights still have their exponent.
    let mut lost = steps(exponential(0.1, 20));
    lost.iter_mut()
        .for_each(|step| step.gradients.distance = f64::NAN);
    let found = Butterfly::new(lost, settings()).unwrap();
    assert_eq!(
        found.gradients.exponent,
        Err(ButterflyError::NonFinite { step: 0 })
    );
    assert!(found.weights.exponent.is_ok());
}

#[test]
fn settings_that_contradict_themselves_are_refused() {
    for odd in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        for field in 0..3 {
            let mut settings = settings();
            *[
                &mut settings.resolution,
                &mut settings.saturation,
                &mut settings.tolerance,
            ][field] = odd;
            let refused = Butterfly::new(steps([1e-8; 20]), settings);
            assert!(
                matches!(refused, Err(ButterflyError::Settings(_))),
                "{odd} {field}"
            );
        }
    }
    let none_between = ButterflySettings::new(0.01);
    assert!(Butterfly::new(steps([1e-8; 20]), none_between).is_err());
}

#[test]
fn separations_of_odd_lists() {
    let between = Separation::between(&[3.0, 4.0], &[3.0, 4.5]);
    assert!((between.distance - 0.5).abs() < 1e-15);
    assert_eq!(Separation::between(&[], &[]).relative(), 0.0);
    assert_eq!(Separation::between(&[0.0], &[0.0]).relative(), 0.0);
    for odd in [f64::NAN, f64::INFINITY] {
        assert!(Separation::between(&[odd], &[odd]).relative().is_nan());
        assert!(Separation::between(&[1.0], &[odd]).relative().is_nan());
    }
}
