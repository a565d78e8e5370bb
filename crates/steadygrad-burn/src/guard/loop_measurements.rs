/// What only the training loop can measure at a step: the loss, and more where the loop has it.
///
/// An `f64` converts into one with this loss and nothing else. A `None` is "not measured": no
/// detector judges by it. NaN and infinity are faults that the guard acts on.
///
/// ```
/// use steadygrad_burn::LoopMeasurements;
///
/// let measured = LoopMeasurements::new(0.25).with_depth_growth(1.1f64.ln());
/// assert_eq!(measured.loss, 0.25);
/// assert_eq!(measured.loss_after, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LoopMeasurements {
    /// The loss of the step's batch, before the update.
    pub loss: f64,
    /// The loss of the *previous* step's batch, computed again after the previous update. If it is
    /// above what it was, the previous step went too far
    /// ([`Overshoot`](steadygrad::detect::Overshoot)).
    pub loss_after: Option<f64>,
    /// Natural logarithm of the gradient's growth per layer, from the output to the input.
    pub depth_growth: Option<f64>,
    /// Natural logarithm of the gradient's growth per time step, backwards.
    pub time_growth: Option<f64>,
}

impl LoopMeasurements {
    /// Measurements with this loss and nothing else.
    pub fn new(loss: f64) -> Self {
        Self {
            loss,
            loss_after: None,
            depth_growth: None,
            time_growth: None,
        }
    }

    /// Sets the loss of the previous batch after its update.
    #[must_use]
    pub fn with_loss_after(self, loss_after: impl Into<Option<f64>>) -> Self {
        Self {
            loss_after: loss_after.into(),
            ..self
        }
    }

    /// Sets the logarithm of the growth per layer.
    #[must_use]
    pub fn with_depth_growth(self, depth_growth: impl Into<Option<f64>>) -> Self {
        Self {
            depth_growth: depth_growth.into(),
            ..self
        }
    }

    /// Sets the logarithm of the growth per time step.
    #[must_use]
    pub fn with_time_growth(self, time_growth: impl Into<Option<f64>>) -> Self {
        Self {
            time_growth: time_growth.into(),
            ..self
        }
    }
}

impl From<f64> for LoopMeasurements {
    fn from(loss: f64) -> Self {
        Self::new(loss)
    }
}
