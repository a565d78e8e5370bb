use serde::{Deserialize, Serialize};

use super::{Activation, CriticalPoint, FixedPoint, MeanField, MeanFieldError, critical_sigma_w};
use crate::float;

/// A network's place between vanishing and exploding gradients, by mean-field theory, from its
/// weight scale, bias scale and activation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Criticality {
    /// The network.
    pub mean_field: MeanField,
    /// The fixed point of its signal's variance.
    pub fixed_point: FixedPoint,
    /// The growth of the squared gradient norm per step, at the fixed point.
    #[serde(with = "float")]
    pub chi_1: f64,
    /// The number of steps over which the squared gradient norm changes by a factor of e:
    /// `1 / |ln chi_1|`.
    #[serde(with = "float")]
    pub depth_scale: f64,
    /// The weight scale at which `chi_1` passes 1, or jumps over it, with these biases.
    pub critical: CriticalPoint,
    /// The number of steps that the signal is followed.
    pub steps: usize,
    /// The predicted log growth of the gradient norm per step, backwards, over these steps. It is
    /// followed from the signal's own variance, which may take hundreds of layers to settle.
    #[serde(with = "float")]
    pub log_growth: f64,
}

impl Criticality {
    /// Follows a signal through `steps` steps of a network. `q_0` is its variance before the first
    /// repeated activation. Without steps, the growth at the fixed point counts.
    ///
    /// # Errors
    /// [`MeanFieldError::Length`] for a `q_0` that is negative, NaN or infinite.
    pub fn new(mean_field: MeanField, q_0: f64, steps: usize) -> Result<Self, MeanFieldError> {
        let fixed_point = mean_field.fixed_point_from(q_0)?;
        let chi_1 = mean_field.chi_1(fixed_point.length());
        let followed = mean_field.forecast(q_0, steps + 1)?.gradient_slope();
        Ok(Self {
            mean_field,
            fixed_point,
            chi_1,
            depth_scale: chi_1.ln().abs().recip(),
            critical: critical_sigma_w(mean_field.activation(), mean_field.sigma_b())?,
            steps,
            log_growth: followed.unwrap_or(0.5 * chi_1.ln()),
        })
    }

    /// `ln(chi_1) / 2`: the log growth of the gradient norm per step, once the signal has settled.
    pub fn settled_log_growth(&self) -> f64 {
        0.5 * self.chi_1.ln()
    }

    /// The weight scale at which gradients neither vanish nor explode. `None` where `chi_1` jumps
    /// over 1.
    pub fn critical_sigma_w(&self) -> Option<f64> {
        match self.critical {
            CriticalPoint::Continuous { sigma_w, .. } => Some(sigma_w),
            CriticalPoint::Jump { .. } => None,
        }
    }

    /// The factor that brings every repeated weight to criticality: `critical_sigma_w / sigma_w`.
    /// Infinite when the weights are all zero, `None` where no scale is critical.
    pub fn weight_scale(&self) -> Option<f64> {
        Some(self.critical_sigma_w()? / self.mean_field.sigma_w())
    }
}

/// The line between vanishing and exploding gradients for one activation, over the bias scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhaseDiagram {
    /// The activation.
    pub activation: Activation,
    /// The bias scales, ascending.
    pub sigma_b: Vec<f64>,
    /// The critical weight scale at each bias scale.
    pub critical_sigma_w: Vec<f64>,
}

