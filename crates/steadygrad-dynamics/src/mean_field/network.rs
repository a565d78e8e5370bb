use serde::{Deserialize, Serialize};

use super::quadrature::{second_moment, second_moment_slope, squared_slope};
use super::{Activation, MeanFieldError};
use crate::float;

/// The largest weight or bias scale. Its square stays finite, and so does the product of two.
const MAX_SIGMA: f64 = 1e75;

/// A wide random network: layers `h_l = W_l phi(h_(l-1)) + b_l`, whose weights have the variance
/// `sigma_w^2 / fan_in` and whose biases have the variance `sigma_b^2`, all independent.
///
/// As the width grows each `h_l` becomes Gaussian with a variance `q_l` that follows the
/// [length map](MeanField::length_map) (Poole et al., 2016), and the squared gradient norm is
/// multiplied by [`chi_1`](MeanField::chi_1) per layer (Schoenholz et al., 2017). At a finite width
/// `n` single networks scatter, and their log norm is lower by about `1 / n` per layer.
///
/// A recurrent network `h_t = W phi(h_(t-1)) + b` has the same `q` and `chi_1` through time, as
/// long as its states look independent of its weights. They do when the network is chaotic.
///
/// ```
/// use steadygrad_dynamics::{Activation, MeanField};
///
/// // Twice He's scale: each layer doubles the gradient norm.
/// let relu = MeanField::new(Activation::Relu, 2.0 * 2f64.sqrt(), 0.0)?;
/// assert!((relu.gradient_slope() - 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), steadygrad_dynamics::MeanFieldError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Plain")]
pub struct MeanField {
    pub(super) activation: Activation,
    pub(super) sigma_w: f64,
    pub(super) sigma_b: f64,
}

/// A [`MeanField`] as it is read, before the check.
#[derive(Deserialize)]
struct Plain {
    activation: Activation,
    sigma_w: f64,
    sigma_b: f64,
}

impl TryFrom<Plain> for MeanField {
    type Error = MeanFieldError;

    fn try_from(plain: Plain) -> Result<Self, MeanFieldError> {
        MeanField::new(plain.activation, plain.sigma_w, plain.sigma_b)
    }
}

/// The number of layers over which a deviation, or a gradient, changes by a factor of e. Infinite
/// at criticality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DepthScales {
    /// `xi_q = -1 / ln F'(q*)`: how fast `q` approaches `q*` (Schoenholz et al., 2017, equation
    /// 7). `None` when the signal diverges.
    #[serde(with = "float::option")]
    pub length: Option<f64>,
    /// `xi_c = -1 / ln chi_1`: how fast the correlation of two inputs approaches 1 (equation 9).
    /// `None` in the chaotic phase, `chi_1 > 1`, where it approaches another value.
    #[serde(with = "float::option")]
    pub correlation: Option<f64>,
    /// `xi_grad = 1 / |ln chi_1|`: the layers after which the *squared* gradient norm is e times
    /// smaller, or e times larger when `chi_1 > 1` (section 4.1). 0 when `chi_1 = 0`.
    #[serde(with = "float")]
    pub gradient: f64,
}

impl MeanField {
    /// Takes the activation and the scales of a network: `sigma_w = std * sqrt(fan_in)`, and
    /// `sigma_b`, the standard deviation of the biases.
    ///
    /// # Errors
    /// [`MeanFieldError`] for a scale that is negative, NaN or above 1e75. 0 is allowed.
    pub fn new(activation: Activation, sigma_w: f64, sigma_b: f64) -> Result<Self, MeanFieldError> {
        let allowed = 0.0..=MAX_SIGMA;
        if !allowed.contains(&sigma_w) {
            return Err(MeanFieldError::SigmaW(sigma_w));
        }
        if !allowed.contains(&sigma_b) {
            return Err(MeanFieldError::SigmaB(sigma_b));
        }
        Ok(Self {
            activation,
            sigma_w,
            sigma_b,
        })
    }

