use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Block, DynamicsError, TangentSystem};
use crate::float;

/// Sweeps after which the iteration ends. Two neighbouring singular values whose logarithms differ
/// by `d` are still off by `d e^(-2 d n)` after `n` sweeps, which is below 0.002 for every `d`.
const SWEEPS: usize = 100;

/// A sweep that moves no logarithm by more than this is the last.
const SETTLED: f64 = 1e-12;

/// Passes over explicit factors after which leading directions are taken as they are.
const PASSES: usize = 20;

/// A pass over explicit factors that moves no logarithm by more than this, relative to its size
/// where that exceeds 1, is the last.
const TURNED: f64 = 1e-6;

/// Singular values above this share of the largest are read from the product itself, scaled so
/// that it cannot overflow: rounding leaves nine digits in the smallest of them.
const EXPLICIT: f64 = 1e-7;

/// The singular values of a product of Jacobians, in logarithms, so that neither a product beyond
/// f64's range nor one below it loses any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JacobianProduct {
    /// `ln sigma_i`, largest first. The leading ones only, when fewer vectors than the width were
    /// carried along; see [`JacobianProduct::lower_bound`].
    #[serde(with = "float::list")]
    pub log_singular_values: Vec<f64>,
    /// `ln` of the growth along the leading direction, factor by factor; sums to `ln sigma_1` as
    /// far as the random start had turned into that direction.
    #[serde(with = "float::list")]
    pub log_growth: Vec<f64>,
    /// Whether these are all singular values.
    pub complete: bool,
    /// Whether each is only a lower bound, close once the product is long: the leading vectors went
    /// through once and had not turned into the leading directions yet.
    pub lower_bound: bool,
    /// Sweeps until the logarithms settled, and the largest change in the last one.
    pub sweeps: usize,
    /// Largest change of a logarithm in the last sweep.
    pub last_change: f64,
}

impl JacobianProduct {
    /// Multiplies what is left of a finite sequence, `vectors` directions of it (`None`: all). The
    /// sequence is gone through once, so fewer directions than the width give lower bounds;
    /// [`JacobianProduct::of_factors`] has no such bias.
    ///
    /// The block is factorised after each factor, `J_L ... J_1 Q_0 = Q_L R_L ... R_1`; then the
    /// triangular factors alone are swept back and forth (the QR algorithm on a product that is
    /// never formed; Stewart, 1995) until the diagonal's logarithms settle. A random start `Q_0`
    /// is drawn from `seed`.
    ///
    /// # Errors
    /// As [`super::LyapunovSpectrum::measure`], and [`DynamicsError::TooFewSteps`] for a sequence
    /// that never ends or has no factor.
    pub fn measure(
        system: &mut impl TangentSystem,
        vectors: Option<usize>,
        seed: u64,
    ) -> Result<Self, DynamicsError> {
        let width = system.dim();
        let steps = system.remaining().unwrap_or(0);
        if steps == 0 {
            return Err(DynamicsError::TooFewSteps {
                available: 0,
                transient: 0,
                needed: 1,
            });
        }
        if width == 0 {
            return Err(DynamicsError::ZeroWidth { step: 0 });
        }
        let vectors = vectors.unwrap_or(width);
        if vectors == 0 || vectors > width {
            return Err(DynamicsError::VectorCount { vectors, width });
        }
        let (first, mut narrowest) = (width, width);
        let mut block = random_block(width, vectors, seed)?;
        let mut factors = Vec::with_capacity(steps);
        for step in 1..=steps {
            system.step(&mut block)?;
            let width = block.rows();
            enough(width, vectors, step)?;
            narrowest = narrowest.min(width);
            factors.push(factor(&mut block, step)?);
        }
        Ok(Self::of_triangles(
            &factors,
            vectors == first.min(block.rows()) && vectors == narrowest,
            vectors < first,
        ))
    }

