use serde::{Deserialize, Serialize};

use super::mean_field::checked;
use super::{MeanField, MeanFieldError};

/// Below this `q` none of the activations bends any more.
const Q_SMALL: f64 = 1e-10;

/// Above this `q` the bend of every activation is lost in rounding.
const Q_LARGE: f64 = 1e34;

/// Where the variance `q` of a signal ends up after many layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixedPoint {
    /// The signal dies out: `q* = 0`.
    Zero,
    /// It settles at this positive variance.
    Finite(f64),
    /// Every variance keeps itself, so the input's, given here, stays: a homogeneous activation
    /// at its critical scale without biases (He et al., 2015).
    Every(f64),
    /// It grows without bound.
    Diverges,
}

impl FixedPoint {
    /// `q*`: 0, a positive number or infinity.
    pub fn length(self) -> f64 {
        match self {
            FixedPoint::Zero => 0.0,
            FixedPoint::Finite(q) | FixedPoint::Every(q) => q,
            FixedPoint::Diverges => f64::INFINITY,
        }
    }
}

impl MeanField {
    /// Where a signal of unit variance ends up: [`MeanField::fixed_point_from`] 1.
    pub fn fixed_point(&self) -> FixedPoint {
        self.limit(1.0)
    }

    /// Where a signal of variance `q_0` ends up. Some networks have two answers: GELU and SiLU
    /// between their two critical scales let a small signal die and a large one explode.
    ///
    /// A variance that keeps itself is its own answer, attracting or not. `q_0` has to be finite
    /// and not negative.
    pub fn fixed_point_from(&self, q_0: f64) -> Result<FixedPoint, MeanFieldError> {
        Ok(self.limit(checked(q_0)?))
    }

    /// The length map grows with `q` (each `phi^2`, folded at zero, does), so a signal moves
    /// one way only, towards the nearest fixed point in the direction of its first step.
    fn limit(&self, q_0: f64) -> FixedPoint {
        let (w, b) = (self.sigma_w * self.sigma_w, self.sigma_b * self.sigma_b);
        // Whatever it was, the next layer has at least this.
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
            // A step of the map never passes a fixed point; where it creeps, try some more. The
            // map bends where the signal has the size of the activation's bend, of the order 1.
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
            // A bottleneck: two fixed points may hide between the tries.
            if near.1 < far.1.min(next.1) {
                let narrowest = lowest(far.0, next.0, drive);
                if drive(narrowest) <= 0.0 {
                    return FixedPoint::Finite(bisect(far.0, narrowest, |q| drive(q) > 0.0));
                }
            }
            (far, near) = (near, next);
        }
    }

    /// A homogeneous activation's map is the straight line `factor * q + b`.
    fn straight_limit(&self, q_0: f64, factor: f64, b: f64) -> FixedPoint {
        match (below_one(factor), at_most_one(factor)) {
            (true, _) if b == 0.0 => FixedPoint::Zero,
            (true, _) => FixedPoint::Finite(b / (1.0 - factor)),
            (false, true) if b == 0.0 => FixedPoint::Every(q_0),
            _ => FixedPoint::Diverges,
        }
    }
}

/// `sqrt(2)^2 / 2` is not 1 in floating point: four units in the last place count as critical.
fn at_most_one(factor: f64) -> bool {
    factor <= 1.0 + 4.0 * f64::EPSILON
}

fn below_one(factor: f64) -> bool {
    factor < 1.0 - 4.0 * f64::EPSILON
}

/// The point between `from`, where `holds`, and `to`, where it does not, to the last bits. Both
/// are positive; halves their ratio, which is right for numbers of any size.
pub(super) fn bisect(mut from: f64, mut to: f64, holds: impl Fn(f64) -> bool) -> f64 {
    // A ratio of 1.1 is down to one ulp after 50 halvings; of 1e300, after 62.
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

/// Where `f` is lowest between two positive points, by thirds of their ratio.
fn lowest(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut from, mut to) = (from.ln(), to.ln());
    // An extremum is flat: 1e-8 in place is 1e-16 in value; (2/3)^50 = 1.6e-9.
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

    /// Every answer is where iterating the map leads.
    #[test]
    fn a_fixed_point_is_where_the_map_leads() {
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

    /// Small signals die, large ones explode: the state that decides is part of the question.
    #[test]
    fn gelu_between_its_scales_has_two_answers() {
        let gelu = network(Activation::Gelu, 1.6, 0.0);
        assert_eq!(gelu.fixed_point_from(0.1).unwrap(), FixedPoint::Zero);
        assert_eq!(gelu.fixed_point_from(10.0).unwrap(), FixedPoint::Diverges);
    }

    #[test]
    fn extreme_scales_end() {
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
