use crate::StepReading;
use crate::stats::global_norm;

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
            weight_norm: total(&reading.weight_norms),
            update_norm: total(&reading.update_norms),
            learning_rate: reading.learning_rate,
        }
    }
}

/// The norm of all parts together; a negative part was not measured.
fn total(norms: &[f64]) -> f64 {
    let measured = |norm: &f64| norm.is_nan() || *norm >= 0.0;
    global_norm(norms.iter().copied().filter(measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_odd_rows() {
        assert_eq!(total(&[]), 0.0);
        assert_eq!(total(&[3.0, -7.0, 4.0]), 5.0);
        assert!(total(&[1.0, f64::NAN]).is_nan());
        assert_eq!(total(&[1.0, f64::INFINITY]), f64::INFINITY);
        assert_eq!(total(&[f64::NEG_INFINITY, 2.0]), 2.0);
    }
}
