//! Averages over a normally distributed signal.
//!
//! Textbooks use Gauss-Hermite quadrature. It converges slowly at a kink (ReLU, leaky ReLU, SELU)
//! and for a large signal, whose saturation has the width `1 / sqrt(q)`. Here either side of zero
//! is cut into panels that resolve both the activation and the Gaussian, and each panel has a
//! Gauss-Legendre rule.

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::Activation;

/// The points of the rule in each panel. A panel of width 2 whose nearest pole lies `pi/2` away
/// (tanh at `i pi/2`) converges as `3.4^(-2 n)` (Trefethen, 2008, theorem 4.5): 1e-21 at 20.
const POINTS: usize = 20;

/// The end of the integral. 1e-23 of the mass lies beyond ten standard deviations.
const Z_MAX: f64 = 10.0;

/// The size beyond which every activation equals its asymptote to the last bit (`e^-40 = 4e-18`).
const X_STRAIGHT: f64 = 40.0;

/// The width of a panel where the activation bends, in units of the signal.
const X_PANEL: f64 = 2.0;

/// The width of a panel where only the Gaussian bends, in standard deviations.
const Z_PANEL: f64 = 1.0;

/// The `q` above which the bend, `1 / sqrt(q)` wide, is narrower than the last digit of an average.
const Q_STRAIGHT: f64 = 1e34;

/// `E[phi(x)^2]` for `x ~ N(0, q)`. `q = 0` gives `phi(0)^2`, an infinite `q` the limit, a
/// negative one or NaN gives NaN.
pub(super) fn second_moment(activation: Activation, q: f64) -> f64 {
    let straight = activation.squared_slope_at_infinity();
    if activation.is_homogeneous() {
        return if q >= 0.0 { straight * q } else { f64::NAN };
    }
    if q > Q_STRAIGHT {
        let plus = activation.value(f64::INFINITY);
        let minus = activation.value(f64::NEG_INFINITY);
        // Bounded: half of the signal is at either end. Unbounded: only the tail matters.
        return if straight == 0.0 {
            0.5 * (plus * plus + minus * minus)
        } else {
            straight * q
        };
    }
    gaussian_mean(q, |x| activation.value(x).powi(2))
}

/// `E[phi'(x)^2]` for `x ~ N(0, q)`. Special values as for [`second_moment`].
pub(super) fn squared_slope(activation: Activation, q: f64) -> f64 {
    if q == 0.0 {
        activation.squared_slope_at_zero()
    } else if q > Q_STRAIGHT || (q > 0.0 && activation.is_homogeneous()) {
        activation.squared_slope_at_infinity()
    } else {
        gaussian_mean(q, |x| activation.slope(x).powi(2))
    }
}

/// `d E[phi(x)^2] / dq = E[x phi(x) phi'(x)] / q` for `x ~ N(0, q)`. The formula needs no second
/// derivative, which kinks do not have. Special values as for [`second_moment`].
pub(super) fn second_moment_slope(activation: Activation, q: f64) -> f64 {
    if q == 0.0 || q > Q_STRAIGHT || (q > 0.0 && activation.is_homogeneous()) {
        // At zero `phi phi''` adds to it. Of the eight only sigmoid has `phi(0) != 0`, and its
        // `phi''(0)` is 0.
        return squared_slope(activation, q);
    }
    gaussian_mean(q, |x| x * activation.value(x) * activation.slope(x)) / q
}

/// `E[f(x)]` for `x ~ N(0, q)`. `f` is smooth except at zero, and straight beyond [`X_STRAIGHT`].
fn gaussian_mean(q: f64, f: impl Fn(f64) -> f64) -> f64 {
    if q.is_nan() || q < 0.0 {
        return f64::NAN;
    }
    let scale = q.sqrt();
    if scale == 0.0 {
        return f(0.0);
    }
    let rule = gauss_legendre();
    let bend = (X_STRAIGHT / scale).min(Z_MAX);
    let bent_panel = (X_PANEL / scale).min(Z_PANEL);
    let mut sum = 0.0;
    for (from, to, width) in [(0.0, bend, bent_panel), (bend, Z_MAX, Z_PANEL)] {
        let panels = ((to - from) / width).ceil();
        let half = 0.5 * (to - from) / panels;
        for panel in 0..panels as usize {
            let middle = from + half * (2 * panel + 1) as f64;
            for (node, weight) in rule {
                let z = middle + half * node;
                let x = scale * z;
                sum += weight * half * (-0.5 * z * z).exp() * (f(x) + f(-x));
            }
        }
    }
    sum / (2.0 * PI).sqrt()
}