    /// The activation function.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The weight scale.
    pub fn sigma_w(&self) -> f64 {
        self.sigma_w
    }

    /// The bias scale.
    pub fn sigma_b(&self) -> f64 {
        self.sigma_b
    }

    /// Computes the variance after one more layer: `F(q) = sigma_w^2 E[phi(sqrt(q) z)^2] +
    /// sigma_b^2` (Poole et al., 2016, equation 3). An infinite `q` stays infinite unless the
    /// activation is bounded. A negative `q` or NaN gives NaN.
    pub fn length_map(&self, q: f64) -> f64 {
        let moment = second_moment(self.activation, q);
        // Without weights the signal does not pass, even when it is infinite.
        if self.sigma_w == 0.0 && !moment.is_nan() {
            return self.sigma_b * self.sigma_b;
        }
        self.sigma_w * self.sigma_w * moment + self.sigma_b * self.sigma_b
    }

    /// Computes `F'(q)`: below 1 at a fixed point that attracts, above 1 at one that repels.
    pub fn length_map_slope(&self, q: f64) -> f64 {
        self.sigma_w * self.sigma_w * second_moment_slope(self.activation, q)
    }

    /// Computes the factor by which a layer multiplies the squared gradient norm, on its way back
    /// through pre-activations of variance `q`: `sigma_w^2 E[phi'(sqrt(q) z)^2]` (Schoenholz et
    /// al., 2017, equation 5). 0 and infinity give the limits. A negative `q` or NaN gives NaN.
    pub fn chi_1(&self, q: f64) -> f64 {
        self.sigma_w * self.sigma_w * squared_slope(self.activation, q)
    }

    /// `chi_1` at the fixed point of a signal of unit variance.
    pub fn chi_1_at_fixed_point(&self) -> f64 {
        self.chi_1(self.fixed_point().length())
    }

    /// `ln(chi_1) / 2` at the fixed point: log growth of the gradient norm per layer, in a network
    /// deep enough for a signal of unit variance to settle. Minus infinity when `chi_1 = 0`.
    pub fn gradient_slope(&self) -> f64 {
        0.5 * self.chi_1_at_fixed_point().ln()
    }

