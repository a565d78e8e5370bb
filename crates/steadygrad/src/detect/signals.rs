use super::scale::{RunningScale, Spread};
use crate::StepReading;
use crate::reading::total_norm;

/// A reading with what several detectors need of it, worked out once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals<'a> {
    /// The reading.
    pub(crate) reading: &'a StepReading,
    /// Global gradient norm as measured. NaN or infinite when any gradient is.
    pub(crate) global_norm: f64,
    /// Global gradient norm as it would be applied, after the user's own clipping.
    pub(crate) applied_norm: f64,
    /// L2 norm of all measured weights together; 0 when none was measured, NaN or infinite when
    /// any is.
    pub(crate) weight_norm: f64,
    /// L2 norm of the previous step's whole update; 0 when it was not measured.
    pub(crate) update_norm: f64,
    /// Learning rate as it would be applied, with the guard's scale.
    pub(crate) learning_rate: f64,
    /// The losses of the readings before.
    pub(crate) losses: Losses<'a>,
}

/// The losses so far, which several detectors judge by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Losses<'a> {
    /// The last ones.
    pub(crate) scale: &'a RunningScale,
    /// Where they lie; `None` during the warm-up.
    pub(crate) spread: Option<Spread>,
    /// The largest loss that is no harm; `None` where that is unknown.
    pub(crate) largest_usual: Option<f64>,
}

impl Losses<'static> {
    /// No losses yet.
    pub(crate) const NONE: Self = Self {
        scale: &RunningScale::EMPTY,
        spread: None,
        largest_usual: None,
    };
}

impl<'a> Signals<'a> {
    /// Signals of the first reading of a run, whose gradients and learning rate
    /// are applied as they are.
    pub(crate) fn of(reading: &'a StepReading) -> Self {
        let norm = reading.gradients.global_norm();
        Self {
            reading,
            global_norm: norm,
            applied_norm: norm,
            weight_norm: reading.weight_norm().unwrap_or(0.0),
            update_norm: total_norm(&reading.update_norms).unwrap_or(0.0),
            learning_rate: reading.learning_rate,
            losses: Losses::NONE,
        }
    }

    /// The same reading after these losses.
    pub(crate) fn after(self, losses: Losses<'a>) -> Self {
        Self { losses, ..self }
    }
}