    /// Multiplies these factors, the first of them applied first, `vectors` directions of their
    /// product (`None`: as many as its narrowest state has).
    ///
    /// With fewer directions than the first factor has columns, the block goes through the factors
    /// and back through their transposes until it has turned into the leading directions
    /// (orthogonal iteration on `P^T P`), at most 20 times; only then are the triangular
    /// factors swept as in [`JacobianProduct::measure`].
    ///
    /// # Errors
    /// As [`JacobianProduct::measure`]. Factors whose sizes do not fit are
    /// [`DynamicsError::VectorCount`].
    pub fn of_factors(
        factors: &[Block],
        vectors: Option<usize>,
        seed: u64,
    ) -> Result<Self, DynamicsError> {
        let (Some(first), Some(last)) = (factors.first(), factors.last()) else {
            return Err(DynamicsError::TooFewSteps {
                available: 0,
                transient: 0,
                needed: 1,
            });
        };
        let mut narrowest = first.cols();
        let mut width = first.cols();
        for (step, jacobian) in factors.iter().enumerate() {
            if jacobian.cols() != width {
                return Err(DynamicsError::VectorCount {
                    vectors: jacobian.cols(),
                    width,
                });
            }
            width = jacobian.rows();
            narrowest = narrowest.min(width);
            if narrowest == 0 {
                return Err(DynamicsError::ZeroWidth { step: step + 1 });
            }
        }
        let vectors = vectors.unwrap_or(narrowest);
        if vectors == 0 || vectors > narrowest {
            return Err(DynamicsError::VectorCount {
                vectors,
                width: narrowest,
            });
        }
        let mut block = random_block(first.cols(), vectors, seed)?;
        let mut before: Option<Vec<f64>> = None;
        let mut triangles = Vec::with_capacity(factors.len());
        for pass in 1..=PASSES {
            triangles.clear();
            for (step, jacobian) in factors.iter().enumerate() {
                multiply(&mut block, jacobian.as_mat());
                triangles.push(factor(&mut block, step + 1)?);
            }
            let now = diagonal_logs(&triangles);
            let change = before.map_or(f64::INFINITY, |before| largest_change(&now, &before));
            if vectors == first.cols() || change <= TURNED || pass == PASSES {
                break;
            }
            before = Some(now);
            for (step, jacobian) in factors.iter().enumerate().rev() {
                multiply(&mut block, jacobian.as_mat().transpose());
                factor(&mut block, step + 1)?;
            }
        }
        let all = vectors == first.cols().min(last.rows());
        Ok(Self::of_triangles(&triangles, all, false))
    }

    fn of_triangles(triangles: &[Mat<f64>], complete: bool, lower_bound: bool) -> Self {
        let log_growth = triangles.iter().map(|r| r[(0, 0)].abs().ln()).collect();
        let (mut log_singular_values, sweeps, last_change) = sweep(triangles);
        for (log, explicit) in log_singular_values.iter_mut().zip(explicit(triangles)) {
            *log = explicit;
        }
        log_singular_values.sort_by(|a, b| b.total_cmp(a));
        Self {
            log_singular_values,
            log_growth,
            complete,
            lower_bound,
            sweeps,
            last_change,
        }
    }

    /// `ln` of the condition number `sigma_max / sigma_min`; `None` when not all are known.
    pub fn log_condition(&self) -> Option<f64> {
        let (first, last) = (
            self.log_singular_values.first()?,
            self.log_singular_values.last()?,
        );
        self.complete.then_some(first - last)
    }
}

/// Orthonormal columns in random directions.
fn random_block(width: usize, vectors: usize, seed: u64) -> Result<Block, DynamicsError> {
    let mut block = Block::zeros(width, vectors);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    block
        .values_mut()
        .iter_mut()
        .for_each(|value| *value = rng.random_range(-1.0..1.0));
    factor(&mut block, 0)?;
    Ok(block)
}

/// A state of `width` units must have room for the vectors.
fn enough(width: usize, vectors: usize, step: usize) -> Result<(), DynamicsError> {
    match width {
        0 => Err(DynamicsError::ZeroWidth { step }),
        _ if width < vectors => Err(DynamicsError::VectorCount { vectors, width }),
        _ => Ok(()),
    }
}

/// `block <- matrix block`.
fn multiply(block: &mut Block, matrix: MatRef<'_, f64>) {
    let product = matrix * block.as_mat();
    block.resize_rows(product.nrows());
    block.as_mat_mut().copy_from(&product);
}

/// `ln |r_jj|`, summed over the factors, for each column.
fn diagonal_logs(triangles: &[Mat<f64>]) -> Vec<f64> {
    let vectors = triangles.first().map_or(0, Mat::ncols);
    (0..vectors)
        .map(|j| triangles.iter().map(|r| r[(j, j)].abs().ln()).sum())
        .collect()
}

/// Relative to the new value's size where that exceeds 1.
fn largest_change(now: &[f64], before: &[f64]) -> f64 {
    now.iter()
        .zip(before)
        .map(|(now, before)| (now - before).abs() / (1.0 + now.abs()))
        .fold(0.0, f64::max)
}

