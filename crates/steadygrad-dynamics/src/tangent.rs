use crate::{Block, DynamicsError};

/// A sequence of differentiable steps that multiplies tangent vectors by its Jacobians.
///
/// This is the one interface of everything whose growth can be measured: maps, flows, a recurrent
/// network through time, the layers of a network through depth, and the backward pass through
/// either. A step of a backward pass multiplies by the transposed Jacobian. A product and its
/// transpose have the same singular values, so a framework that gives only vector-Jacobian products
/// (one backward pass) gives the same spectrum.
///
/// A linear map by hand:
///
/// ```
/// use steadygrad_dynamics::{Block, DynamicsError, TangentSystem};
/// use steadygrad_dynamics::{LyapunovSettings, LyapunovSpectrum};
///
/// struct Doubling;
/// impl TangentSystem for Doubling {
///     fn dim(&self) -> usize {
///         1
///     }
///     fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
///         block.values_mut().iter_mut().for_each(|value| *value *= 2.0);
///         Ok(())
///     }
/// }
/// let settings = LyapunovSettings::default().with_steps(10);
/// let spectrum = LyapunovSpectrum::measure(&mut Doubling, settings)?;
/// assert!((spectrum.exponents[0].value - 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), DynamicsError>(())
/// ```
pub trait TangentSystem {
    /// The length of the tangent vectors that the next step takes.
    fn dim(&self) -> usize;

    /// The number of steps left, or `None` for a system that never ends.
    fn remaining(&self) -> Option<usize> {
        None
    }

    /// The units of time that a step takes: 1 for a map, a layer or a time step. Exponents are per
    /// unit.
    fn time_step(&self) -> f64 {
        1.0
    }

    /// Advances by one step and multiplies every column of `block` by that step's Jacobian, in
    /// place: `block <- J block`.
    ///
    /// `block` has [`TangentSystem::dim`] rows and any number of columns. Without columns only the
    /// state moves. Afterwards the block has as many rows as the new `dim`.
    ///
    /// # Errors
    /// [`DynamicsError::NonFinite`] when the state overflows, and [`DynamicsError::ZeroWidth`]. The
    /// caller finds a tangent vector that overflows.
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError>;
}
