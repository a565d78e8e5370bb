use std::f64::consts::{FRAC_1_SQRT_2, PI};

use serde::{Deserialize, Serialize};

/// The slope of [`Activation::LeakyRelu`] left of zero, which is PyTorch's default.
pub const LEAKY_RELU_SLOPE: f64 = 0.01;

// Klambauer et al. (2017), equation 14, with PyTorch's digits.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// An activation function of a repeated layer.
///
/// The list is closed: an adapter must implement each, so that theory and network agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `x` right of zero, [`LEAKY_RELU_SLOPE`] times `x` left of it.
    LeakyRelu,
    /// `x Phi(x)` with the normal distribution function `Phi`: the exact form, not the tanh one.
    Gelu,
    /// `x / (1 + e^-x)`, also called swish.
    Silu,
    /// `lambda x` right of zero, `lambda alpha (e^x - 1)` left of it.
    Selu,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// The identity: a deep linear network.
    Linear,
}

impl Activation {
    /// All activations.
    pub const ALL: [Activation; 8] = [
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Gelu,
        Activation::Silu,
        Activation::Selu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Linear,
    ];

    /// Their names, in the order of [`Activation::ALL`].
    pub const NAMES: [&'static str; 8] = [
        "relu",
        "leaky_relu",
        "gelu",
        "silu",
        "selu",
        "sigmoid",
        "tanh",
        "linear",
    ];

