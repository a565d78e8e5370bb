use super::{DetectorConfig, DetectorState};

/// Readings that no detector would find suspicious enough to act on, told before they are measured: those
/// with a global norm, a loss and weights within these bounds, and everything finite.
///
/// Where gradients are on a device whose answer takes long, a step within the bounds can be applied by
/// the device itself, while the reading is on its way. Bounds of a reading that has no
/// [`update_norms`](crate::StepReading::update_norms) and no [`loss_after`](crate::StepReading::loss_after).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quiet {
    /// The largest global norm, before clipping.
    pub global_norm: f64,
    /// The largest loss.
    pub loss: f64,
    /// The smallest norm of all weights together.
    pub least_weight_norm: f64,
    /// The largest.
    pub weight_norm: f64,
    /// By how much the norm of one parameter's weights may be above that of the reading before, which has to
    /// be of the same parameters.
    pub weight_rise: f64,
}

impl DetectorConfig {
    /// The bounds of the next reading at this learning rate; `None` where none can be told: during the
    /// warm-up of the scales, right after a step that was not applied, or where the learning rate is odd.
    ///
    /// Every rule that can do harm is monotone in norm and loss, so what is no harm at a corner is none below; an
    /// update is large beside small weights, hence the smallest.
    pub fn quiet(&self, state: &DetectorState, learning_rate: f64) -> Option<Quiet> {
        let is_rate = learning_rate.is_finite() && learning_rate >= 0.0;
        let jump = &self.learning_rate_jump;
        if !is_rate
            || jump
                .before(&state.learning_rate_jump, learning_rate)
                .is_some()
        {
            return None;
        }
        let loss = self.loss_spike.usual(&state.loss_spike)?.1;
        let loss = self
            .loss_relapse
            .least_harmful(&state.loss_spike, state.loss_relapse, loss)
            .unwrap_or(loss);
        let (weight_norm, weight_rise) = self.weight_growth.quiet(&state.weight_growth)?;
        let least_weight_norm = LEAST_OF_WEIGHTS * weight_norm;
        let usual = self.norm_spike.bound.usual(&state.norm_spike)?;
        let by_update = self.update_ratio.largest_planned_norm(
            &state.update_ratio,
            learning_rate,
            least_weight_norm,
        );
        let most = usual.min(self.near_overflow.max_abs).min(by_update);
        let global_norm = self.norm_growth.quiet(&state.norm_growth, most)?;
        Some(Quiet {
            global_norm,
            loss,
            least_weight_norm,
            weight_norm: self.weight_growth.jump.min(MOST_OF_WEIGHTS) * weight_norm,
            weight_rise,
        })
    }
}

/// Between what the norm of all weights may be, of what it was: no healthy step comes near.
const LEAST_OF_WEIGHTS: f64 = 0.5;
const MOST_OF_WEIGHTS: f64 = 2.0;
