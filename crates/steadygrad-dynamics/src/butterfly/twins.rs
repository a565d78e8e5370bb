use serde::{Deserialize, Serialize};

use super::{ButterflyError, ButterflySettings, SeparationStep, SeparationSummary, TwinQuantity};

/// The separation of twin trainings, step by step, with its growth rate and its horizon.
///
/// Each quantity is fitted where its separation grows (or shrinks) freely: from the first value
/// above the floor up to the next one at the floor, at saturation or not finite. Later steps count
/// for the horizon alone.
///
/// ```
/// use steadygrad_dynamics::{Butterfly, ButterflySettings, Separation, SeparationStep};
///
/// let steps = (0..50).map(|step| {
///     let apart = Separation { distance: 1e-8 * 1.2f64.powi(step as i32), size: 1.0 };
///     SeparationStep { step, loss: apart, weights: apart, gradients: apart }
/// });
/// let found = Butterfly::new(steps.collect(), ButterflySettings::new(f64::EPSILON))?;
/// assert!((found.weights.exponent?.rate - 1.2f64.ln()).abs() < 1e-9);
/// # Ok::<(), steadygrad_dynamics::ButterflyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Butterfly {
    /// The settings of the reading.
    pub settings: ButterflySettings,
    /// The separations at each step.
    pub steps: Vec<SeparationStep>,
    /// How the losses separate.
    pub loss: SeparationSummary,
    /// How the weights separate.
    pub weights: SeparationSummary,
    /// How the gradients separate.
    pub gradients: SeparationSummary,
}

impl Butterfly {
    /// Reads the separations of twins.
    ///
    /// # Errors
    /// Settings that contradict themselves; no step at all; a first step whose weights are not
    /// finite; steps out of order. A twin that diverges later is no error, and neither is a
    /// quantity with too few points: see [`SeparationSummary`].
    pub fn new(
        steps: Vec<SeparationStep>,
        settings: ButterflySettings,
    ) -> Result<Self, ButterflyError> {
        if !settings.are_usable() {
            return Err(ButterflyError::Settings(settings));
        }
        let first = steps.first().ok_or(ButterflyError::TooFewPoints {
            found: 0,
            needed: settings.min_points,
        })?;
        if first.weights.relative().is_nan() {
            return Err(ButterflyError::NonFinite { step: first.step });
        }
        if let Some(pair) = steps.windows(2).find(|pair| pair[1].step <= pair[0].step) {
            return Err(ButterflyError::Order { step: pair[1].step });
        }
        let summary = |quantity| SeparationSummary::of(quantity, &steps, &settings);
        Ok(Self {
            loss: summary(TwinQuantity::Loss),
            weights: summary(TwinQuantity::Weights),
            gradients: summary(TwinQuantity::Gradients),
            settings,
            steps,
        })
    }
}
