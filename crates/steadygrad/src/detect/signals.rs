use crate::StepReading;
use crate::reading::total;

/// A reading with what several detectors need of it, worked out once.
#[derive(Debug, Clone, Copy)]
pub struct Signals<'a> {
    /// The reading.
    pub reading: &'a StepReading,
    /// Global gradient norm as measured. NaN or infinite when any gradient is.
    pub global_norm: f64,
    /// Global gradient norm as it would be applied, after the user's own clipping.
    pub applied_norm: f64,
    /// L2 norm of all measured weights together; 0 when none was measured, NaN or infinite when
    /// any is.
    pub weight_norm: f64,
    /// L2 norm of the previous step's whole update; 0 when it was not measured.
    pub update_norm: f64,
    /// Learning rate as it would be applied, with the guard's scale.
    pub learning_rate: f64,
}

impl<'a> Signals<'a> {
    /// Of a reading whose gradients and learning rate nobody changes.
    pub fn of(reading: &'a StepReading) -> Self {
        let norm = reading.gradients.global_norm();
        Self {
            reading,
            global_norm: norm,
            applied_norm: norm,
            weight_norm: reading.weight_norm().unwrap_or(0.0),
            update_norm: total(&reading.update_norms).unwrap_or(0.0),
            learning_rate: reading.learning_rate,
        }
    }
}