    /// The depth scales at the fixed point of a signal of unit variance.
    pub fn depth_scales(&self) -> DepthScales {
        let q = self.fixed_point().length();
        let chi_1 = self.chi_1(q);
        let scale = |factor: f64| -factor.ln().recip();
        DepthScales {
            // Rounding can put the slope of a marginal fixed point beyond 1.
            length: q
                .is_finite()
                .then(|| scale(self.length_map_slope(q).min(1.0)).abs()),
            correlation: (chi_1 <= 1.0).then(|| scale(chi_1).abs()),
            gradient: scale(chi_1).abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FixedPoint;

    fn network(activation: Activation, sigma_w: f64, sigma_b: f64) -> MeanField {
        MeanField::new(activation, sigma_w, sigma_b).unwrap()
    }

    #[test]
    fn impossible_scales_and_signals_are_named() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e80] {
            let error = MeanField::new(Activation::Tanh, bad, 0.0)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("sigma_w") && error.contains("from 0 to 1e75"),
                "{error}"
            );
            assert!(error.contains(&format!("is {bad};")), "{error}");
            let error = MeanField::new(Activation::Tanh, 1.0, bad)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("sigma_b") && error.contains(&format!("is {bad};")),
                "{error}"
            );
        }
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            let error = network(Activation::Tanh, 1.0, 0.0).fixed_point_from(bad);
            assert!(error.unwrap_err().to_string().contains("zero or more"));
        }
    }

    #[test]
    fn json_is_checked_like_any_other_input() {
        let one = network(Activation::LeakyRelu, 1.5, 0.1);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<MeanField>(&json).unwrap(), one);
        let bad = json.replace("1.5", "-1.5");
        let error = serde_json::from_str::<MeanField>(&bad).unwrap_err();
        assert!(error.to_string().contains("`sigma_w` is -1.5"), "{error}");
    }

    /// Klambauer et al. (2017): unit variance keeps itself under unit weights.
    #[test]
    fn selu_keeps_unit_variance() {
        let selu = network(Activation::Selu, 1.0, 0.0);
        for q_0 in [1e-6, 0.3, 1.0, 40.0] {
            let q = selu.fixed_point_from(q_0).unwrap().length();
            assert!((q - 1.0).abs() < 1e-12, "{q}");
        }
        // E[selu'^2] = lambda^2 / 2 (1 + 2 alpha^2 e^2 Phi(-2)): gradients grow.
        assert!((selu.chi_1_at_fixed_point() - 1.071_6).abs() < 1e-4);
        assert!(selu.length_map_slope(1.0) < 1.0);
    }

    /// The solutions of `sigma^2 = g^2 E tanh^2(sigma z)` for random recurrent networks, from
    /// SciPy: half the log of `chi_1` is the Lyapunov exponent.
    #[test]
    fn tanh_through_time() {
        for (gain, exponent) in [
            (1.5, 0.0652),
            (2.0, 0.1547),
            (3.0, 0.3103),
            (5.0, 0.5324),
            (10.0, 0.8564),
            (20.0, 1.1924),
        ] {
            let slope = network(Activation::Tanh, gain, 0.0).gradient_slope();
            assert!((slope - exponent).abs() < 6e-5, "{gain}: {slope}");
        }
        let damped = network(Activation::Tanh, 0.7, 0.0);
        assert_eq!(damped.fixed_point(), FixedPoint::Zero);
        assert!((damped.gradient_slope() - 0.7f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn depth_scales_are_how_fast_a_signal_settles() {
        let network = network(Activation::Tanh, 1.4, 0.3);
        let end = network.fixed_point().length();
        let (near, steps) = (end * 1.001, 5);
        let mut q = near;
        (0..steps).for_each(|_| q = network.length_map(q));
        let measured = -f64::from(steps) / ((q - end) / (near - end)).ln();
        let scales = network.depth_scales();
        assert!(
            (measured / scales.length.unwrap() - 1.0).abs() < 2e-3,
            "{measured}"
        );
        assert!(scales.correlation.is_none() && network.chi_1(end) > 1.0);
        assert!((scales.gradient * network.chi_1(end).ln() - 1.0).abs() < 1e-12);

        let ordered = self::network(Activation::Tanh, 0.5, 0.0).depth_scales();
        assert!((ordered.correlation.unwrap() - 1.0 / 4f64.ln()).abs() < 1e-12);
        let critical = self::network(Activation::Tanh, 1.0, 0.0).depth_scales();
        assert_eq!(critical.gradient, f64::INFINITY);
        assert_eq!(critical.length, Some(f64::INFINITY));
        let diverging = self::network(Activation::Relu, 2.0, 0.0).depth_scales();
        assert_eq!(diverging.length, None);
    }

    #[test]
    fn without_weights_nothing_passes() {
        for activation in Activation::ALL {
            let cut = network(activation, 0.0, 0.0);
            assert_eq!(cut.fixed_point(), FixedPoint::Zero, "{activation:?}");
            assert_eq!(cut.chi_1_at_fixed_point(), 0.0);
            assert_eq!(cut.gradient_slope(), f64::NEG_INFINITY);
            assert_eq!(cut.depth_scales().gradient, 0.0);
            let biased = network(activation, 0.0, 2.0);
            assert_eq!(
                biased.fixed_point(),
                FixedPoint::Finite(4.0),
                "{activation:?}"
            );
            assert_eq!(biased.length_map(f64::INFINITY), 4.0);
            assert!(biased.length_map(f64::NAN).is_nan() && biased.chi_1(-1.0).is_nan());
        }
    }
}
