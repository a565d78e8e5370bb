use super::signals::Losses;

/// Bounds on a reading's global norm, loss and weights, within which the guard keeps its step.
///
/// They are known before the reading is measured. Where gradients are on a device whose answer
/// takes long, the device itself can apply a step within the bounds, while the reading is on its
/// way. A reading within them is finite, and has no
/// [`update_norms`](crate::StepReading::update_norms) and no
/// [`loss_after`](crate::StepReading::loss_after).
///
/// Every detector that can see harm is monotone in norm and loss: what is no harm at a corner of
/// the bounds is none below it. An update is large beside small weights, hence the smallest.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Quiet {
    /// The largest global norm, before clipping.
    pub global_norm: f64,
    /// The largest loss.
    pub loss: f64,
    /// The smallest norm of all weights together.
    pub least_weight_norm: f64,
    /// The largest norm of all weights together.
    pub weight_norm: f64,
    /// By how much the norm of one parameter's weights may exceed its norm at the reading before.
    /// Both readings have the same parameters.
    pub weight_rise: f64,
}

/// What is known about the next reading before it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Next<'a> {
    /// The learning rate that is applied.
    pub(crate) learning_rate: f64,
    /// The losses so far.
    pub(crate) losses: Losses<'a>,
}

/// The norm of all weights stays between these multiples of the last one: no healthy step comes
/// near.
const LEAST_OF_WEIGHTS: f64 = 0.5;
const MOST_OF_WEIGHTS: f64 = 2.0;

impl Quiet {
    /// Bounds around the last norm of all weights, and on nothing else.
    pub(super) fn around(weight_norm: f64) -> Self {
        Self {
            global_norm: f64::INFINITY,
            loss: f64::INFINITY,
            least_weight_norm: LEAST_OF_WEIGHTS * weight_norm,
            weight_norm: MOST_OF_WEIGHTS * weight_norm,
            weight_rise: f64::INFINITY,
        }
    }

    /// The same bounds, with at most this global norm.
    pub(crate) fn with_norm(self, most: f64) -> Self {
        Self {
            global_norm: self.global_norm.min(most),
            ..self
        }
    }
}
