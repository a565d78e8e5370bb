use std::fmt;

use crate::{Block, DynamicsError, TangentSystem};

/// A map `x -> f(x)` of `N` variables with its Jacobian, from two functions.
///
/// The Hénon map, whose Jacobian has the determinant -0.3 everywhere:
///
/// ```
/// use steadygrad_dynamics::{LyapunovSettings, LyapunovSpectrum, Map};
///
/// let mut henon = Map::new(
///     [0.1, 0.1],
///     |[x, y]| [1.0 - 1.4 * x * x + y, 0.3 * x],
///     |[x, _]| [[-2.8 * x, 1.0], [0.3, 0.0]],
/// );
/// let settings = LyapunovSettings::default().with_transient(100).with_steps(10_000);
/// let spectrum = LyapunovSpectrum::measure(&mut henon, settings)?;
/// assert!((spectrum.sum() - 0.3f64.ln()).abs() < 1e-9);
/// # Ok::<(), steadygrad_dynamics::DynamicsError>(())
/// ```
#[derive(Clone)]
pub struct Map<const N: usize, F, J> {
    state: [f64; N],
    next: F,
    jacobian: J,
    done: usize,
}

impl<const N: usize, F, J> Map<N, F, J>
where
    F: Fn(&[f64; N]) -> [f64; N],
    J: Fn(&[f64; N]) -> [[f64; N]; N],
{
    /// Starts at `state`. `next` is `f(x)`; `jacobian` is `f'(x)`, row by row.
    pub fn new(state: [f64; N], next: F, jacobian: J) -> Self {
        Self {
            state,
            next,
            jacobian,
            done: 0,
        }
    }
}

impl<const N: usize, F, J> Map<N, F, J> {
    /// The state that the map has reached.
    pub fn state(&self) -> &[f64; N] {
        &self.state
    }
}

impl<const N: usize, F, J> fmt::Debug for Map<N, F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("state", &self.state)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl<const N: usize, F, J> TangentSystem for Map<N, F, J>
where
    F: Fn(&[f64; N]) -> [f64; N],
    J: Fn(&[f64; N]) -> [[f64; N]; N],
{
    fn dim(&self) -> usize {
        N
    }

    #[inline]
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let jacobian = (self.jacobian)(&self.state);
        for column in block.columns_mut() {
            let before: [f64; N] = std::array::from_fn(|i| column[i]);
            for (out, row) in column.iter_mut().zip(&jacobian) {
                *out = row.iter().zip(&before).map(|(j, v)| j * v).sum();
            }
        }
        self.state = (self.next)(&self.state);
        self.done += 1;
        if self.state.iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(DynamicsError::NonFinite {
                what: "state",
                step: self.done,
            })
        }
    }
}