/// Orthonormalises the block in place and returns the triangular factor.
fn factor(block: &mut Block, step: usize) -> Result<Mat<f64>, DynamicsError> {
    let (rows, vectors) = (block.rows(), block.cols());
    if !block.values().iter().all(|value| value.is_finite()) {
        return Err(DynamicsError::NonFinite {
            what: "tangent",
            step,
        });
    }
    let lengths: Vec<f64> = block
        .columns()
        .map(|column| column.iter().map(|value| value * value).sum::<f64>().sqrt())
        .collect();
    let factors = block.as_mat().qr();
    let triangle = factors.thin_R().to_owned();
    for (rank, length) in lengths.iter().enumerate() {
        let size = triangle[(rank, rank)].abs();
        if size.is_nan() || size <= f64::EPSILON * rows as f64 * length {
            return Err(DynamicsError::RankDeficient {
                step,
                rank,
                vectors,
            });
        }
    }
    block.as_mat_mut().copy_from(factors.compute_thin_Q());
    Ok(triangle)
}

/// The settled logarithms, how many sweeps that took and the last change.
fn sweep(factors: &[Mat<f64>]) -> (Vec<f64>, usize, f64) {
    let mut factors = factors.to_vec();
    let mut before = diagonal_logs(&factors);
    let vectors = before.len();
    for done in 1..=SWEEPS {
        let mut orthonormal = Mat::<f64>::identity(vectors, vectors);
        let mut product = Mat::<f64>::zeros(vectors, vectors);
        factors = factors
            .iter()
            .rev()
            .map(|r| {
                matmul(
                    product.as_mut(),
                    Accum::Replace,
                    r.transpose(),
                    orthonormal.as_ref(),
                    1.0,
                    Par::Seq,
                );
                let qr = product.qr();
                orthonormal = qr.compute_thin_Q();
                qr.thin_R().to_owned()
            })
            .collect();
        let now = diagonal_logs(&factors);
        let change = largest_change(&now, &before);
        before = now;
        if change <= SETTLED || done == SWEEPS {
            return (before, done, change);
        }
    }
    unreachable!("the last sweep returns")
}

/// `ln` of the singular values that the scaled product itself shows well, largest first.
fn explicit(factors: &[Mat<f64>]) -> Vec<f64> {
    let vectors = factors.first().map_or(0, Mat::ncols);
    let mut product = Mat::<f64>::identity(vectors, vectors);
    let mut log_scale = 0.0;
    for r in factors {
        product = r * &product;
        let largest = product.norm_max();
        product = faer::Scale(1.0 / largest) * &product;
        log_scale += largest.ln();
    }
    let Ok(values) = product.singular_values() else {
        return Vec::new();
    };
    let largest = values.first().copied().unwrap_or(0.0);
    values
        .into_iter()
        .take_while(|value| *value > EXPLICIT * largest)
        .map(|value| value.ln() + log_scale)
        .collect()
}

/// The Jacobians of the next `steps` steps of a finite sequence (`None`: of all that are left), in
/// the order in which the system goes through them, which is from the last layer backwards for a
/// backward pass (its Jacobians are transposed). They hold `sum(width^2)` numbers.
///
/// # Errors
/// [`DynamicsError::ZeroWidth`], and [`DynamicsError::NonFinite`] for a state or Jacobian that is
/// not finite.
pub fn jacobians(
    system: &mut impl TangentSystem,
    steps: Option<usize>,
) -> Result<Vec<Block>, DynamicsError> {
    let left = system.remaining().unwrap_or(0);
    (1..=steps.unwrap_or(left).min(left))
        .map(|step| {
            let width = system.dim();
            if width == 0 {
                return Err(DynamicsError::ZeroWidth { step: step - 1 });
            }
            let mut block = Block::zeros(width, width);
            for (j, column) in block.columns_mut().enumerate() {
                column[j] = 1.0;
            }
            system.step(&mut block)?;
            if block.rows() == 0 {
                return Err(DynamicsError::ZeroWidth { step });
            }
            if !block.values().iter().all(|value| value.is_finite()) {
                return Err(DynamicsError::NonFinite {
                    what: "tangent",
                    step,
                });
            }
            Ok(block)
        })
        .collect()
}

