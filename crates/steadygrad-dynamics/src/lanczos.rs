use faer::{Mat, Side};

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LanczosConfig {
    /// At most this many products; at least one is made.
    pub max_iterations: usize,
    /// The largest eigenvalue is good enough when its residual is at most this fraction of itself,
    /// in absolute value, however large the other end of the spectrum is.
    pub tolerance: f64,
}

impl Default for LanczosConfig {
    /// 100 products, and a thousandth.
    fn default() -> Self {
        Self {
            max_iterations: 100,
            tolerance: 1e-3,
        }
    }
}

/// An approximate eigenvalue: some true eigenvalue lies within `residual` of `value`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ritz {
    /// The estimate, itself never outside the spectrum (but for rounding).
    pub value: f64,
    /// `|A x - value x|` with `|x| = 1`: `|beta_m s_m|`, where `s` is the eigenvector of the
    /// tridiagonal matrix.
    pub residual: f64,
}

/// Both ends of a symmetric operator's spectrum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extremes {
    /// The largest eigenvalue, with its sign: negative for a negative definite operator.
    pub largest: Ritz,
    /// The smallest, with its sign.
    pub smallest: Ritz,
    /// Products made.
    pub iterations: usize,
    /// Whether `largest` met the tolerance, `residual <= tolerance |value|`, or no product can tell
    /// more: an invariant subspace or the whole space was searched. Says nothing of `smallest`,
    /// whose residual stands by itself.
    pub converged: bool,
}

/// Why there are no eigenvalues.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LanczosError<E> {
    /// The start vector has no entries.
    #[error("the start vector is empty: an operator on no dimensions has no eigenvalues")]
    Empty,
    /// The start vector is zero or holds a value that is not finite.
    #[error("the start vector must be finite and not zero")]
    Start,
    /// A product has another length than the vector.
    #[error("product {iteration} has {found} values in place of {expected}")]
    Length {
        /// Which product, from 1.
        iteration: usize,
        /// Length of the start vector.
        expected: usize,
        /// Length of the product.
        found: usize,
    },
    /// A product holds NaN or infinity, or is too large to be squared.
    #[error("product {iteration} is not finite")]
    NonFinite {
        /// Which product, from 1.
        iteration: usize,
    },
    /// The small eigenvalue problem did not converge.
    #[error("the eigenvalues of the {size} x {size} tridiagonal matrix did not converge")]
    Tridiagonal {
        /// Its size.
        size: usize,
    },
    /// The product itself failed.
    #[error("the product failed: {0}")]
    Product(E),
}

/// A vector that orthogonalisation left shorter than this is orthogonalised again: the criterion
/// of Daniel, Gragg, Kaufman and Stewart (1976), at their usual `1 / sqrt 2`.
const CANCELLED: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// The largest and the smallest eigenvalue of a symmetric operator `A`, of which only products
/// `v -> A v` are known: for the Hessian of a loss, the two ends of its curvature.
///
/// Lanczos' recurrence `A V_m = V_m T_m + beta_m v_(m+1) e_m^T` with every new vector made
/// orthogonal to all before it, twice where digits cancelled ("twice is enough": Parlett, The
/// Symmetric Eigenvalue Problem, 1998, ch. 6 and 13). The Ritz values are the eigenvalues of the tridiagonal `T_m`. It
/// holds `m + 1` vectors of the operator's dimension `n` and costs `O(n m^2)` beside the products.
///
/// `start` fixes the result: draw it at random from a seed. Eigenvectors orthogonal to it stay
/// unseen, which is all that is known when an invariant subspace ends the iteration early. A
/// residual bounds the distance to *some* eigenvalue: a few iterations on a vast operator may
/// settle on an inner one.
///
/// # Errors
/// An empty, zero or non-finite start; a product of another length or with non-finite values;
/// an error of the product itself.
pub fn extreme_eigenvalues<E>(
    mut product: impl FnMut(&[f64]) -> Result<Vec<f64>, E>,
    start: &[f64],
    config: LanczosConfig,
) -> Result<Extremes, LanczosError<E>> {
    let n = start.len();
    if n == 0 {
        return Err(LanczosError::Empty);
    }
    let mut vector = start.to_vec();
    let largest = start
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    // Scaled first: the squares of the entries must neither over- nor underflow.
    scale(&mut vector, 1.0 / largest);
    let norm = l2(&vector);
    if !norm.is_finite() || norm == 0.0 || largest == 0.0 {
        return Err(LanczosError::Start);
    }
    scale(&mut vector, 1.0 / norm);

    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    let mut basis: Vec<Vec<f64>> = vec![vector];
    loop {
        let iteration = basis.len();
        let mut next = product(&basis[iteration - 1]).map_err(LanczosError::Product)?;
        if next.len() != n {
            return Err(LanczosError::Length {
                iteration,
                expected: n,
                found: next.len(),
            });
        }
        let size = l2(&next);
        if !size.is_finite() {
            return Err(LanczosError::NonFinite { iteration });
        }
        alphas.push(dot(&basis[iteration - 1], &next));
        let last = iteration >= config.max_iterations;
        orthogonalize(&mut next, &basis);
        let mut beta = l2(&next);
        // Where little was left, round-off of what was taken away is a part of it: once more. The
        // last vector is not used, only its length.
        if beta < CANCELLED * size && !last {
            orthogonalize(&mut next, &basis);
            beta = l2(&next);
        }
        let mut extremes = extremes(&alphas, &betas, beta)?;
        let scale_of_t = extremes
            .largest
            .value
            .abs()
            .max(extremes.smallest.value.abs());
        // Below the rounding of the product the remainder is noise: the subspace is invariant.
        let invariant = beta <= f64::EPSILON * (n as f64).sqrt() * size.max(scale_of_t);
        let whole = iteration == n;
        extremes.converged = invariant
            || whole
            || extremes.largest.residual <= config.tolerance * extremes.largest.value.abs();
        if extremes.converged || last {
            return Ok(extremes);
        }
        betas.push(beta);
        scale(&mut next, 1.0 / beta);
        basis.push(next);
    }
}

/// The ends of the spectrum of the tridiagonal matrix, with `beta` the norm of what is left.
fn extremes<E>(alphas: &[f64], betas: &[f64], beta: f64) -> Result<Extremes, LanczosError<E>> {
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
    let ritz = |index: usize| Ritz {
        value: values[index],
        residual: (beta * vectors[(size - 1, index)]).abs(),
    };
    Ok(Extremes {
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

/// Eight sums side by side: one sum would wait for each addition, and round worse.
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
