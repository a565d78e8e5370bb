use serde::{Deserialize, Serialize};

use crate::float;

/// The direction through which a signal is multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Layer after layer.
    Depth,
    /// Time step after time step of a recurrent network.
    Time,
}

impl Axis {
    /// What one step along the axis is called.
    pub fn unit(self) -> &'static str {
        match self {
            Axis::Depth => "layer",
            Axis::Time => "time step",
        }
    }
}

/// One layer (or time step), in forward order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthPoint {
    /// The layer's name, or `t=12`.
    pub name: String,
    /// Root mean square of the activation `h_l` over batch and units.
    #[serde(with = "float")]
    pub activation_rms: f64,
    /// L2 norm of `dL/dh_l` over batch and units.
    #[serde(with = "float")]
    pub gradient_norm: f64,
    /// `activation_rms` over the one before. `None` at the first point.
    #[serde(with = "float::option")]
    pub forward_growth: Option<f64>,
    /// By how much the backward pass multiplies the gradient on its way from this point to the
    /// one before: `|dL/dh_(l-1)| / |dL/dh_l|`. `None` at the first point.
    #[serde(with = "float::option")]
    pub backward_growth: Option<f64>,
}

/// Activation and gradient size through depth or time, measured once on one batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthProfile {
    /// Through what.
    pub axis: Axis,
    /// In forward order.
    pub points: Vec<GrowthPoint>,
}

impl GrowthProfile {
    /// Builds a profile from `(name, activation_rms, gradient_norm)` in forward order.
    pub fn new(axis: Axis, measured: impl IntoIterator<Item = (String, f64, f64)>) -> Self {
        let mut points: Vec<GrowthPoint> = Vec::new();
        for (name, activation_rms, gradient_norm) in measured {
            let before = points.last();
            points.push(GrowthPoint {
                forward_growth: before.map(|before| activation_rms / before.activation_rms),
                backward_growth: before.map(|before| before.gradient_norm / gradient_norm),
                name,
                activation_rms,
                gradient_norm,
            });
        }
        Self { axis, points }
    }

    /// Mean backward growth factor a step: `(|g_first| / |g_last|)^(1 / (n - 1))`.
    ///
    /// `None` with fewer than two points, or when an end is zero or not finite (a gradient that
    /// under- or overflowed has no rate).
    pub fn backward_growth_rate(&self) -> Option<f64> {
        rate(&self.points, |point| point.gradient_norm, true)
    }

    /// Mean forward growth factor of the activations a step. `None` as above.
    pub fn forward_growth_rate(&self) -> Option<f64> {
        rate(&self.points, |point| point.activation_rms, false)
    }

    /// How many more steps of this growth the gradient survives before it overflows f32:
    /// `ln(f32::MAX / largest gradient) / ln(rate)`. `None` when it does not grow.
    pub fn steps_to_f32_overflow(&self) -> Option<f64> {
        let growth = self.backward_growth_rate().filter(|rate| *rate > 1.0)?;
        let largest = self
            .points
            .iter()
            .map(|point| point.gradient_norm)
            .fold(0.0, f64::max);
        Some((f64::from(f32::MAX).ln() - largest.ln()) / growth.ln())
    }
}

fn rate(points: &[GrowthPoint], size: impl Fn(&GrowthPoint) -> f64, backward: bool) -> Option<f64> {
    let (first, last) = (size(points.first()?), size(points.last()?));
    let ratio = if backward { first / last } else { last / first };
    let steps = points.len().checked_sub(1).filter(|steps| *steps > 0)?;
    (first > 0.0 && last > 0.0 && ratio.is_finite()).then(|| (ratio.ln() / steps as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(gradients: &[f64]) -> GrowthProfile {
        GrowthProfile::new(
            Axis::Depth,
            gradients
                .iter()
                .enumerate()
                .map(|(l, g)| (format!("l{l}"), 2f64.powi(l as i32), *g)),
        )
    }

    #[test]
    fn the_rate_is_the_geometric_mean_of_the_factors() {
        let grows = profile(&[8.0, 4.0, 1.0, 1.0]);
        assert!((grows.backward_growth_rate().unwrap() - 2.0).abs() < 1e-12);
        assert!((grows.forward_growth_rate().unwrap() - 2.0).abs() < 1e-12);
        let product: f64 = grows
            .points
            .iter()
            .filter_map(|point| point.backward_growth)
            .product();
        assert!((product - 8.0).abs() < 1e-12);
        let left = grows.steps_to_f32_overflow().unwrap();
        assert!((left - (128.0 - 3.0)).abs() < 1e-6, "{left}");
    }

    #[test]
    fn odd_rows_have_no_rate() {
        for gradients in [
            &[][..],
            &[1.0],
            &[0.0, 1.0],
            &[1.0, 0.0],
            &[f64::NAN, 1.0],
            &[f64::INFINITY, 1.0],
        ] {
            assert_eq!(
                profile(gradients).backward_growth_rate(),
                None,
                "{gradients:?}"
            );
        }
        assert_eq!(profile(&[1.0, 2.0]).steps_to_f32_overflow(), None);
    }
}
