use fearless_simd::{f32x8, prelude::*};

/// An optimizer's change of eight values, which have `STATES` values of the optimizer's own each.
pub(super) trait Rule<const STATES: usize>: Copy {
    /// Returns the weights after the step, and changes the states.
    fn step<S: Simd>(
        self,
        weights: f32x8<S>,
        gradient: f32x8<S>,
        states: &mut [f32x8<S>; STATES],
    ) -> f32x8<S>;
}

/// The gradient with an L2 penalty, if any.
#[inline(always)]
pub(super) fn decayed<S: Simd>(
    penalty: Option<f32>,
    weights: f32x8<S>,
    gradient: f32x8<S>,
) -> f32x8<S> {
    match penalty {
        Some(penalty) => weights * penalty + gradient,
        None => gradient,
    }
}
