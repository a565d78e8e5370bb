use serde::{Deserialize, Serialize};

use super::TensorStats;
use super::block::Scale;

/// The statistics of one parameter's gradient, under the parameter's dotted path in the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedStats {
    /// The dotted path, for example `hidden.3.weight`.
    pub name: String,
    /// The statistics.
    pub stats: TensorStats,
}

/// The statistics of all gradients of one step, in the model's parameter order.
///
/// ```
/// use steadygrad::stats::NamedStats;
/// use steadygrad::{GradientStats, TensorStats};
///
/// let tensors = [("weight", 3.0f32), ("bias", 4.0)].map(|(name, value)| NamedStats {
///     name: name.into(),
///     stats: TensorStats::of(&[value]),
/// });
/// let gradients = GradientStats { tensors: tensors.into() };
/// assert_eq!(gradients.global_norm(), 5.0);
/// assert_eq!(gradients.largest_share(), Some(("bias", 0.64)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GradientStats {
    /// One entry for each parameter that has a gradient.
    pub tensors: Vec<NamedStats>,
}

impl GradientStats {
    /// The L2 norm over all tensors together: `sqrt(sum_i tensor_norm_i^2)`.
    ///
    /// NaN if any value is NaN, else infinite if any is infinite, as
    /// `torch.nn.utils.clip_grad_norm_` returns; 0 without a tensor. It is scaled, so that it
    /// neither overflows nor underflows while the norm itself is in f64's range.
    pub fn global_norm(&self) -> f64 {
        global_norm(self.tensors.iter().map(|tensor| tensor.stats.tensor_norm))
    }

    /// The largest absolute finite value; 0 when there is none.
    pub fn max_abs(&self) -> f64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.stats.max_abs)
            .fold(0.0, f64::max)
    }

    /// The number of values that are NaN or infinite.
    pub fn non_finite(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.stats.non_finite)
            .sum()
    }

    /// The number of subnormal values. They are a sign of a vanishing backward pass, and slow on a
    /// CPU.
    pub fn subnormal(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.stats.subnormal)
            .sum()
    }

    /// The parameter with the largest share of the squared global norm, and that share in `0..=1`.
    /// A non-finite tensor outranks every finite one and has the share NaN. `None` without a
    /// tensor, or when all gradients are zero.
    pub fn largest_share(&self) -> Option<(&str, f64)> {
        let total = self.global_norm().powi(2);
        if let Some(broken) = self
            .tensors
            .iter()
            .find(|tensor| tensor.stats.non_finite > 0)
        {
            return Some((&broken.name, f64::NAN));
        }
        let largest = self
            .tensors
            .iter()
            .max_by(|a, b| a.stats.tensor_norm.total_cmp(&b.stats.tensor_norm))?;
        (total > 0.0).then(|| (&*largest.name, largest.stats.tensor_norm.powi(2) / total))
    }
}

/// Computes `sqrt(sum_i norm_i^2)`, scaled by a power of two so that squares stay in f64's range.
pub fn global_norm(tensor_norms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = tensor_norms.clone().fold(0.0, f64::max);
    let scale = match largest {
        1e140.. => Scale::DOWN,
        ..1e-140 => Scale::UP,
        _ => 1.0,
    };
    // Not `sum`, which is -0 without a value.
    let sum = tensor_norms.fold(0.0, |sum, norm| sum + (norm * scale).powi(2));
    sum.sqrt() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(rows: &[(&str, &[f32])]) -> GradientStats {
        GradientStats {
            tensors: rows
                .iter()
                .map(|(name, values)| NamedStats {
                    name: (*name).into(),
                    stats: TensorStats::of(*values),
                })
                .collect(),
        }
    }

    #[test]
    fn the_global_norm_is_the_norm_of_all_values() {
        let both = stats(&[("a", &[3.0, 0.0]), ("b", &[4.0])]);
        assert_eq!(both.global_norm(), 5.0);
        assert_eq!(both.largest_share(), Some(("b", 16.0 / 25.0)));
    }

    #[test]
    fn norms_at_the_ends_of_f64() {
        for scale in [
            f64::MIN_POSITIVE,
            1e-300,
            1e-141,
            1e-139,
            1.0,
            1e139,
            1e141,
            1e307,
        ] {
            let norm = global_norm([3.0 * scale, 4.0 * scale].into_iter());
            assert!((norm / (5.0 * scale) - 1.0).abs() < 1e-15, "{scale}");
        }
        assert_eq!(global_norm([5e-324, 0.0].into_iter()), 5e-324);
        assert!(global_norm([1e300, f64::NAN].into_iter()).is_nan());
        assert_eq!(global_norm([f64::INFINITY, 1.0].into_iter()), f64::INFINITY);
    }

    #[test]
    fn empty_zero_and_non_finite_rows() {
        assert!(stats(&[]).global_norm() == 0.0 && stats(&[]).global_norm().is_sign_positive());
        assert_eq!(stats(&[]).largest_share(), None);
        assert_eq!(stats(&[("a", &[0.0])]).largest_share(), None);
        assert!(
            stats(&[("a", &[1.0]), ("b", &[f32::NAN])])
                .global_norm()
                .is_nan()
        );
        assert_eq!(
            stats(&[("a", &[f32::INFINITY])]).global_norm(),
            f64::INFINITY
        );
        let (name, share) = stats(&[("a", &[9.0]), ("b", &[f32::INFINITY])])
            .largest_share()
            .map(|(name, share)| (name.to_owned(), share))
            .unwrap();
        assert!(name == "b" && share.is_nan());
        // The first broken tensor counts, not the one whose norm would sort last.
        let both = stats(&[("a", &[f32::INFINITY]), ("b", &[f32::NAN])]);
        assert_eq!(both.largest_share().map(|(name, _)| name), Some("a"));
        assert_eq!(both.non_finite(), 2);
        let counted = stats(&[("a", &[1e-40, 3.0]), ("b", &[1e-41, -4.0])]);
        assert_eq!((counted.subnormal(), counted.max_abs()), (2, 4.0));
    }
}
