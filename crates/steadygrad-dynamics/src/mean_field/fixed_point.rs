use serde::{Deserialize, Serialize};

use super::error::checked_variance;
use super::{MeanField, MeanFieldError};

/// Below this `q` no activation bends any more.
const Q_SMALL: f64 = 1e-10;

/// Above this `q` rounding hides the bend of every activation.
const Q_LARGE: f64 = 1e34;

/// The variance `q` of a signal after many layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixedPoint {
    /// The signal dies out: `q* = 0`.
    Zero,
    /// The signal settles at this positive variance.
    Finite(f64),
    /// Every variance keeps itself, so the signal stays at the input's variance, given here. This
    /// is a homogeneous activation at its critical scale without biases (He et al., 2015).
    Every(f64),
    /// The signal grows without bound.
    Diverges,
}

impl FixedPoint {
    /// The variance `q*`: 0, a positive number or infinity.
    pub fn length(self) -> f64 {
        match self {
            FixedPoint::Zero => 0.0,
            FixedPoint::Finite(q) | FixedPoint::Every(q) => q,
            FixedPoint::Diverges => f64::INFINITY,
        }
    }
}

impl MeanField {
    /// Follows a signal of unit variance to its end: [`MeanField::fixed_point_from`] 1.
    pub fn fixed_point(&self) -> FixedPoint {
        self.limit(1.0)
    }

    /// Follows a signal of variance `q_0` to its end. Some networks have two: GELU and SiLU between
    /// their two critical scales let a small signal die and a large one explode.
    ///
    /// A variance that keeps itself is its own fixed point, attracting or not.
    ///
    /// # Errors
    /// [`MeanFieldError::Length`] for a `q_0` that is negative or not finite.
    pub fn fixed_point_from(&self, q_0: f64) -> Result<FixedPoint, MeanFieldError> {
        Ok(self.limit(checked_variance(q_0)?))
    }

    /// Follows a signal in one direction.
    ///
    /// The length map grows with `q`, as each `phi^2` folded at zero does. So a signal moves one
    /// way only, to the nearest fixed point in the direction of its first step.
    fn limit(&self, q_0: f64) -> FixedPoint {
        let (w, b) = (self.sigma_w * self.sigma_w, self.sigma_b * self.sigma_b);
        // From the second layer on the variance is at least this.
        let least = self.length_map(0.0);
        let q_0 = q_0.max(least);
        if q_0 == 0.0 {
            return FixedPoint::Zero;
        }
        if self.activation.is_homogeneous() {
            return self.straight_limit(q_0, w * self.activation.squared_slope_at_zero(), b);
        }
        let up = match self.length_map(q_0) - q_0 {
            0.0 => return FixedPoint::Finite(q_0),
            step => step > 0.0,
        };
        // How far the signal moves at `q`, as a share of it, in its direction.
        let drive = |q: f64| (self.length_map(q) / q - 1.0) * if up { 1.0 } else { -1.0 };
        let dies = least == 0.0 && at_most_one(w * self.activation.squared_slope_at_zero());
        let explodes = !below_one(w * self.activation.squared_slope_at_infinity());
        let at = |q: f64| (q, drive(q));
        let (mut far, mut near) = (at(q_0), at(q_0));
        loop {
            // A step of the map never passes a fixed point. Where it creeps, a longer stride helps.
            // The map bends where the signal has the size of the activation's bend, about 1.
            let bends = near.0 > 1e-4 && near.0 < 1e4;
            let stride = if bends { 1.1 } else { 2.0 };
            let mapped = self.length_map(near.0);
            let next = at(if up {
                mapped.max(stride * near.0)
            } else {
                mapped.min(near.0 / stride)
            });
            if !up && (dies && next.0 < Q_SMALL || next.0 < f64::MIN_POSITIVE) {
                return FixedPoint::Zero;
            }
            if up && (explodes && next.0 > Q_LARGE || next.0 == f64::INFINITY) {
                return FixedPoint::Diverges;
            }
            if next.1 <= 0.0 {
                return FixedPoint::Finite(bisect(near.0, next.0, |q| drive(q) > 0.0));
            }
            // A bottleneck: two fixed points may lie between the tries.
            if near.1 < far.1.min(next.1) {
                let narrowest = lowest(far.0, next.0, drive);
                if drive(narrowest) <= 0.0 {
                    return FixedPoint::Finite(bisect(far.0, narrowest, |q| drive(q) > 0.0));
                }
            }
            (far, near) = (near, next);
        }
    }

    /// The end of a signal whose map is the straight line `factor * q + b`, as of a homogeneous
    /// activation.
    fn straight_limit(&self, q_0: f64, factor: f64, b: f64) -> FixedPoint {
        match (below_one(factor), at_most_one(factor)) {
            (true, _) if b == 0.0 => FixedPoint::Zero,
            (true, _) => FixedPoint::Finite(b / (1.0 - factor)),
            (false, true) if b == 0.0 => FixedPoint::Every(q_0),
            _ => FixedPoint::Diverges,
        }
    }
}