/// One layer's (or time step's) Jacobian by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerJacobian {
    /// `ln (|J|_F / sqrt n)`, with `n` the number of columns: growth of a vector in a random
    /// direction, in the mean of squares. Mean-field theory's `ln(chi_1) / 2`.
    #[serde(with = "float")]
    pub log_growth: f64,
    /// `ln` of every singular value, largest first; minus infinity for those that rounding cannot
    /// tell from zero.
    #[serde(with = "float::list")]
    pub log_singular_values: Vec<f64>,
}

impl LayerJacobian {
    /// From the Jacobian itself. All values are NaN when its singular values cannot be computed,
    /// which an entry that is not finite causes.
    pub fn of(jacobian: &Block) -> Self {
        let (rows, cols) = (jacobian.rows(), jacobian.cols());
        let values = jacobian
            .as_mat()
            .singular_values()
            .unwrap_or_else(|_| vec![f64::NAN; rows.min(cols)]);
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let largest = values.first().copied().unwrap_or(0.0);
        // Golub and Van Loan's threshold for the numerical rank.
        let zero = f64::EPSILON * rows.max(cols) as f64 * largest;
        Self {
            log_growth: 0.5 * (squares / cols as f64).ln(),
            log_singular_values: values
                .into_iter()
                .map(|value| {
                    if value <= zero {
                        f64::NEG_INFINITY
                    } else {
                        value.ln()
                    }
                })
                .collect(),
        }
    }

    /// `ln` of the largest singular value: growth in the worst direction. Minus infinity for a
    /// Jacobian of zeros.
    pub fn log_largest(&self) -> f64 {
        self.log_singular_values
            .first()
            .copied()
            .unwrap_or(f64::NEG_INFINITY)
    }

    /// `ln` of the smallest; minus infinity for a singular Jacobian.
    pub fn log_smallest(&self) -> f64 {
        self.log_singular_values
            .last()
            .copied()
            .unwrap_or(f64::NEG_INFINITY)
    }

    /// `ln` of the condition number: infinite for a singular Jacobian, NaN for one of zeros.
    pub fn log_condition(&self) -> f64 {
        self.log_largest() - self.log_smallest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, StandardNormal};

    /// A deep linear network: each factor its own matrix.
    struct Layers {
        matrices: Vec<Mat<f64>>,
        done: usize,
    }

    impl Layers {
        fn new(matrices: Vec<Mat<f64>>) -> Self {
            Self { matrices, done: 0 }
        }

        fn random(widths: &[usize], gain: f64, seed: u64) -> Self {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            Self::new(
                widths
                    .windows(2)
                    .map(|pair| {
                        let scale = gain / (pair[0] as f64).sqrt();
                        Mat::from_fn(pair[1], pair[0], |_, _| {
                            let normal: f64 = StandardNormal.sample(&mut rng);
                            scale * normal
                        })
                    })
                    .collect(),
            )
        }
    }

