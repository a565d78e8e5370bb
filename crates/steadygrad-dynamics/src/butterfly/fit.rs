/// A straight line fitted to points.
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// The standard error of the slope, widened for correlated residuals.
    pub(super) slope_error: f64,
}

/// Fits at least three finite points with different `x` by least squares.
pub(super) fn line(points: &[(f64, f64)]) -> Line {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let (mut spread, mut along) = (0.0, 0.0);
    for (x, y) in points {
        spread += (x - mean_x).powi(2);
        along += (x - mean_x) * (y - mean_y);
    }
    let slope = along / spread;
    let intercept = mean_y - slope * mean_x;
    let residuals: Vec<f64> = points
        .iter()
        .map(|(x, y)| y - (intercept + slope * x))
        .collect();
    let squared: f64 = residuals.iter().map(|residual| residual * residual).sum();
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    // Alternating residuals would narrow the error. The fit does not claim that much.
    let correlation = if squared > 0.0 {
        (products / squared).max(0.0)
    } else {
        0.0
    };
    // Always below 1: |sum r_i r_(i+1)| <= cos(pi / (n + 1)) sum r_i^2.
    let widened = (1.0 + correlation) / (1.0 - correlation);
    Line {
        slope,
        intercept,
        slope_error: (squared / (count - 2.0) / spread * widened).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_exact_and_noise_agrees_with_a_calculation_by_hand() {
        let exact: Vec<_> = (0..9)
            .map(|x| (f64::from(x), 3.0 - 0.5 * f64::from(x)))
            .collect();
        let fitted = line(&exact);
        assert!((fitted.slope + 0.5).abs() < 1e-15 && (fitted.intercept - 3.0).abs() < 1e-14);
        assert!(fitted.slope_error < 1e-15);
        // By hand: slope 0, residuals +1 -1 -1 +1. Two pairs of neighbours differ in sign and one
        // does not; spread 5, s^2 = 4 / 2.
        let fitted = line(&[(0.0, 1.0), (1.0, -1.0), (2.0, -1.0), (3.0, 1.0)]);
        assert!(fitted.slope.abs() < 1e-15);
        assert!((fitted.slope_error - (2.0f64 / 5.0).sqrt()).abs() < 1e-12);
        // Residuals +1 +1 -1 -1 about a flat line tilt it by -0.8. The residuals are then, by hand,
        // -0.2 .6 -.6 .2: neighbours are opposed, so nothing is widened.
        let fitted = line(&[(0.0, 1.0), (1.0, 1.0), (2.0, -1.0), (3.0, -1.0)]);
        assert!((fitted.slope + 0.8).abs() < 1e-12);
        assert!((fitted.slope_error - (0.8f64 / 2.0 / 5.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn correlated_residuals_widen_the_error() {
        let wave = |period: f64| -> Vec<(f64, f64)> {
            let y = |x: f64| (std::f64::consts::TAU * x / period).cos();
            (0..48).map(|x| (f64::from(x), y(f64::from(x)))).collect()
        };
        // The mean square of the fast wave is twice that of the slow one. Without widening, the
        // fast wave would have the larger error.
        let ratio = line(&wave(24.0)).slope_error / line(&wave(2.0)).slope_error;
        assert!(ratio > 2.0, "{ratio}");
    }
}