    /// The name, as a study file and JSON write it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Finds the activation of this name. `None` for any other word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Computes `phi(x)`. NaN gives NaN. An infinite `x` gives the limit, which is finite on the
    /// flat side.
    pub fn value(self, x: f64) -> f64 {
        match self {
            // Not `f64::max`, which turns NaN into 0.
            Activation::Relu if x <= 0.0 => 0.0,
            Activation::LeakyRelu if x <= 0.0 => LEAKY_RELU_SLOPE * x,
            Activation::Relu | Activation::LeakyRelu | Activation::Linear => x,
            // The limit; the product below would be NaN.
            Activation::Gelu | Activation::Silu if x == f64::NEG_INFINITY => 0.0,
            Activation::Gelu => x * normal_cdf(x),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Selu if x <= 0.0 => SELU_SCALE * SELU_ALPHA * x.exp_m1(),
            Activation::Selu => SELU_SCALE * x,
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }

    /// Computes `phi'(x)`. A kink has the slope of its left side, as in PyTorch. NaN gives NaN. An
    /// infinite `x` gives the limit.
    pub fn slope(self, x: f64) -> f64 {
        match self {
            _ if x.is_nan() => f64::NAN,
            Activation::Relu => f64::from(u8::from(x > 0.0)),
            Activation::LeakyRelu if x <= 0.0 => LEAKY_RELU_SLOPE,
            Activation::LeakyRelu | Activation::Linear => 1.0,
            // The formulas below would compute `0 * infinity`.
            Activation::Gelu | Activation::Silu if x.is_infinite() => f64::from(u8::from(x > 0.0)),
            Activation::Gelu => normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
            Activation::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
            Activation::Selu if x <= 0.0 => SELU_SCALE * SELU_ALPHA * x.exp(),
            Activation::Selu => SELU_SCALE,
            Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
            // `1 - tanh^2` would cancel above x = 10.
            Activation::Tanh => x.cosh().recip().powi(2),
        }
    }

    /// Whether the values have bounds on both sides, so that no signal grows beyond them.
    pub fn is_bounded(self) -> bool {
        matches!(self, Activation::Sigmoid | Activation::Tanh)
    }

    /// The slopes left and right at zero (`at_zero`), or towards the two infinities.
    fn outer_slopes(self, at_zero: bool) -> (f64, f64) {
        if at_zero {
            // The smallest number right of zero is beyond a kink, and otherwise as good as zero.
            (self.slope(0.0), self.slope(f64::MIN_POSITIVE))
        } else {
            (self.slope(f64::NEG_INFINITY), self.slope(f64::INFINITY))
        }
    }

    /// `E[phi'(sqrt(q) z)^2]` as `q -> 0`. Half of the squared signal lies on either side.
    pub(super) fn squared_slope_at_zero(self) -> f64 {
        let (left, right) = self.outer_slopes(true);
        0.5 * (left * left + right * right)
    }

    /// `E[phi'(sqrt(q) z)^2]` as `q` grows without bound.
    pub(super) fn squared_slope_at_infinity(self) -> f64 {
        let (left, right) = self.outer_slopes(false);
        0.5 * (left * left + right * right)
    }

    /// Whether `phi(c x) = c phi(x)` for every `c > 0`. Then no signal size is special.
    pub(super) fn is_homogeneous(self) -> bool {
        matches!(
            self,
            Activation::Relu | Activation::LeakyRelu | Activation::Linear
        )
    }
}

/// The normal distribution function. `erfc` keeps the relative precision of the far left tail,
/// which `1 + erf` loses.
fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        (1.0 + (-x).exp()).recip()
    } else {
        let power = x.exp();
        power / (1.0 + power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_ones_and_read_back() {
        for activation in Activation::ALL {
            let json = serde_json::to_string(&activation).unwrap();
            assert_eq!(json, format!("\"{}\"", activation.name()));
            assert_eq!(Activation::from_name(activation.name()), Some(activation));
        }
        assert_eq!(Activation::from_name("swish"), None);
        assert_eq!(Activation::from_name(""), None);
    }

    /// Python's `math` module gives these for the textbook formulas, to 12 digits.
    #[test]
    fn values_and_slopes_of_textbooks() {
        for (activation, x, value, slope) in [
            (Activation::Relu, -2.0, 0.0, 0.0),
            (Activation::Relu, 2.0, 2.0, 1.0),
            (Activation::LeakyRelu, -2.0, -0.02, 0.01),
            (
                Activation::Gelu,
                1.0,
                0.841_344_746_068_543,
                1.083_315_470_587_69,
            ),
            (
                Activation::Silu,
                1.0,
                0.731_058_578_630_005,
                0.927_670_511_871_487,
            ),
            (
                Activation::Selu,
                -1.0,
                -1.111330737812563,
                0.646768603034814,
            ),
            (
                Activation::Sigmoid,
                -1.0,
                0.268_941_421_369_995,
                0.196_611_933_241_482,
            ),
            (
                Activation::Tanh,
                0.5,
                0.462_117_157_260_01,
                0.786_447_732_965_927,
            ),
            (Activation::Linear, -3.0, -3.0, 1.0),
        ] {
            assert!(
                (activation.value(x) - value).abs() < 1e-12,
                "{activation:?}"
            );
            assert!(
                (activation.slope(x) - slope).abs() < 1e-12,
                "{activation:?}"
            );
        }
    }

    #[test]
    fn the_slope_is_the_derivative() {
        let h = 1e-5;
        for activation in Activation::ALL {
            for x in [-30.0, -7.3, -1.0, -0.1, 0.1, 0.7, 2.0, 9.0, 40.0] {
                let difference = (activation.value(x + h) - activation.value(x - h)) / (2.0 * h);
                let slope = activation.slope(x);
                assert!((difference - slope).abs() < 1e-8, "{activation:?} at {x}");
            }
        }
    }

    #[test]
    fn far_tails_neither_cancel_nor_overflow() {
        // 4 e^-2x and e^x are the leading terms.
        let relative = |value: f64, expected: f64| (value / expected - 1.0).abs();
        assert!(relative(Activation::Tanh.slope(100.0), 4.0 * (-200f64).exp()) < 1e-13);
        assert!(relative(Activation::Sigmoid.slope(-300.0), (-300f64).exp()) < 1e-13);
        assert!(relative(Activation::Silu.value(-300.0), -300.0 * (-300f64).exp()) < 1e-13);
        // Mills' ratio: x Phi(x) is -e^(-x^2/2) / sqrt(2 pi) (1 - 1/x^2 + 3/x^4 - 15/x^6 ..).
        let mills = -(-450f64).exp() / (2.0 * PI).sqrt() * (1.0 - 1.0 / 900.0 + 3.0 / 810_000.0);
        assert!(relative(Activation::Gelu.value(-30.0), mills) < 1e-7);
        for activation in Activation::ALL {
            for x in [-1e300, -800.0, 800.0, 1e300] {
                assert!(activation.value(x).is_finite(), "{activation:?} at {x}");
                assert!(activation.slope(x).is_finite(), "{activation:?} at {x}");
            }
        }
    }

    #[test]
    fn zero_infinity_and_nan() {
        for activation in Activation::ALL {
            assert!(activation.value(f64::NAN).is_nan(), "{activation:?}");
            assert!(activation.slope(f64::NAN).is_nan(), "{activation:?}");
            for (x, near) in [(f64::INFINITY, 1e3), (f64::NEG_INFINITY, -1e3)] {
                let slope = activation.slope(x);
                assert!((slope - activation.slope(near)).abs() < 1e-12);
                let value = activation.value(x);
                assert!(!value.is_nan(), "{activation:?} at {x}");
                assert_eq!(value.is_infinite(), slope != 0.0, "{activation:?} at {x}");
            }
            let at_zero = activation.value(0.0);
            assert_eq!(
                at_zero,
                if activation == Activation::Sigmoid {
                    0.5
                } else {
                    0.0
                }
            );
        }
        assert_eq!(Activation::Relu.slope(0.0), 0.0);
        assert_eq!(Activation::LeakyRelu.slope(0.0), LEAKY_RELU_SLOPE);
        assert_eq!(Activation::Selu.slope(0.0), SELU_SCALE * SELU_ALPHA);
    }
}