    impl TangentSystem for Layers {
        fn dim(&self) -> usize {
            match self.matrices.get(self.done) {
                Some(next) => next.ncols(),
                None => self.matrices.last().map_or(0, Mat::nrows),
            }
        }
        fn remaining(&self) -> Option<usize> {
            Some(self.matrices.len() - self.done)
        }
        fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
            let product = &self.matrices[self.done] * block.as_mat();
            block.resize_rows(product.nrows());
            block.as_mat_mut().copy_from(&product);
            self.done += 1;
            Ok(())
        }
    }

    #[test]
    fn short_products_are_exact() {
        // Brute force: the product formed and its singular values taken.
        for (seed, widths) in [
            (1, vec![5, 5]),
            (2, vec![8, 8, 8, 8]),
            (3, vec![30; 6]),
            (4, vec![6, 9, 7, 6]),
        ] {
            let mut layers = Layers::random(&widths, 1.0, seed);
            let product = layers
                .matrices
                .iter()
                .skip(1)
                .fold(layers.matrices[0].clone(), |product, next| next * product);
            let mut expected = product.singular_values().unwrap();
            expected.truncate(widths[0]);
            let found = JacobianProduct::measure(&mut layers, None, 7).unwrap();
            assert!(found.complete && !found.lower_bound);
            assert_eq!(found.log_singular_values.len(), widths[0]);
            for (found, expected) in found.log_singular_values.iter().zip(&expected) {
                assert!((found - expected.ln()).abs() < 1e-7, "{found} {expected}");
            }
        }
    }

    #[test]
    fn a_thousand_layers_beyond_every_number_format() {
        // Diagonal factors with rotations in between have a closed form: none of them mixes.
        let (sin, cos) = 0.3f64.sin_cos();
        let rotation = Mat::from_fn(2, 2, |i, j| [[cos, -sin], [sin, cos]][i][j]);
        let stretch = Mat::from_fn(2, 2, |i, j| if i == j { [8.0, 0.125][i] } else { 0.0 });
        let pair = &(&rotation * &stretch) * rotation.transpose();
        let mut layers = Layers::new(vec![pair; 1_000]);
        let found = JacobianProduct::measure(&mut layers, None, 1).unwrap();
        let expected = 1_000.0 * 8f64.ln();
        assert!((found.log_singular_values[0] - expected).abs() < 1e-8);
        assert!((found.log_singular_values[1] + expected).abs() < 1e-8);
        assert!((found.log_condition().unwrap() - 2.0 * expected).abs() < 1e-7);
        // e^2079 is no f64.
        assert!(found.log_singular_values[0].exp().is_infinite());
    }

    #[test]
    fn random_thousand_layers_agree_with_their_determinants() {
        let widths = vec![12; 1_001];
        let mut layers = Layers::random(&widths, 3.0, 5);
        let volume: f64 = layers
            .matrices
            .iter()
            .map(|matrix| matrix.determinant().abs().ln())
            .sum();
        let found = JacobianProduct::measure(&mut layers, None, 1).unwrap();
        let sum: f64 = found.log_singular_values.iter().sum();
        assert!((sum / volume - 1.0).abs() < 1e-9, "{sum} {volume}");
        // Newman's exponents of products of Gaussian matrices (1986):
        // lambda_i = (ln(2 sigma^2) + psi((n - i + 1) / 2)) / 2; psi(6) for the first.
        let sigma = 3.0 / 12f64.sqrt();
        let psi_6 = 1.706_117_668_431_8;
        let lambda = 0.5 * ((2.0 * sigma * sigma).ln() + psi_6);
        let slope = found.log_singular_values[0] / 1_000.0;
        // The logarithm of one chi-squared factor has a standard deviation near 0.2.
        assert!(
            (slope - lambda).abs() < 4.0 * 0.21 / 1_000f64.sqrt(),
            "{slope} {lambda}"
        );
    }

    #[test]
    fn leading_values_bound_from_below_and_come_close() {
        let widths = vec![20; 201];
        let mut layers = Layers::random(&widths, 1.0, 9);
        let all = JacobianProduct::measure(&mut layers, None, 1).unwrap();
        layers.done = 0;
        let some = JacobianProduct::measure(&mut layers, Some(3), 1).unwrap();
        assert!(all.complete && !some.complete && some.lower_bound);
        assert_eq!(some.log_condition(), None);
        for (some, all) in some
            .log_singular_values
            .iter()
            .zip(&all.log_singular_values)
        {
            assert!(*some <= all + 1e-9 && all - some < 5.0, "{some} {all}");
        }
    }

    /// The bias that a single pass has on a short product, and that explicit factors have not.
    #[test]
    fn leading_values_of_explicit_factors_are_exact() {
        for seed in [1, 2, 3] {
            let mut layers = Layers::random(&[64; 20], 1.5, seed);
            let product = layers
                .matrices
                .iter()
                .skip(1)
                .fold(layers.matrices[0].clone(), |product, next| next * product);
            let expected = product.singular_values().unwrap();
            let factors = jacobians(&mut layers, None).unwrap();
            let found = JacobianProduct::of_factors(&factors, Some(16), 7).unwrap();
            assert!(!found.complete && !found.lower_bound);
            for (found, expected) in found.log_singular_values.iter().take(8).zip(&expected) {
                assert!(
                    (found - expected.ln()).abs() < 1e-5,
                    "{found} {}",
                    expected.ln()
                );
            }
            // The control: one pass misses the largest by a half and more.
            layers.done = 0;
            let bound = JacobianProduct::measure(&mut layers, Some(16), 7).unwrap();
            assert!(
                expected[0].ln() - bound.log_singular_values[0] > 0.3,
                "{seed}"
            );
        }
    }

    #[test]
    fn a_bottleneck_has_as_many_values_as_units() {
        let mut layers = Layers::random(&[12, 3, 12], 1.0, 4);
        let product = &layers.matrices[1] * &layers.matrices[0];
        let expected = product.singular_values().unwrap();
        let factors = jacobians(&mut layers, None).unwrap();
        let found = JacobianProduct::of_factors(&factors, None, 7).unwrap();
        // Nine more are zero: the three are not all, and there is no condition number.
        assert_eq!(
            (found.log_singular_values.len(), found.complete),
            (3, false)
        );
        for (found, expected) in found.log_singular_values.iter().zip(&expected) {
            assert!((found - expected.ln()).abs() < 1e-9);
        }
        layers.done = 0;
        let vectors = Some(4);
        assert_eq!(
            JacobianProduct::of_factors(&factors, vectors, 7),
            Err(DynamicsError::VectorCount {
                vectors: 4,
                width: 3
            })
        );
    }

    #[test]
    fn each_layer_by_itself() {
        let stretch = Mat::from_fn(2, 2, |i, j| if i == j { [3.0, 0.5][i] } else { 0.0 });
        let flat = Mat::from_fn(2, 2, |i, _| if i == 0 { 1.0 } else { 0.0 });
        let mut layers = Layers::new(vec![stretch, flat]);
        let found: Vec<LayerJacobian> = jacobians(&mut layers, None)
            .unwrap()
            .iter()
            .map(LayerJacobian::of)
            .collect();
        assert!((found[0].log_largest() - 3f64.ln()).abs() < 1e-12);
        assert!((found[0].log_smallest() - 0.5f64.ln()).abs() < 1e-12);
        assert!((found[0].log_condition() - 6f64.ln()).abs() < 1e-12);
        assert!((found[0].log_growth - 0.5 * (9.25f64 / 2.0).ln()).abs() < 1e-12);
        assert!((found[1].log_largest() - 0.5 * 2f64.ln()).abs() < 1e-12);
        assert_eq!(found[1].log_smallest(), f64::NEG_INFINITY);
        assert_eq!(found[1].log_condition(), f64::INFINITY);
        let zeros = LayerJacobian::of(&Block::zeros(2, 2));
        assert_eq!(zeros.log_growth, f64::NEG_INFINITY);
        assert!(zeros.log_condition().is_nan());
        let nan = Block::from_columns(1, 1, vec![f64::NAN]).unwrap();
        assert!(LayerJacobian::of(&nan).log_largest().is_nan());
        layers.done = 0;
        assert_eq!(jacobians(&mut layers, Some(1)).unwrap().len(), 1);
    }

    #[test]
    fn odd_rows() {
        let measure = |matrices: Vec<Mat<f64>>, vectors| {
            JacobianProduct::measure(&mut Layers::new(matrices), vectors, 1)
        };
        assert!(matches!(
            measure(Vec::new(), None),
            Err(DynamicsError::TooFewSteps { .. })
        ));
        assert_eq!(
            measure(vec![Mat::zeros(3, 0)], None),
            Err(DynamicsError::ZeroWidth { step: 0 })
        );
        assert_eq!(
            measure(vec![Mat::zeros(0, 3)], None),
            Err(DynamicsError::ZeroWidth { step: 1 })
        );
        assert_eq!(
            measure(vec![Mat::identity(2, 3)], None),
            Err(DynamicsError::VectorCount {
                vectors: 3,
                width: 2
            })
        );
        assert!(matches!(
            measure(vec![Mat::zeros(3, 3)], None),
            Err(DynamicsError::RankDeficient { rank: 0, .. })
        ));
        let product = |factors: &[Block]| JacobianProduct::of_factors(factors, None, 1);
        assert!(matches!(
            product(&[]),
            Err(DynamicsError::TooFewSteps { .. })
        ));
        assert_eq!(
            product(&[Block::zeros(0, 3)]),
            Err(DynamicsError::ZeroWidth { step: 1 })
        );
        assert!(matches!(
            product(&[Block::zeros(3, 3)]),
            Err(DynamicsError::RankDeficient { rank: 0, .. })
        ));
        assert_eq!(
            product(&[Block::zeros(3, 3), Block::zeros(2, 2)]),
            Err(DynamicsError::VectorCount {
                vectors: 2,
                width: 3
            })
        );
        for bad in [f64::NAN, f64::INFINITY] {
            let matrix = Mat::from_fn(2, 2, |_, _| bad);
            assert!(matches!(
                measure(vec![matrix.clone()], None),
                Err(DynamicsError::NonFinite { step: 1, .. })
            ));
            let mut layers = Layers::new(vec![matrix]);
            assert!(matches!(
                jacobians(&mut layers, None),
                Err(DynamicsError::NonFinite { step: 1, .. })
            ));
        }
    }
}
