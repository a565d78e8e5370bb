use serde::{Deserialize, Serialize};

use crate::float;

/// The two ends of the curvature of the loss: the extreme eigenvalues of its Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sharpness {
    /// The largest eigenvalue, with its sign: the steepest upward bend, which bounds the learning
    /// rate. Not positive when the loss bends upwards nowhere.
    #[serde(with = "float")]
    pub lambda_max: f64,
    /// The smallest eigenvalue, with its sign. Negative beside a saddle.
    #[serde(with = "float")]
    pub lambda_min: f64,
    /// A true eigenvalue lies within this distance of `lambda_max` (the Lanczos residual).
    #[serde(with = "float")]
    pub residual: f64,
    /// The number of Hessian-vector products.
    pub iterations: usize,
    /// The number of rows of data that the loss averages.
    pub rows: usize,
    /// The length of the finite-difference step over the weights' norm; 0 where the products are
    /// exact.
    #[serde(with = "float")]
    pub relative_step: f64,
}

impl Sharpness {
    /// The learning rate above which gradient descent with this momentum (heavy ball) is unstable
    /// on a quadratic: `2 (1 + momentum) / lambda_max` (Cohen et al., 2021, section 2). `None` when
    /// `lambda_max` is not positive and finite, because there is no such bound then.
    pub fn largest_stable_learning_rate(&self, momentum: f64) -> Option<f64> {
        let bounded = self.lambda_max > 0.0 && self.lambda_max.is_finite();
        bounded.then(|| 2.0 * (1.0 + momentum) / self.lambda_max)
    }

    /// `residual / |lambda_max|`. NaN or infinite when `lambda_max` is zero.
    pub fn relative_error(&self) -> f64 {
        self.residual / self.lambda_max.abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_upward_bend_bounds_the_learning_rate() {
        let with = |lambda_max| Sharpness {
            lambda_max,
            lambda_min: -3.0,
            residual: 0.5,
            iterations: 9,
            rows: 4,
            relative_step: 1e-5,
        };
        assert_eq!(with(4.0).largest_stable_learning_rate(0.0), Some(0.5));
        assert_eq!(with(4.0).largest_stable_learning_rate(0.5), Some(0.75));
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(with(none).largest_stable_learning_rate(0.9), None, "{none}");
        }
        assert_eq!(with(-2.0).relative_error(), 0.25);
        assert!(with(0.0).relative_error().is_infinite());
    }
}
