use faer::Mat;
use serde::{Deserialize, Serialize};

use super::ProductSettings;
use super::factor::{factorise, multiply, random_block};
use super::sweep::{diagonal_logs, largest_change, singular_value_logs};
use crate::{Block, DynamicsError, TangentSystem, float};

/// The number of passes over explicit factors after which the leading directions are taken as they
/// are.
const PASSES: usize = 20;

/// A pass over explicit factors that moves no logarithm by more than this, relative to its size
/// where that exceeds 1, is the last.
const TURNED: f64 = 1e-6;

/// The singular values of a product of Jacobians, in logarithms.
///
/// A product beyond f64's range, or below it, loses none of them: it is never formed. An
/// orthonormal block is factorised after each factor, `J_L ... J_1 Q_0 = Q_L R_L ... R_1`, and the
/// triangular factors alone are swept until their diagonal settles.
///
/// Source: the QR algorithm on a product (Stewart, 1995); orthogonal iteration on `P^T P` for the
/// leading directions of explicit factors.
///
/// Defaults ([`ProductSettings`]): all singular values, seed 0.
///
/// Performance: one pass costs the system's own step on `vectors` columns and `2 width vectors^2` a
/// factor. A sweep costs `2 vectors^3` a factor; there are at most 100, and usually a few.
///
/// ```
/// use steadygrad_dynamics::{Block, JacobianProduct, ProductSettings};
///
/// // Sixty times diag(1e10, 1): no f64 holds 1e600.
/// let factor = Block::from_columns(2, 2, vec![1e10, 0.0, 0.0, 1.0]).expect("four values");
/// let product = JacobianProduct::of_factors(&vec![factor; 60], ProductSettings::default())?;
/// assert!((product.log_singular_values[0] - 600.0 * 10f64.ln()).abs() < 1e-6);
/// assert!(product.log_singular_values[1].abs() < 1e-6);
/// # Ok::<(), steadygrad_dynamics::DynamicsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JacobianProduct {
    /// `ln sigma_i`, the largest first. Only the leading ones when fewer vectors than the width
    /// were carried along: see [`JacobianProduct::lower_bound`].
    #[serde(with = "float::list")]
    pub log_singular_values: Vec<f64>,
    /// `ln` of the growth along the leading direction, factor by factor. Its sum approaches
    /// `ln sigma_1` as the random start turns into that direction.
    #[serde(with = "float::list")]
    pub log_growth: Vec<f64>,
    /// Whether the product has no other singular values.
    pub complete: bool,
    /// Whether each value is only a lower bound: fewer vectors than the width went through the
    /// sequence once, and did not have the time to turn into the leading directions. The bound is
    /// close once the product is long.
    pub lower_bound: bool,
    /// The number of sweeps until the logarithms settled.
    pub sweeps: usize,
    /// The largest change of a logarithm in the last sweep.
    pub last_change: f64,
}

impl JacobianProduct {
    /// Multiplies the steps that a finite sequence has left. The sequence is passed once.
    ///
    /// Without a number of vectors the result has as many singular values as the narrowest state
    /// has units, and all are exact. A smaller number of vectors than the first width gives lower
    /// bounds; [`JacobianProduct::of_factors`] has no such bias.
    ///
    /// # Errors
    /// As [`LyapunovSpectrum::measure`](crate::LyapunovSpectrum::measure), and
    /// [`DynamicsError::TooFewSteps`] for a sequence that never ends or has no factor.
    pub fn measure(
        system: &mut impl TangentSystem,
        settings: ProductSettings,
    ) -> Result<Self, DynamicsError> {
        let first = system.dim();
        let steps = system.remaining().unwrap_or(0);
        if steps == 0 {
            return Err(NO_FACTOR);
        }
        if first == 0 {
            return Err(DynamicsError::ZeroWidth { step: 0 });
        }
        let vectors = checked(settings.vectors.unwrap_or(first), first)?;
        let mut block = random_block(first, vectors, settings.seed)?;
        let mut narrowest = first;
        let mut last = first;
        let mut factors = Vec::with_capacity(steps);
        for step in 1..=steps {
            system.step(&mut block)?;
            last = block.rows();
            narrowest = narrowest.min(last);
            if last == 0 {
                return Err(DynamicsError::ZeroWidth { step });
            }
            if let Some(vectors) = settings.vectors {
                checked(vectors, last)?;
            }
            factors.push(factorise(&mut block, step)?);
        }
        let carried = block.cols();
        let complete = carried == first.min(last) && carried == narrowest;
        if carried < vectors {
            return Self::of_narrowing(&factors, complete);
        }
        Ok(Self::of_triangles(&factors, complete, vectors < first))
    }