impl PhaseDiagram {
    /// Computes the line at `points` bias scales from 0 to `largest`, both included.
    ///
    /// # Errors
    /// [`MeanFieldError`] when `largest` is negative, NaN or infinite.
    pub fn new(
        activation: Activation,
        largest: f64,
        points: usize,
    ) -> Result<Self, MeanFieldError> {
        let last = points.saturating_sub(1).max(1) as f64;
        let sigma_b: Vec<f64> = (0..points).map(|i| largest * i as f64 / last).collect();
        let critical = sigma_b
            .iter()
            .map(|sigma_b| Ok(critical_sigma_w(activation, *sigma_b)?.sigma_w()))
            .collect::<Result<_, MeanFieldError>>()?;
        Ok(Self {
            activation,
            sigma_b,
            critical_sigma_w: critical,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criticality(
        (activation, sigma_w, sigma_b): (Activation, f64, f64),
        q_0: f64,
        steps: usize,
    ) -> Result<Criticality, MeanFieldError> {
        Criticality::new(MeanField::new(activation, sigma_w, sigma_b)?, q_0, steps)
    }

    #[test]
    fn he_initialisation_is_critical_and_twice_as_much_is_not() {
        let relu = |sigma_w| criticality((Activation::Relu, sigma_w, 0.0), 1.0, 20).unwrap();
        let he = relu(2f64.sqrt());
        assert!((he.chi_1 - 1.0).abs() < 1e-9 && he.depth_scale > 1e8);
        assert!((he.weight_scale().unwrap() - 1.0).abs() < 1e-6);
        let twice = relu(2.0 * 2f64.sqrt());
        assert!((twice.log_growth - 2f64.ln()).abs() < 1e-9);
        assert!((twice.settled_log_growth() - 2f64.ln()).abs() < 1e-9);
        assert!((twice.weight_scale().unwrap() - 0.5).abs() < 1e-6);
    }

    /// SELU at 1.4 settles after hundreds of layers. Over thirty layers its gradient grows three
    /// times as fast as at the fixed point (benches/runs/2026-11-24-gradient-slopes.md: measured
    /// 0.1215).
    #[test]
    fn growth_is_followed_from_the_signal_itself() {
        let selu = |steps| criticality((Activation::Selu, 1.4, 0.0), 1.4 * 1.4, steps).unwrap();
        assert!((selu(29).log_growth - 0.1315).abs() < 1e-3);
        assert!((selu(29).settled_log_growth() - 0.0394).abs() < 1e-3);
        assert_eq!(selu(0).log_growth, selu(0).settled_log_growth());
        assert!((selu(100_000).log_growth - 0.0394).abs() < 1e-3);
    }

    #[test]
    fn a_jump_has_no_critical_scale() {
        let gelu = |sigma_b| criticality((Activation::Gelu, 2.0, sigma_b), 1.0, 20).unwrap();
        assert_eq!(
            (gelu(0.0).critical_sigma_w(), gelu(0.0).weight_scale()),
            (None, None)
        );
        assert!((gelu(0.0).critical.sigma_w() - 1.5335).abs() < 1e-4);
        // With large biases the jump has closed.
        assert!(gelu(1.0).critical_sigma_w().is_some());
    }

    #[test]
    fn the_line_of_tanh_starts_at_one_and_rises() {
        let line = PhaseDiagram::new(Activation::Tanh, 1.0, 5).unwrap();
        assert!((line.critical_sigma_w[0] - 1.0).abs() < 1e-6);
        assert!(
            line.critical_sigma_w
                .windows(2)
                .all(|pair| pair[0] < pair[1])
        );
        let points = |points| PhaseDiagram::new(Activation::Tanh, 1.0, points).unwrap();
        assert!(points(0).sigma_b.is_empty());
        assert_eq!(points(1).sigma_b, vec![0.0]);
    }

    #[test]
    fn odd_rows() {
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(criticality((Activation::Tanh, bad, 0.0), 1.0, 5).is_err());
            assert!(criticality((Activation::Tanh, 1.0, bad), 1.0, 5).is_err());
            assert!(criticality((Activation::Tanh, 1.0, 0.0), bad, 5).is_err());
            assert!(PhaseDiagram::new(Activation::Tanh, bad, 3).is_err());
        }
        let dead = criticality((Activation::Relu, 0.0, 0.0), 1.0, 5).unwrap();
        assert_eq!((dead.chi_1, dead.depth_scale), (0.0, 0.0));
        assert_eq!(dead.weight_scale(), Some(f64::INFINITY));
        assert_eq!(dead.log_growth, f64::NEG_INFINITY);
    }
}
