use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::fixed_point::bisect;
use super::quadrature::{second_moment, squared_slope};
use super::{Activation, FixedPoint, MeanField, MeanFieldError};
use crate::float;

/// The variance of the signal that [`critical_sigma_w`] follows: normalised data.
const UNIT: f64 = 1.0;

/// The step of `ln(q - sigma_b^2)` between two candidates for a fixed point. The curves bend over
/// factors of two and more.
const STEP: f64 = 0.1;

/// How far the search goes below and above the larger of 1 and `sigma_b^2`, as a factor of
/// `q - sigma_b^2`.
const REACH: f64 = 1e14;

/// The rounding of a computed variance. Closer values count as equal.
const ROUNDING: f64 = 1e-12;

/// The relative distance from a jump at which its two sides are evaluated. Near a fold `q` moves as
/// the square root of this, so `below` and `above` have five good digits.
const ASIDE: f64 = 1e-10;

/// The weight scale at which gradients turn from vanishing to exploding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticalPoint {
    /// `chi_1` passes through 1.
    Continuous {
        /// The scale at which `chi_1` is 1.
        #[serde(with = "float")]
        sigma_w: f64,
        /// The signal's fixed point at that scale. It is `Diverges` where biases add to the signal
        /// layer after layer and `chi_1` is 1 in the limit.
        fixed_point: FixedPoint,
    },
    /// `chi_1` jumps over 1 and equals it nowhere: the signal's fixed point vanishes, and the
    /// signal goes to another one or explodes.
    Jump {
        /// The scale of the jump, for a signal of unit variance.
        #[serde(with = "float")]
        sigma_w: f64,
        /// `chi_1` just below.
        #[serde(with = "float")]
        below: f64,
        /// `chi_1` just above.
        #[serde(with = "float")]
        above: f64,
    },
}

impl CriticalPoint {
    /// The weight scale. Below it gradients vanish, above it they explode.
    pub fn sigma_w(self) -> f64 {
        match self {
            CriticalPoint::Continuous { sigma_w, .. } | CriticalPoint::Jump { sigma_w, .. } => {
                sigma_w
            }
        }
    }
}

impl Activation {
    /// The gain `sigma_w = std * sqrt(fan_in)` at which a wide random network without biases
    /// neither amplifies nor damps gradients: `chi_1 = 1`, for an input of unit size.
    ///
    /// ReLU has `sqrt 2` (He et al., 2015), tanh 1 (Poole et al., 2016), SELU 0.69 and sigmoid
    /// 10.15. `None` for GELU and SiLU, whose `chi_1` jumps over 1 between a signal that dies and
    /// one that explodes: see [`Activation::critical_point`].
    pub fn critical_gain(self) -> Option<f64> {
        match self.critical_point() {
            CriticalPoint::Continuous { sigma_w, .. } => Some(sigma_w),
            CriticalPoint::Jump { .. } => None,
        }
    }

    /// [`critical_sigma_w`] without biases, computed once.
    pub fn critical_point(self) -> CriticalPoint {
        static POINTS: [OnceLock<CriticalPoint>; 8] = [const { OnceLock::new() }; 8];
        *POINTS[self as usize]
            .get_or_init(|| critical_sigma_w(self, 0.0).expect("0 is a possible scale of biases"))
    }
}

