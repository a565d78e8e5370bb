use serde::{Deserialize, Serialize};

use crate::{Block, DynamicsError, TangentSystem, float};

/// Reads the Jacobians of all steps that a finite sequence has left: see [`next_jacobians`].
///
/// # Errors
/// As [`next_jacobians`].
pub fn jacobians(system: &mut impl TangentSystem) -> Result<Vec<Block>, DynamicsError> {
    let left = system.remaining().unwrap_or(0);
    next_jacobians(system, left)
}

/// Reads the Jacobians of the next `steps` steps of a finite sequence, or of all when fewer are
/// left. A sequence that never ends gives none.
///
/// They come in the order in which the system takes its steps. A backward pass begins at the last
/// layer, and its Jacobians are transposed. Together they hold `sum(width^2)` numbers.
///
/// # Errors
/// [`DynamicsError::ZeroWidth`], and [`DynamicsError::NonFinite`] for a state or a Jacobian that is
/// not finite.
pub fn next_jacobians(
    system: &mut impl TangentSystem,
    steps: usize,
) -> Result<Vec<Block>, DynamicsError> {
    let left = system.remaining().unwrap_or(0);
    (1..=steps.min(left))
        .map(|step| {
            let width = system.dim();
            if width == 0 {
                return Err(DynamicsError::ZeroWidth { step: step - 1 });
            }
            let mut block = Block::identity(width);
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

/// The growth through one layer, or one time step, by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerJacobian {
    /// `ln (|J|_F / sqrt n)`, with `n` the number of columns: growth of a vector in a random
    /// direction, in the mean of squares. Mean-field theory calls it `ln(chi_1) / 2`.
    #[serde(with = "float")]
    pub log_growth: f64,
    /// `ln` of every singular value, the largest first. Minus infinity for a value that rounding
    /// cannot distinguish from zero.
    #[serde(with = "float::list")]
    pub log_singular_values: Vec<f64>,
}

impl LayerJacobian {
    /// Reads the growth from the Jacobian itself. An entry that is not finite makes all values NaN.
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

    /// `ln` of the smallest singular value. Minus infinity for a singular Jacobian.
    pub fn log_smallest(&self) -> f64 {
        self.log_singular_values
            .last()
            .copied()
            .unwrap_or(f64::NEG_INFINITY)
    }

    /// `ln` of the condition number. Infinite for a singular Jacobian, NaN for one of zeros.
    pub fn log_condition(&self) -> f64 {
        self.log_largest() - self.log_smallest()
    }
}
