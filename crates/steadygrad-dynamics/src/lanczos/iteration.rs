use faer::{Mat, Side};

use super::{LanczosError, LanczosSettings};

/// An approximate eigenvalue: a true eigenvalue lies within `residual` of `value`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RitzValue {
    /// The estimate. It never lies outside the spectrum, except by rounding.
    pub value: f64,
    /// `|A x - value x|` with `|x| = 1`. It is `|beta_m s_m|`, with `s` the eigenvector of the
    /// tridiagonal matrix.
    pub residual: f64,
}

/// Both ends of the spectrum of a symmetric operator.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ExtremeEigenvalues {
    /// The largest eigenvalue, with its sign: negative for a negative definite operator.
    pub largest: RitzValue,
    /// The smallest eigenvalue, with its sign.
    pub smallest: RitzValue,
    /// The number of products.
    pub iterations: usize,
    /// Whether `largest` met the tolerance, or further products cannot improve it, because an
    /// invariant subspace or the whole space was searched. `smallest` has its own residual, which
    /// this flag says nothing about.
    pub converged: bool,
}

/// A vector that orthogonalisation makes shorter than this share is orthogonalised again: the
/// criterion of Daniel, Gragg, Kaufman and Stewart (1976), at their usual `1 / sqrt 2`.
const CANCELLED: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Computes the largest and the smallest eigenvalue of a symmetric operator `A`, from products
/// `v -> A v` alone. For the Hessian of a loss they are the two ends of its curvature.
///
/// Lanczos' recurrence `A V_m = V_m T_m + beta_m v_(m+1) e_m^T` makes every new vector orthogonal
/// to all before it, twice where digits cancelled. The Ritz values are the eigenvalues of the
/// tridiagonal `T_m`.
///
/// Source: Parlett, The Symmetric Eigenvalue Problem (1998), chapters 6 and 13 ("twice is enough").
///
/// `start` fixes the result: draw it at random from a seed. Eigenvectors orthogonal to it stay
/// unseen. When an invariant subspace ends the iteration early, only the values in it are known. A
/// residual bounds the distance to *some* eigenvalue: a few iterations on a vast operator may
/// settle on an inner one.
///
/// Defaults ([`LanczosSettings`]): 100 products, tolerance 1e-3.
///
/// Performance: `O(n m^2)` beside `m` products on `n` dimensions; it holds `m + 1` vectors.
///
/// ```
/// use std::convert::Infallible;
/// use steadygrad_dynamics::{LanczosSettings, extreme_eigenvalues};
///
/// let product = |v: &[f64]| Ok::<_, Infallible>(vec![3.0 * v[0], -7.0 * v[1]]);
/// let found = extreme_eigenvalues(product, &[1.0, 1.0], LanczosSettings::default()).unwrap();
/// assert!((found.largest.value - 3.0).abs() < 1e-9);
/// assert!((found.smallest.value + 7.0).abs() < 1e-9);
/// ```
///
/// # Errors
/// An empty, zero or non-finite start; a product of another length or with non-finite values; an
/// error of the product itself.
pub fn extreme_eigenvalues<E>(
    mut product: impl FnMut(&[f64]) -> Result<Vec<f64>, E>,
    start: &[f64],
    settings: LanczosSettings,
) -> Result<ExtremeEigenvalues, LanczosError<E>> {
    let n = start.len();
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    let mut basis = vec![unit(start)?];
    loop {
        let iteration = basis.len();
        let mut next = product(&basis[iteration - 1]).map_err(LanczosError::Product)?;
        let size = checked_norm(&next, n, iteration)?;
        alphas.push(dot(&basis[iteration - 1], &next));
        let last = iteration >= settings.max_iterations;
        orthogonalize(&mut next, &basis);
        let mut beta = l2(&next);
        // Where little remains, it holds the round-off of the subtraction. Of the last vector only
        // the length is used.
        if beta < CANCELLED * size && !last {
            orthogonalize(&mut next, &basis);
            beta = l2(&next);
        }
        let mut found = ritz_values(&alphas, &betas, beta)?;
        let scale_of_t = found.largest.value.abs().max(found.smallest.value.abs());
        // A remainder below the rounding of the product is noise: the subspace is invariant.
        let invariant = beta <= f64::EPSILON * (n as f64).sqrt() * size.max(scale_of_t);
        let whole = iteration == n;
        found.converged = invariant
            || whole
            || found.largest.residual <= settings.tolerance * found.largest.value.abs();
        if found.converged || last {
            return Ok(found);
        }
        betas.push(beta);
        scale(&mut next, 1.0 / beta);
        basis.push(next);
    }
}

/// The start vector with length 1.
fn unit<E>(start: &[f64]) -> Result<Vec<f64>, LanczosError<E>> {
    if start.is_empty() {
        return Err(LanczosError::Empty);
    }
    let mut vector = start.to_vec();
    let largest = start
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    // Scaled first: the squares of the entries must neither overflow nor underflow.
    scale(&mut vector, 1.0 / largest);
    let norm = l2(&vector);
    if !norm.is_finite() || norm == 0.0 || largest == 0.0 {
        return Err(LanczosError::Start);
    }
    scale(&mut vector, 1.0 / norm);
    Ok(vector)
}

/// The norm of a product, which must have `n` values and be finite.
fn checked_norm<E>(product: &[f64], n: usize, iteration: usize) -> Result<f64, LanczosError<E>> {
    if product.len() != n {
        return Err(LanczosError::Length {
            iteration,
            expected: n,
            found: product.len(),
        });
    }
    let norm = l2(product);
    if norm.is_finite() {
        Ok(norm)
    } else {
        Err(LanczosError::NonFinite { iteration })
    }
}

/// The ends of the spectrum of the tridiagonal matrix. `beta` is the norm of the remainder.
fn ritz_values<E>(
    alphas: &[f64],
    betas: &[f64],
    beta: f64,
) -> Result<ExtremeEigenvalues, LanczosError<E>> {
    let size = alphas.len();
    let matrix = Mat::from_fn(size, size, |row, column| match row.abs_diff(column) {
        0 => alphas[row],
        1 => betas[row.min(column)],
        _ => 0.0,
    });
    let decomposed = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| LanczosError::Tridiagonal { size })?;
    // In nondecreasing order.
    let (values, vectors) = (decomposed.S().column_vector(), decomposed.U());
    let ritz = |index: usize| RitzValue {
        value: values[index],
        residual: (beta * vectors[(size - 1, index)]).abs(),
    };
    Ok(ExtremeEigenvalues {
        largest: ritz(size - 1),
        smallest: ritz(0),
        iterations: size,
        converged: false,
    })
}

fn orthogonalize(vector: &mut [f64], basis: &[Vec<f64>]) {
    for earlier in basis {
        let along = dot(earlier, vector);
        add(vector, -along, earlier);
    }
}

/// Adds in eight sums side by side. A single sum would wait for each addition and round worse.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

fn l2(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

fn scale(values: &mut [f64], factor: f64) {
    values.iter_mut().for_each(|value| *value *= factor);
}

fn add(values: &mut [f64], factor: f64, other: &[f64]) {
    for (value, other) in values.iter_mut().zip(other) {
        *value += factor * other;
    }
}

#[cfg(test)]
mod tests;