/// The nodes and weights on `-1..1`. The nodes are the roots of the Legendre polynomial, by
/// Newton's method.
fn gauss_legendre() -> &'static [(f64, f64); POINTS] {
    static RULE: OnceLock<[(f64, f64); POINTS]> = OnceLock::new();
    RULE.get_or_init(|| {
        std::array::from_fn(|i| {
            // Abramowitz and Stegun 22.16.6: close enough for a few steps.
            let mut x = (PI * (i as f64 + 0.75) / (POINTS as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..10 {
                let (value, derivative) = legendre(x);
                slope = derivative;
                x -= value / derivative;
            }
            (x, 2.0 / ((1.0 - x * x) * slope * slope))
        })
    })
}

/// The Legendre polynomial of degree [`POINTS`] and its derivative, by the three-term recurrence.
fn legendre(x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for n in 2..=POINTS {
        let n = n as f64;
        (before, value) = (
            value,
            ((2.0 * n - 1.0) * x * value - (n - 1.0) * before) / n,
        );
    }
    let n = POINTS as f64;
    (value, n * (before - x * value) / (1.0 - x * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 9] = [1e-12, 1e-3, 0.1, 1.0, 3.7, 20.0, 1e3, 1e6, 1e12];

    /// `(E[phi^2], E[phi'^2])`.
    fn moments(activation: Activation, q: f64) -> (f64, f64) {
        (second_moment(activation, q), squared_slope(activation, q))
    }

    fn cdf(x: f64) -> f64 {
        0.5 * libm::erfc(-x / 2f64.sqrt())
    }

    /// `e^(x^2/2) Phi(-x)` for `x >= 0`, by its continued fraction where the product would be
    /// `infinity * 0` (Abramowitz and Stegun 26.2.14).
    fn scaled_tail(x: f64) -> f64 {
        if x < 5.0 {
            return (0.5 * x * x).exp() * cdf(-x);
        }
        let fraction = (1..200).rev().fold(x, |below, k| x + f64::from(k) / below);
        1.0 / (fraction * (2.0 * PI).sqrt())
    }

    #[test]
    fn the_rule_is_exact_for_polynomials_and_its_weights_add_up() {
        for power in 0..2 * POINTS as i32 {
            let sum: f64 = gauss_legendre()
                .iter()
                .map(|(x, w)| w * x.powi(power))
                .sum();
            let exact = if power % 2 == 0 {
                2.0 / f64::from(power + 1)
            } else {
                0.0
            };
            assert!((sum - exact).abs() < 1e-14, "{power}: {sum}");
        }
    }

    /// These are integrated like the others, without the shortcut for homogeneous activations.
    #[test]
    fn kinks_of_straight_lines_cost_no_digits() {
        for q in SIZES {
            for (activation, share) in [
                (Activation::Relu, 0.5),
                (Activation::LeakyRelu, 0.5 * (1.0 + 1e-4)),
                (Activation::Linear, 1.0),
            ] {
                let second = gaussian_mean(q, |x| activation.value(x).powi(2));
                assert!(
                    (second / (share * q) - 1.0).abs() < 1e-13,
                    "{activation:?} {q}"
                );
                let slope = gaussian_mean(q, |x| activation.slope(x).powi(2));
                assert!((slope / share - 1.0).abs() < 1e-13, "{activation:?} {q}");
                assert!((second_moment(activation, q) / (share * q) - 1.0).abs() < 1e-15);
                assert!((squared_slope(activation, q) - share).abs() < 1e-15);
            }
        }
    }

    /// Klambauer et al. (2017), appendix A: Gaussian integrals of exponentials.
    #[test]
    fn selu_has_a_closed_form() {
        let right = Activation::Selu.slope(1.0).powi(2);
        let left = Activation::Selu.slope(0.0).powi(2);
        for q in SIZES {
            let s = f64::sqrt(q);
            let (one, two) = (scaled_tail(s), scaled_tail(2.0 * s));
            let (second, slope) = moments(Activation::Selu, q);
            // For a small q the terms cancel; it is the closed form that loses digits.
            let exact = right * q / 2.0 + left * (two - 2.0 * one + 0.5);
            assert!(
                (second - exact).abs() < 1e-14 * (1.0 + q),
                "{q}: {second} {exact}"
            );
            let exact = 0.5 * right + left * two;
            assert!((slope - exact).abs() < 1e-13, "{q}: {slope} {exact}");
        }
    }

    /// Stein's lemma and the orthant probability of two normal variables of correlation
    /// `q / (1 + q)`, whose arcsine is written as an arctangent to keep its digits.
    #[test]
    fn gelu_has_a_closed_form() {
        for q in SIZES {
            let orthant = 0.25 + (q / (1.0 + 2.0 * q).sqrt()).atan() / (2.0 * PI);
            let density = 1.0 / (2.0 * PI * (1.0 + 2.0 * q).sqrt());
            let (second, slope) = moments(Activation::Gelu, q);
            let exact = q * orthant + 2.0 * q * q / (1.0 + q) * density;
            assert!(
                (second / exact - 1.0).abs() < 1e-13,
                "{q}: {second} {exact}"
            );
            let exact = orthant + density * (2.0 * q / (1.0 + q) + q / (1.0 + 2.0 * q));
            assert!((slope - exact).abs() < 1e-13, "{q}: {slope} {exact}");
        }
    }

    /// Simpson's rule with 200,000 intervals a side.
    fn dense(q: f64, f: impl Fn(f64) -> f64) -> f64 {
        let intervals = 200_000;
        let width = 12.0 / f64::from(intervals);
        let mut sum = 0.0;
        for i in 0..=intervals {
            let weight = match i {
                0 => 1.0,
                _ if i == intervals => 1.0,
                _ if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            let z = width * f64::from(i);
            // Just off zero, so that each side keeps its own limit at a kink.
            let x = (q.sqrt() * z).max(f64::MIN_POSITIVE);
            sum += weight * (-0.5 * z * z).exp() * (f(x) + f(-x));
        }
        sum * width / 3.0 / (2.0 * PI).sqrt()
    }

    #[test]
    fn all_agree_with_brute_force() {
        for activation in Activation::ALL {
            for q in [1e-4, 0.5, 4.0, 900.0] {
                let (second, slope) = moments(activation, q);
                let exact = dense(q, |x| activation.value(x).powi(2));
                assert!((second - exact).abs() < 1e-10 * exact, "{activation:?} {q}");
                let exact = dense(q, |x| activation.slope(x).powi(2));
                assert!((slope - exact).abs() < 1e-10 * exact, "{activation:?} {q}");
            }
        }
    }

    #[test]
    fn the_slope_of_the_second_moment_is_its_derivative() {
        for activation in Activation::ALL {
            for q in [0.01, 1.0, 50.0] {
                let h = 1e-5 * q;
                let rise = second_moment(activation, q + h) - second_moment(activation, q - h);
                let slope = second_moment_slope(activation, q);
                assert!(
                    (rise / (2.0 * h) - slope).abs() < 1e-8,
                    "{activation:?} {q}"
                );
            }
        }
    }

    #[test]
    fn zero_infinite_and_impossible_sizes_meet_their_limits() {
        for activation in Activation::ALL {
            for q in [f64::NAN, -1.0, f64::NEG_INFINITY] {
                assert!(second_moment(activation, q).is_nan(), "{activation:?} {q}");
                assert!(squared_slope(activation, q).is_nan(), "{activation:?} {q}");
                assert!(
                    second_moment_slope(activation, q).is_nan(),
                    "{activation:?} {q}"
                );
            }
            assert_eq!(
                second_moment(activation, 0.0),
                activation.value(0.0).powi(2)
            );
            // Continuous at both ends.
            for (end, near) in [(0.0, 1e-24), (f64::INFINITY, 9e33), (1.1e34, 9e33)] {
                let jump = squared_slope(activation, end) - squared_slope(activation, near);
                assert!(jump.abs() < 1e-11, "{activation:?} {end}: {jump}");
            }
            let (below, above) = (
                second_moment(activation, 9e33),
                second_moment(activation, 1.1e34),
            );
            let bounded = activation.squared_slope_at_infinity() == 0.0;
            let ratio = if bounded { 1.0 } else { 11.0 / 9.0 };
            assert!(
                (above / below / ratio - 1.0).abs() < 1e-11,
                "{activation:?}"
            );
            assert_eq!(
                second_moment(activation, f64::INFINITY).is_finite(),
                bounded
            );
        }
    }
}
