use serde::{Deserialize, Serialize};

use super::fit::line;
use super::{ButterflyError, ButterflySettings, SeparationStep, TwinQuantity};
use crate::float;

/// The growth of a separation: `ln separation = log_start + rate * step`, fitted by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SeparationRate {
    /// The natural logarithm of the growth per step. Positive when the twins separate.
    #[serde(with = "float")]
    pub rate: f64,
    /// The standard error of `rate`. Successive residuals resemble each other, which least squares
    /// takes for evidence. So the error is widened by `sqrt((1 + r) / (1 - r))`, with `r` their
    /// correlation at lag 1 (Bartlett, 1946).
    #[serde(with = "float")]
    pub standard_error: f64,
    /// The logarithm of the fitted separation at step 0.
    #[serde(with = "float")]
    pub log_start: f64,
    /// The first step of the fit.
    pub first_step: u64,
    /// The last step of the fit.
    pub last_step: u64,
    /// The number of points in the fit.
    pub points: usize,
}

impl SeparationRate {
    /// Whether the twins separate: the rate is above zero by more than two standard errors.
    pub fn separates(&self) -> bool {
        self.rate > 2.0 * self.standard_error
    }
}

/// When a small difference has become a large one. The three cases are all that there are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Horizon {
    /// The separation reached the tolerance, or stopped being finite, at this step.
    Measured {
        /// The step.
        step: u64,
    },
    /// The separation will reach the tolerance at this step, if it grows on at the fitted rate.
    Extrapolated {
        /// The step.
        #[serde(with = "float")]
        step: f64,
    },
    /// The separation stayed below the tolerance, and there is no growth to extrapolate.
    NotReached {
        /// The last step that was measured.
        after: u64,
    },
}

/// How the twins separate in one quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SeparationSummary {
    /// The quantity.
    #[serde(rename = "series")]
    pub quantity: TwinQuantity,
    /// The growth per step, or the reason why there is none.
    pub exponent: Result<SeparationRate, ButterflyError>,
    /// The predictability horizon.
    pub horizon: Horizon,
    /// The first step at which the separation was not finite.
    pub diverged_at: Option<u64>,
}

impl SeparationSummary {
    /// Reads one quantity. `steps` has at least one entry.
    pub(super) fn of(
        quantity: TwinQuantity,
        steps: &[SeparationStep],
        settings: &ButterflySettings,
    ) -> Self {
        let points: Vec<(u64, f64)> = steps
            .iter()
            .map(|step| (step.step, quantity.of(step)))
            .collect();
        let diverged_at = points
            .iter()
            .find(|(_, apart)| !apart.is_finite())
            .map(|(step, _)| *step);
        let exponent = match diverged_at {
            Some(step) if step == points[0].0 => Err(ButterflyError::NonFinite { step }),
            _ => exponent(&points, settings),
        };
        Self {
            quantity,
            horizon: horizon(&points, exponent.ok(), settings.tolerance),
            exponent,
            diverged_at,
        }
    }
}

/// Fits the first stretch of separations between round-off and saturation.
fn exponent(
    points: &[(u64, f64)],
    settings: &ButterflySettings,
) -> Result<SeparationRate, ButterflyError> {
    let floor = settings.floor();
    let window: Vec<(f64, f64)> = points
        .iter()
        .skip_while(|(_, apart)| *apart <= floor)
        .take_while(|(_, apart)| *apart > floor && *apart < settings.saturation)
        .map(|(step, apart)| (*step as f64, apart.ln()))
        .collect();
    let (found, needed) = (window.len(), settings.min_points);
    let (true, Some(first), Some(last)) = (found >= needed, window.first(), window.last()) else {
        return Err(ButterflyError::TooFewPoints { found, needed });
    };
    let fitted = line(&window);
    Ok(SeparationRate {
        rate: fitted.slope,
        standard_error: fitted.slope_error,
        log_start: fitted.intercept,
        first_step: first.0 as u64,
        last_step: last.0 as u64,
        points: found,
    })
}

/// The horizon of at least one point.
fn horizon(points: &[(u64, f64)], rate: Option<SeparationRate>, tolerance: f64) -> Horizon {
    // A NaN counts as beyond any tolerance.
    let reached = points
        .iter()
        .find(|(_, apart)| apart.is_nan() || *apart >= tolerance);
    if let Some((step, _)) = reached {
        return Horizon::Measured { step: *step };
    }
    let after = points[points.len() - 1].0;
    match rate.filter(SeparationRate::separates) {
        Some(fit) => {
            let step = (tolerance.ln() - fit.log_start) / fit.rate;
            // The line has passed the tolerance before the last step, and the twins have not: it
            // says nothing about later steps.
            if step > after as f64 {
                Horizon::Extrapolated { step }
            } else {
                Horizon::NotReached { after }
            }
        }
        None => Horizon::NotReached { after },
    }
}