/// Finds the smallest `sigma_w` above which `chi_1(q*)` is not below 1. `q*` is the fixed point of
/// a signal of unit variance.
///
/// For each `q` there is one `sigma_w` that makes it a fixed point: `sigma_w^2 = (q - sigma_b^2) /
/// E[phi(sqrt(q) z)^2]`. So the fixed points are a curve over `q`, and `chi_1 = 1` is a root in one
/// variable on the parts of it that the signal reaches.
///
/// Source: the edge of chaos (Poole et al., 2016; Hayou et al., 2019).
///
/// Performance: about 650 averages over a Gaussian signal, a few milliseconds.
///
/// ```
/// use steadygrad_dynamics::{Activation, critical_sigma_w};
///
/// let tanh = critical_sigma_w(Activation::Tanh, 0.0)?;
/// assert!((tanh.sigma_w() - 1.0).abs() < 1e-12);
/// # Ok::<(), steadygrad_dynamics::MeanFieldError>(())
/// ```
///
/// # Errors
/// [`MeanFieldError`] for a negative, NaN or infinite `sigma_b`.
pub fn critical_sigma_w(
    activation: Activation,
    sigma_b: f64,
) -> Result<CriticalPoint, MeanFieldError> {
    MeanField::new(activation, 0.0, sigma_b)?;
    if activation.is_homogeneous() {
        let sigma_w = activation.squared_slope_at_zero().recip().sqrt();
        let fixed_point = MeanField::new(activation, sigma_w, sigma_b)?.fixed_point();
        return Ok(CriticalPoint::Continuous {
            sigma_w,
            fixed_point,
        });
    }
    Ok(Curve::new(activation, sigma_b * sigma_b).critical())
}

/// The fixed points of all weight scales, as a curve over `t = ln(q - sigma_b^2)`.
struct Curve {
    activation: Activation,
    offset: f64,
    t_first: f64,
    nodes: Vec<Node>,
    /// The first node at or above the signal's variance.
    start: usize,
}

#[derive(Clone, Copy)]
struct Node {
    q: f64,
    /// The `sigma_w^2` that makes `q` a fixed point.
    scale: f64,
    chi_1: f64,
}

impl Curve {
    fn new(activation: Activation, offset: f64) -> Self {
        let size = offset.max(UNIT);
        // A node at the signal's own variance, unless the biases alone exceed it.
        let anchor = if offset < UNIT {
            (UNIT - offset).ln()
        } else {
            size.ln()
        };
        let below = ((anchor - (size / REACH).ln()) / STEP).ceil();
        let above = (((size * REACH).ln() - anchor) / STEP).ceil();
        let t_first = anchor - below * STEP;
        let mut curve = Self {
            activation,
            offset,
            t_first,
            nodes: Vec::new(),
            start: if offset < UNIT { below as usize } else { 0 },
        };
        let count = (below + above) as usize + 1;
        curve.nodes = (0..count).map(|i| curve.at(curve.t(i as f64))).collect();
        curve
    }

    fn t(&self, index: f64) -> f64 {
        self.t_first + index * STEP
    }

    fn at(&self, t: f64) -> Node {
        let excess = t.exp();
        let q = self.offset + excess;
        let scale = excess / second_moment(self.activation, q);
        let chi_1 = scale * squared_slope(self.activation, q);
        Node { q, scale, chi_1 }
    }

    /// The nodes where the signal ends for some weight scale, by growing scale.
    ///
    /// The signal falls past a candidate only if the scale is too small for it and for all
    /// candidates in between. So below the start it reaches those with the lowest scale so far, and
    /// above the start those with the highest.
    fn reached(&self) -> Vec<usize> {
        let mut reached = vec![self.start];
        let mut record = self.nodes[self.start].scale;
        for i in (0..self.start).rev() {
            if self.nodes[i].scale <= record * (1.0 + ROUNDING) {
                record = self.nodes[i].scale;
                reached.push(i);
            }
        }
        reached.reverse();
        record = self.nodes[self.start].scale;
        for i in self.start + 1..self.nodes.len() {
            if self.nodes[i].scale >= record * (1.0 - ROUNDING) {
                record = self.nodes[i].scale;
                reached.push(i);
            }
        }
        reached
    }