    /// Multiplies these factors, the first of them applied first.
    ///
    /// Without a number of vectors the result has as many singular values as the product's
    /// narrowest state has units. With fewer vectors than the first factor has columns, the block
    /// goes through the factors and back through their transposes, at most 20 times, until it has
    /// turned into the leading directions.
    ///
    /// # Errors
    /// As [`JacobianProduct::measure`]. Factors whose sizes do not fit are
    /// [`DynamicsError::VectorCount`].
    pub fn of_factors(factors: &[Block], settings: ProductSettings) -> Result<Self, DynamicsError> {
        let (Some(first), Some(last)) = (factors.first(), factors.last()) else {
            return Err(NO_FACTOR);
        };
        let narrowest = narrowest(factors)?;
        let vectors = checked(settings.vectors.unwrap_or(narrowest), narrowest)?;
        let mut block = random_block(first.cols(), vectors, settings.seed)?;
        let mut before: Option<Vec<f64>> = None;
        let mut triangles = Vec::with_capacity(factors.len());
        for pass in 1..=PASSES {
            triangles.clear();
            for (step, jacobian) in factors.iter().enumerate() {
                multiply(&mut block, jacobian.as_mat());
                triangles.push(factorise(&mut block, step + 1)?);
            }
            let now = diagonal_logs(&triangles);
            let change = before.map_or(f64::INFINITY, |before| largest_change(&now, &before));
            if vectors == first.cols() || change <= TURNED || pass == PASSES {
                break;
            }
            before = Some(now);
            for (step, jacobian) in factors.iter().enumerate().rev() {
                multiply(&mut block, jacobian.as_mat().transpose());
                factorise(&mut block, step + 1)?;
            }
        }
        let all = vectors == first.cols().min(last.rows());
        Ok(Self::of_triangles(&triangles, all, false))
    }

    /// Reads factors `R` of which some are wider than high, because a state was narrower than the
    /// block. After the last of these every factor is square, so a pass back through the
    /// transposes, from all directions of the narrowest state, makes them triangles without a bias.
    fn of_narrowing(factors: &[Mat<f64>], complete: bool) -> Result<Self, DynamicsError> {
        let narrowest = factors.last().map_or(0, Mat::nrows);
        let mut block = Block::identity(narrowest);
        let mut triangles = Vec::with_capacity(factors.len());
        for (step, factor) in factors.iter().enumerate().rev() {
            multiply(&mut block, factor.transpose());
            triangles.push(factorise(&mut block, step + 1)?);
        }
        let mut found = Self::of_triangles(&triangles, complete, false);
        found.log_growth.reverse();
        Ok(found)
    }

    fn of_triangles(triangles: &[Mat<f64>], complete: bool, lower_bound: bool) -> Self {
        let swept = singular_value_logs(triangles);
        Self {
            log_singular_values: swept.logs,
            log_growth: triangles.iter().map(|r| r[(0, 0)].abs().ln()).collect(),
            complete,
            lower_bound,
            sweeps: swept.sweeps,
            last_change: swept.last_change,
        }
    }

    /// `ln` of the condition number `sigma_max / sigma_min`. `None` unless all singular values are
    /// known.
    pub fn log_condition(&self) -> Option<f64> {
        let (first, last) = (
            self.log_singular_values.first()?,
            self.log_singular_values.last()?,
        );
        self.complete.then_some(first - last)
    }
}

/// The error of a sequence without a factor.
const NO_FACTOR: DynamicsError = DynamicsError::TooFewSteps {
    available: 0,
    transient: 0,
    needed: 1,
};

/// A state of `width` units must have room for the vectors.
fn checked(vectors: usize, width: usize) -> Result<usize, DynamicsError> {
    if vectors == 0 || vectors > width {
        return Err(DynamicsError::VectorCount { vectors, width });
    }
    Ok(vectors)
}

/// The width of the narrowest state between these factors, whose sizes must fit.
fn narrowest(factors: &[Block]) -> Result<usize, DynamicsError> {
    let mut width = factors.first().map_or(0, Block::cols);
    let mut narrowest = width;
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
    Ok(narrowest)
}

#[cfg(test)]
mod tests;