/// Whether the factor is 1 or less. `sqrt(2)^2 / 2` is not 1 in floating point, so four units in
/// the last place count as 1.
fn at_most_one(factor: f64) -> bool {
    factor <= 1.0 + 4.0 * f64::EPSILON
}

/// Whether the factor is less than 1 by more than four units in the last place.
fn below_one(factor: f64) -> bool {
    factor < 1.0 - 4.0 * f64::EPSILON
}

/// Finds the point between `from`, where `holds`, and `to`, where it does not, to the last bits.
/// Both are positive. It halves their ratio, which suits numbers of any size.
pub(super) fn bisect(mut from: f64, mut to: f64, holds: impl Fn(f64) -> bool) -> f64 {
    // 50 halvings bring a ratio of 1.1 down to one ulp, 62 a ratio of 1e300.
    for _ in 0..64 {
        let middle = if from > 0.0 {
            from.sqrt() * to.sqrt()
        } else {
            0.5 * to
        };
        if holds(middle) {
            from = middle;
        } else {
            to = middle;
        }
    }
    0.5 * (from + to)
}

/// Finds where `f` is lowest between two positive points, by thirds of their ratio.
fn lowest(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut from, mut to) = (from.ln(), to.ln());
    // An extremum is flat: 1e-8 in place is 1e-16 in value, and (2/3)^50 = 1.6e-9.
    for _ in 0..50 {
        let third = (to - from) / 3.0;
        if f((from + third).exp()) < f((to - third).exp()) {
            to -= third;
        } else {
            from += third;
        }
    }
    (0.5 * (from + to)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    fn network(activation: Activation, sigma_w: f64, sigma_b: f64) -> MeanField {
        MeanField::new(activation, sigma_w, sigma_b).unwrap()
    }

    #[test]
    fn homogeneous_activations_have_a_straight_map() {
        let relu = |sigma_w: f64, sigma_b: f64| network(Activation::Relu, sigma_w, sigma_b);
        assert_eq!(relu(1.0, 0.0).fixed_point(), FixedPoint::Zero);
        assert_eq!(relu(1.0, 0.5).fixed_point(), FixedPoint::Finite(0.5));
        assert_eq!(relu(2.0, 0.0).fixed_point(), FixedPoint::Diverges);
        let critical = relu(2f64.sqrt(), 0.0);
        assert_eq!(
            critical.fixed_point_from(7.0).unwrap(),
            FixedPoint::Every(7.0)
        );
        assert_eq!(critical.fixed_point_from(0.0).unwrap(), FixedPoint::Zero);
        assert_eq!(relu(2f64.sqrt(), 0.1).fixed_point(), FixedPoint::Diverges);
        assert!((relu(2.0, 0.0).gradient_slope() - 0.5 * 2f64.ln()).abs() < 1e-15);
    }

    /// Every answer agrees with iterating the map.
    #[test]
    fn a_fixed_point_is_the_end_of_iterating_the_map() {
        for activation in Activation::ALL {
            for sigma_w in [0.5, 1.1, 1.5, 1.6, 3.0] {
                for (sigma_b, q_0) in [(0.0, 1.0), (0.3, 0.0), (0.1, 50.0)] {
                    let network = network(activation, sigma_w, sigma_b);
                    let mut q = q_0;
                    for _ in 0..5_000 {
                        let before = q;
                        q = network.length_map(before);
                        if (q / before - 1.0).abs() < 1e-13 {
                            break;
                        }
                    }
                    let found = network.fixed_point_from(q_0).unwrap();
                    let close = match found {
                        FixedPoint::Zero => q < 1e-3,
                        FixedPoint::Finite(end) => (q / end - 1.0).abs() < 1e-9,
                        FixedPoint::Every(end) => (q / end - 1.0).abs() < 1e-9,
                        FixedPoint::Diverges => q > 1e30,
                    };
                    assert!(close, "{network:?} from {q_0}: {found:?}, not {q}");
                }
            }
        }
    }

    /// Small signals die and large ones explode, so the answer depends on the signal.
    #[test]
    fn gelu_between_its_critical_scales_has_two_fixed_points() {
        let gelu = network(Activation::Gelu, 1.6, 0.0);
        assert_eq!(gelu.fixed_point_from(0.1).unwrap(), FixedPoint::Zero);
        assert_eq!(gelu.fixed_point_from(10.0).unwrap(), FixedPoint::Diverges);
    }

    #[test]
    fn extreme_scales_have_a_fixed_point() {
        for activation in Activation::ALL {
            for sigma_w in [1e-75, 1e-9, 1e9, 1e75] {
                for sigma_b in [0.0, 1e-75, 1e75] {
                    let q = network(activation, sigma_w, sigma_b).fixed_point().length();
                    assert!(q >= 0.0, "{activation:?} {sigma_w} {sigma_b}: {q}");
                }
            }
        }
    }
}