    fn critical(&self) -> CriticalPoint {
        let reached = self.reached();
        let (first, last) = (reached[0], reached[reached.len() - 1]);
        // Without an offset the signal dies at scales below those of the curve, and `chi_1` reaches
        // 1 where zero ceases to attract.
        if self.offset == 0.0 && self.activation.value(0.0) == 0.0 {
            if first == 0 {
                return CriticalPoint::Continuous {
                    sigma_w: self.activation.squared_slope_at_zero().recip().sqrt(),
                    fixed_point: FixedPoint::Zero,
                };
            }
            if let Some(jump) = self.jump(self.fold(first)) {
                return jump;
            }
        }
        for pair in reached.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if to == from + 1 {
                if self.nodes[from].chi_1 < 1.0 && self.nodes[to].chi_1 >= 1.0 {
                    return self.crossing(from);
                }
            } else {
                // Below the start the next part begins with a fold. Above it this part ends with
                // one.
                let fold = self.fold(if to <= self.start { to } else { from });
                if let Some(jump) = self.jump(fold) {
                    return jump;
                }
            }
        }
        // The last part ends where the signal diverges.
        (last + 1 < self.nodes.len())
            .then(|| self.jump(self.fold(last)))
            .flatten()
            .unwrap_or(CriticalPoint::Continuous {
                sigma_w: self.activation.squared_slope_at_infinity().recip().sqrt(),
                fixed_point: FixedPoint::Diverges,
            })
    }

    /// The root of `chi_1 = 1` between a node and the next.
    fn crossing(&self, index: usize) -> CriticalPoint {
        let (from, to) = (self.t(index as f64), self.t(index as f64 + 1.0));
        // `bisect` halves ratios, so it takes `e^t`.
        let below = |excess: f64| self.at(excess.ln()).chi_1 < 1.0;
        let node = self.at(bisect(from.exp(), to.exp(), below).ln());
        CriticalPoint::Continuous {
            sigma_w: node.scale.sqrt(),
            fixed_point: FixedPoint::Finite(node.q),
        }
    }

    /// The extreme scale near a node: a minimum at or below the start, a maximum above it.
    fn fold(&self, index: usize) -> f64 {
        let minimum = index <= self.start && index + 1 < self.nodes.len();
        let (lowest, highest) = if minimum {
            (0, self.start)
        } else {
            (self.start, self.nodes.len() - 1)
        };
        let mut low = index.saturating_sub(1).max(lowest) as f64;
        let mut high = (index + 1).min(highest) as f64;
        let sign = if minimum { 1.0 } else { -1.0 };
        let value = |i: f64| sign * self.at(self.t(i)).scale;
        // By thirds. An extremum is flat: 1e-8 in place is 1e-16 in value, and (2/3)^50 = 1.6e-9.
        for _ in 0..50 {
            let third = (high - low) / 3.0;
            if value(low + third) < value(high - third) {
                high -= third;
            } else {
                low += third;
            }
        }
        sign * value(low).min(value(high)).min(value(index as f64))
    }

    /// The jump of `chi_1` at the scale of a fold. `None` when it stays on one side of 1.
    fn jump(&self, scale: f64) -> Option<CriticalPoint> {
        let sigma_w = scale.sqrt();
        let beside = |factor: f64| {
            MeanField::new(self.activation, sigma_w * factor, self.offset.sqrt())
                .map_or(f64::NAN, |network| network.chi_1_at_fixed_point())
        };
        let (below, above) = (beside(1.0 - ASIDE), beside(1.0 + ASIDE));
        (below < 1.0 && above >= 1.0).then_some(CriticalPoint::Jump {
            sigma_w,
            below,
            above,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chi_1(activation: Activation, sigma_w: f64, sigma_b: f64) -> f64 {
        let network = MeanField::new(activation, sigma_w, sigma_b).unwrap();
        network.chi_1_at_fixed_point()
    }

    #[test]
    fn textbook_gains() {
        let selu = (Activation::Selu
            .slope(1.0)
            .hypot(Activation::Selu.slope(0.0)))
        .powi(2);
        for (activation, exact) in [
            (Activation::Tanh, 1.0),
            (Activation::Linear, 1.0),
            (Activation::Relu, 2f64.sqrt()),
            (Activation::LeakyRelu, (2.0 / (1.0 + 1e-4f64)).sqrt()),
            // For a vanishing signal SELU is a leaky ReLU.
            (Activation::Selu, (2.0 / selu).sqrt()),
        ] {
            let gain = activation.critical_gain().unwrap();
            assert!((gain - exact).abs() < 1e-12, "{activation:?}: {gain}");
        }
        assert_eq!(Activation::Gelu.critical_gain(), None);
        assert_eq!(Activation::Silu.critical_gain(), None);
    }

    /// At the scale that keeps unit variance, `1 / sqrt(E[phi(z)^2])`: 1.5335 for GELU, 1.6765
    /// for SiLU, a small change lets the signal die or explode.
    #[test]
    fn without_biases_gelu_and_silu_jump() {
        for (activation, at) in [(Activation::Gelu, 1.533_530), (Activation::Silu, 1.676_532)] {
            let CriticalPoint::Jump {
                sigma_w,
                below,
                above,
            } = critical_sigma_w(activation, 0.0).unwrap()
            else {
                panic!("{activation:?}")
            };
            assert!((sigma_w - at).abs() < 1e-6, "{activation:?}: {sigma_w}");
            // Dead: slope 1/2 everywhere. Exploded: a ReLU.
            assert!((below - sigma_w * sigma_w / 4.0).abs() < 1e-6);
            assert!((above - sigma_w * sigma_w / 2.0).abs() < 1e-6);
        }
    }

    /// Roberts, Yaida and Hanin (2022), section 5.3.4: with biases of variance 0.17292 and
    /// weights of variance 1.98305, GELU has a half-stable point where `chi_1 = F' = 1`.
    #[test]
    fn gelu_has_a_half_stable_point() {
        let point = critical_sigma_w(Activation::Gelu, 0.172_92f64.sqrt()).unwrap();
        assert!(
            (point.sigma_w().powi(2) - 1.983_05).abs() < 1e-4,
            "{point:?}"
        );
        let CriticalPoint::Jump { below, above, .. } = point else {
            panic!("{point:?}")
        };
        assert!(
            (below - 1.0).abs() < 0.01 && (above - 1.0).abs() < 0.01,
            "{point:?}"
        );
    }

    /// `chi_1` finds the fixed points in another way: by following one signal.
    #[test]
    fn chi_1_passes_1_there_and_not_before() {
        for activation in Activation::ALL {
            for sigma_b in [0.0, 1e-3, 0.3, 1.0, 3.0] {
                let point = critical_sigma_w(activation, sigma_b).unwrap();
                let sigma_w = point.sigma_w();
                for share in [0.2, 0.5, 0.8, 0.95, 1.0 - 1e-6] {
                    let before = chi_1(activation, share * sigma_w, sigma_b);
                    assert!(before < 1.0, "{activation:?} {sigma_b} {share}: {before}");
                }
                let after = chi_1(activation, (1.0 + 1e-6) * sigma_w, sigma_b);
                assert!(after > 1.0, "{activation:?} {sigma_b}: {after}");
                if let CriticalPoint::Continuous {
                    sigma_w,
                    fixed_point,
                } = point
                {
                    let network = MeanField::new(activation, sigma_w, sigma_b).unwrap();
                    let chi_1 = network.chi_1(fixed_point.length());
                    assert!(
                        (chi_1 - 1.0).abs() < 1e-9,
                        "{activation:?} {sigma_b}: {chi_1}"
                    );
                    if let FixedPoint::Finite(q) = fixed_point {
                        assert!((network.length_map(q) / q - 1.0).abs() < 1e-9);
                    }
                }
            }
        }
    }

    #[test]
    fn impossible_and_extreme_biases() {
        for activation in Activation::ALL {
            for bad in [-0.1, f64::NAN, f64::INFINITY] {
                let error = critical_sigma_w(activation, bad).unwrap_err();
                assert!(matches!(error, MeanFieldError::SigmaB(_)), "{error}");
            }
            for extreme in [1e-75, 1e-12, 1e6, 1e75] {
                let sigma_w = critical_sigma_w(activation, extreme).unwrap().sigma_w();
                assert!(sigma_w > 0.0, "{activation:?} {extreme}: {sigma_w}");
            }
        }
    }

    #[test]
    fn json_reads_back() {
        for sigma_b in [0.0, 1.0] {
            let point = critical_sigma_w(Activation::Gelu, sigma_b).unwrap();
            let json = serde_json::to_string(&point).unwrap();
            assert_eq!(serde_json::from_str::<CriticalPoint>(&json).unwrap(), point);
        }
    }
}
