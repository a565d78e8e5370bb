use serde::{Deserialize, Serialize};

use crate::{Exponent, float};

/// The direction in which a network multiplies a signal. There are no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Layer after layer.
    Depth,
    /// Time step after time step of a recurrent network.
    Time,
}

impl Axis {
    /// The name of one step along the axis.
    pub fn unit(self) -> &'static str {
        match self {
            Axis::Depth => "layer",
            Axis::Time => "time step",
        }
    }
}

/// The size of a gradient: as a whole, and value by value. A number format limits values, not
/// norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientSize {
    /// The L2 norm over all values.
    pub norm: f64,
    /// The root mean square of the values.
    pub rms: f64,
    /// The largest absolute value.
    pub max_abs: f64,
}

impl GradientSize {
    /// Measures these values. It is zero for none, and NaN or infinite where one of them is.
    pub fn of(values: &[f32]) -> Self {
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let largest = |most: f64, value: &f32| {
            let value = f64::from(value.abs());
            // Not `f64::max`, which drops a NaN.
            if value > most || value.is_nan() {
                value
            } else {
                most
            }
        };
        Self {
            norm: squares.sqrt(),
            rms: (squares / values.len().max(1) as f64).sqrt(),
            max_abs: values.iter().fold(0.0, largest),
        }
    }
}

/// The size of a gradient of one value.
impl From<f64> for GradientSize {
    fn from(size: f64) -> Self {
        Self {
            norm: size,
            rms: size,
            max_abs: size,
        }
    }
}

/// One layer, or one time step, of a [`GrowthProfile`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthPoint {
    /// The layer's name, or `t=12`.
    pub name: String,
    /// The root mean square of the activation `h_l` over batch and units.
    #[serde(with = "float")]
    pub activation_rms: f64,
    /// The L2 norm of `dL/dh_l` over batch and units.
    #[serde(with = "float")]
    pub gradient_norm: f64,
    /// The root mean square of the values of `dL/dh_l`.
    #[serde(with = "float")]
    pub gradient_rms: f64,
    /// The largest absolute value of `dL/dh_l`.
    #[serde(with = "float")]
    pub gradient_max_abs: f64,
    /// `activation_rms` over that of the point before. `None` at the first point.
    #[serde(with = "float::option")]
    pub forward_growth: Option<f64>,
    /// The factor by which the backward pass multiplies the gradient between this point and the one
    /// before: `|dL/dh_(l-1)| / |dL/dh_l|`. `None` at the first point.
    #[serde(with = "float::option")]
    pub backward_growth: Option<f64>,
}

/// Activation and gradient size through depth or time, measured once on one batch.
///
/// ```
/// use steadygrad_dynamics::{Axis, GrowthProfile};
///
/// let gradients = [8.0, 4.0, 2.0, 1.0];
/// let layers = gradients.iter().map(|norm| ("layer".to_owned(), 1.0, *norm));
/// let profile = GrowthProfile::new(Axis::Depth, layers);
/// assert!((profile.backward_growth_rate().unwrap() - 2.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthProfile {
    /// The direction of the growth.
    pub axis: Axis,
    /// The points in forward order.
    pub points: Vec<GrowthPoint>,
}

impl GrowthProfile {
    /// Builds a profile from `(name, activation_rms, gradient)` in forward order.
    pub fn new<G: Into<GradientSize>>(
        axis: Axis,
        measured: impl IntoIterator<Item = (String, f64, G)>,
    ) -> Self {
        let mut points: Vec<GrowthPoint> = Vec::new();
        for (name, activation_rms, gradient) in measured {
            let gradient: GradientSize = gradient.into();
            let gradient_norm = gradient.norm;
            let before = points.last();
            points.push(GrowthPoint {
                forward_growth: before.map(|before| activation_rms / before.activation_rms),
                backward_growth: before.map(|before| before.gradient_norm / gradient_norm),
                name,
                activation_rms,
                gradient_norm,
                gradient_rms: gradient.rms,
                gradient_max_abs: gradient.max_abs,
            });
        }
        Self { axis, points }
    }

    /// Keeps the last `count` points.
    pub fn keep_last(&mut self, count: usize) {
        self.points.drain(..self.points.len().saturating_sub(count));
        if let Some(first) = self.points.first_mut() {
            (first.forward_growth, first.backward_growth) = (None, None);
        }
    }

