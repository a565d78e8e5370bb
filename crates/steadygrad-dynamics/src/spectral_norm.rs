/// Power iteration for the largest singular value of a row-major `rows x cols` matrix.
///
/// The right singular vector is kept between calls. When a matrix moves little from step to step,
/// as weights do, one iteration per step follows it (Miyato et al., 2018).
///
/// Performance: an iteration costs two products of the matrix with a vector.
///
/// ```
/// use steadygrad_dynamics::SpectralNorm;
///
/// let norm = SpectralNorm::new(2).estimate(&[3.0, 0.0, 0.0, -5.0], 50);
/// assert!((norm - 5.0).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SpectralNorm {
    right: Vec<f64>,
}

impl SpectralNorm {
    /// Starts from a fixed vector without zeros. A matrix whose leading singular vector is exactly
    /// orthogonal to it would need a second start, which rounding provides in practice.
    pub fn new(cols: usize) -> Self {
        // Not constant: a vector of ones is orthogonal to any matrix with zero row sums.
        let right = (0..cols)
            .map(|i| 1.0 + 0.5 * ((i as f64 + 1.0) * 0.754_877_666).fract())
            .collect();
        Self { right }
    }

    /// Runs `iterations` and returns the estimate, which never exceeds the true norm. 0 for an
    /// empty or zero matrix; NaN when the matrix holds a non-finite value.
    ///
    /// # Panics
    /// When the length of `values` is not a multiple of the `cols` of [`SpectralNorm::new`].
    pub fn estimate(&mut self, values: &[f32], iterations: usize) -> f64 {
        let cols = self.right.len();
        if cols == 0 || values.is_empty() {
            return 0.0;
        }
        assert_eq!(
            values.len() % cols,
            0,
            "the matrix does not have {cols} columns"
        );
        let mut norm = 0.0;
        for _ in 0..iterations {
            let size = l2(&self.right);
            if size == 0.0 || !size.is_finite() {
                *self = Self::new(cols);
                return if size == 0.0 { 0.0 } else { f64::NAN };
            }
            self.right.iter_mut().for_each(|value| *value /= size);
            let left: Vec<f64> = values
                .chunks_exact(cols)
                .map(|row| {
                    row.iter()
                        .zip(&self.right)
                        .map(|(w, v)| f64::from(*w) * v)
                        .sum()
                })
                .collect();
            norm = l2(&left);
            let mut right = vec![0.0; cols];
            for (row, u) in values.chunks_exact(cols).zip(&left) {
                for (out, w) in right.iter_mut().zip(row) {
                    *out += f64::from(*w) * u;
                }
            }
            self.right = right;
        }
        norm
    }
}

fn l2(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        // Diagonal: the largest entry. Rank one u v^T: |u| |v|.
        let diagonal = [3.0, 0.0, 0.0, -5.0];
        assert!((SpectralNorm::new(2).estimate(&diagonal, 50) - 5.0).abs() < 1e-9);
        let rank_one = [1.0, 2.0, 2.0, 2.0, 4.0, 4.0];
        assert!((SpectralNorm::new(3).estimate(&rank_one, 5) - 5f64.sqrt() * 3.0).abs() < 1e-9);
        // Zero row sums.
        assert!((SpectralNorm::new(2).estimate(&[1.0, -1.0], 5) - 2f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn zero_empty_and_non_finite() {
        assert_eq!(SpectralNorm::new(2).estimate(&[0.0; 4], 5), 0.0);
        assert_eq!(SpectralNorm::new(0).estimate(&[], 5), 0.0);
        assert_eq!(SpectralNorm::new(3).estimate(&[], 5), 0.0);
        let mut broken = SpectralNorm::new(2);
        assert!(broken.estimate(&[f32::NAN, 1.0], 5).is_nan());
        // One NaN does not spoil the next estimate.
        assert!((broken.estimate(&[3.0, 4.0], 5) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn one_iteration_per_step_follows_a_moving_matrix() {
        let mut follow = SpectralNorm::new(2);
        follow.estimate(&[2.0, 1.0, 1.0, 2.0], 30);
        for step in 0..100 {
            let scale = 1.0 + step as f32 * 0.01;
            let norm = follow.estimate(&[2.0 * scale, 1.0, 1.0, 2.0 * scale], 1);
            assert!((norm / f64::from(2.0 * scale + 1.0) - 1.0).abs() < 1e-3);
        }
    }
}
