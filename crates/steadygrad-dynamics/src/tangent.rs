use super::{Block, DynamicsError};

/// A sequence of differentiable steps that multiplies tangent vectors by its Jacobians.
///
/// The one interface of everything whose growth can be measured: maps and flows, a recurrent
/// network through time, a network's layers through depth, and the backward pass through either,
/// where a step multiplies by the transposed Jacobian. Product and transposed product have the
/// same singular values, so a framework that only gives vector-Jacobian products (one backward
/// pass) gives the same spectrum.
pub trait TangentSystem {
    /// Length of the tangent vectors that the next step takes.
    fn dim(&self) -> usize;

    /// Steps left, or `None` for a system that goes on for ever.
    fn remaining(&self) -> Option<usize> {
        None
    }

    /// Units of time a step takes: 1 for a map, a layer or a time step. Exponents are per unit.
    fn time_step(&self) -> f64 {
        1.0
    }

    /// Goes one step on and multiplies every column of `block` by that step's Jacobian, in place:
    /// `block <- J block`. `block` has [`TangentSystem::dim`] rows, any number of columns (none
    /// moves the state alone), and afterwards as many rows as the new `dim`.
    ///
    /// # Errors
    /// [`DynamicsError::NonFinite`] when the state overflows, [`DynamicsError::ZeroWidth`].
    /// A tangent that overflows is found by the caller.
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError>;
}