    /// The mean backward growth factor per step: `(|g_first| / |g_last|)^(1 / (n - 1))`.
    ///
    /// `None` with fewer than two points, or when an end is zero or not finite: a gradient that
    /// underflowed or overflowed has no rate.
    pub fn backward_growth_rate(&self) -> Option<f64> {
        rate(&self.points, |point| point.gradient_norm, true)
    }

    /// [`GrowthProfile::backward_growth_rate`] as a logarithm. Its standard error is that of the
    /// mean over the steps, `sd / sqrt(n)`: how far the rate of another network of this kind may
    /// lie from this one. A single step has no error, and neither has a profile with a gap.
    pub fn backward_log_growth(&self) -> Option<Exponent> {
        let value = self.backward_growth_rate()?.ln();
        let factors: Vec<f64> = self
            .points
            .iter()
            .filter_map(|point| point.backward_growth)
            .map(f64::ln)
            .collect();
        let known = factors.len() > 1 && factors.iter().all(|log| log.is_finite());
        Some(Exponent {
            value,
            standard_error: known.then(|| {
                let n = factors.len() as f64;
                let squares: f64 = factors.iter().map(|log| (log - value).powi(2)).sum();
                (squares / (n - 1.0) / n).sqrt()
            }),
        })
    }

    /// The mean forward growth factor of the activations per step. `None` as for
    /// [`GrowthProfile::backward_growth_rate`].
    pub fn forward_growth_rate(&self) -> Option<f64> {
        rate(&self.points, |point| point.activation_rms, false)
    }

    /// The number of further steps of this growth after which the gradient overflows f32:
    /// `ln(f32::MAX / largest gradient) / ln(rate)`. `None` when it does not grow.
    pub fn steps_to_f32_overflow(&self) -> Option<f64> {
        let growth = self.backward_growth_rate().filter(|rate| *rate > 1.0)?;
        let largest = self
            .points
            .iter()
            .map(|point| point.gradient_max_abs)
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
    fn the_rate_comes_with_its_error() {
        let uneven = profile(&[8.0, 2.0, 1.0]).backward_log_growth().unwrap();
        // Factors 4 and 2: logarithms ln 2 * (1.5 +- 0.5).
        assert!((uneven.value - 1.5 * 2f64.ln()).abs() < 1e-12);
        assert!((uneven.standard_error.unwrap() - 0.5 * 2f64.ln()).abs() < 1e-12);
        let single = profile(&[2.0, 1.0]).backward_log_growth().unwrap();
        assert_eq!(single.standard_error, None);
        let gap = profile(&[2.0, f64::INFINITY, 1.0]);
        assert_eq!(gap.backward_log_growth().unwrap().standard_error, None);
        assert_eq!(profile(&[f64::NAN, 1.0]).backward_log_growth(), None);
    }

    #[test]
    fn the_last_points_can_be_kept() {
        let mut truncated = profile(&[0.0, 0.0, 4.0, 2.0, 1.0]);
        truncated.keep_last(3);
        assert_eq!(truncated.points.len(), 3);
        assert_eq!(truncated.points[0].backward_growth, None);
        assert!((truncated.backward_growth_rate().unwrap() - 2.0).abs() < 1e-12);
        truncated.keep_last(9);
        assert_eq!(truncated.points.len(), 3);
        truncated.keep_last(0);
        assert!(truncated.points.is_empty());
    }

    #[test]
    fn a_gradient_has_a_norm_and_a_largest_value() {
        let size = GradientSize::of(&[3.0, -4.0, 0.0, 0.0]);
        assert_eq!((size.norm, size.rms, size.max_abs), (5.0, 2.5, 4.0));
        assert_eq!(GradientSize::of(&[]), GradientSize::from(0.0));
        let broken = GradientSize::of(&[1.0, f32::NAN, 2.0]);
        assert!(broken.norm.is_nan() && broken.max_abs.is_nan());
        assert!(GradientSize::of(&[f32::NEG_INFINITY]).max_abs.is_infinite());
        // f32's range squared is within f64's.
        assert!(GradientSize::of(&[f32::MAX; 3]).norm.is_finite());
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
