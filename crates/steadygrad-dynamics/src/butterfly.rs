//! Sensitivity to initial conditions: how fast two almost equal trainings part.

mod fit;
mod separation;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::fit::line;
pub use self::separation::{Separation, SeparationStep, Series};
use crate::float;

/// How separations are read. Every bound is relative: a distance over the size of what is apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ButterflySettings {
    /// Resolution of the numbers that the twins were computed in: `f64::EPSILON`, or
    /// `f32::EPSILON` (as f64).
    #[serde(with = "float")]
    pub resolution: f64,
    /// Separations are fitted up to here. Second-order terms are of the relative size of the separation, so the default
    /// of 0.01 keeps them to a hundredth of the first-order ones.
    #[serde(with = "float")]
    pub saturation: f64,
    /// Separation at which the one twin no longer predicts the other.
    #[serde(with = "float")]
    pub tolerance: f64,
    /// An exponent is fitted to no fewer points than this.
    pub min_points: usize,
}

impl ButterflySettings {
    /// At ten times the resolution round-off is at most a tenth of what is seen.
    const FLOOR_FACTOR: f64 = 10.0;

    /// For twins computed at this resolution: saturation 0.01, tolerance 0.1, eight points.
    pub fn new(resolution: f64) -> Self {
        Self {
            resolution,
            saturation: 0.01,
            tolerance: 0.1,
            min_points: 8,
        }
    }

    /// Separations up to here are round-off.
    pub fn floor(&self) -> f64 {
        Self::FLOOR_FACTOR * self.resolution
    }

    fn check(&self) -> Result<(), ButterflyError> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let sound = positive(self.resolution)
            && positive(self.tolerance)
            && positive(self.saturation)
            && self.saturation > self.floor()
            && self.min_points >= 3;
        sound.then_some(()).ok_or(ButterflyError::Settings(*self))
    }
}

/// `ln separation = ln start + rate * step`, fitted by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeparationRate {
    /// Growth a step; positive when the twins part.
    #[serde(with = "float")]
    pub rate: f64,
    /// Its standard error. Successive residuals resemble each other, which least squares takes
    /// for evidence: the error is widened by `sqrt((1 + r) / (1 - r))`, with `r` their
    /// correlation at lag 1 (Bartlett, 1946).
    #[serde(with = "float")]
    pub standard_error: f64,
    /// Logarithm of the line's separation at step 0.
    #[serde(with = "float")]
    pub log_start: f64,
    /// First step of the fit.
    pub first_step: u64,
    /// Last step of the fit.
    pub last_step: u64,
    /// Number of points in it.
    pub points: usize,
}

impl SeparationRate {
    /// Whether the twins part: the rate is above zero by more than two standard errors.
    pub fn parts(&self) -> bool {
        self.rate > 2.0 * self.standard_error
    }
}

/// When a small difference has become a large one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Horizon {
    /// The separation reached the tolerance, or stopped being finite, at this step.
    Measured {
        /// The step.
        step: u64,
    },
    /// It did not, and would at this step if it went on growing at the exponent's rate.
    Extrapolated {
        /// The step.
        #[serde(with = "float")]
        step: f64,
    },
    /// It did not up to this step, and there is no growth to extrapolate.
    NotReached {
        /// The last step that was measured.
        after: u64,
    },
}

/// How one series separates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parting {
    /// Which.
    pub series: Series,
    /// The exponent, or why there is none.
    pub exponent: Result<SeparationRate, ButterflyError>,
    /// The predictability horizon.
    pub horizon: Horizon,
    /// First step at which the separation was not finite.
    pub diverged_at: Option<u64>,
}

/// Why there is no exponent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ButterflyError {
    /// The settings contradict themselves.
    #[error(
        "resolution, tolerance and saturation must be positive and finite, the saturation above \
         ten times the resolution, and min_points at least 3: {0:?}"
    )]
    Settings(ButterflySettings),
    /// Too few separations lie between round-off and saturation.
    #[error(
        "{found} separations lie between round-off and saturation in one run, and an exponent needs {needed}"
    )]
    TooFewPoints {
        /// How many do.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The twins were never both finite.
    #[error("the twins are not finite at their first step, {step}")]
    NonFinite {
        /// The step.
        step: u64,
    },
    /// There is nothing between the twins.
    #[error(
        "a relative perturbation of {size} makes no twin: it must be positive and finite, and what it moves not all zero"
    )]
    Perturbation {
        /// What was asked for.
        #[serde(with = "float")]
        size: f64,
    },
    /// The subject has no way of moving its inputs.
    #[error(
        "the subject does not say how to move its inputs; implement `Subject::with_moved_inputs`"
    )]
    FixedInputs,
    /// The plan clips by a bound that is none.
    #[error("the twins' gradient clip is {max_norm}; give a positive, finite max_norm")]
    Clip {
        /// The bound.
        #[serde(with = "crate::float")]
        max_norm: f64,
    },
    /// Steps must be counted upwards.
    #[error("step {step} does not come after the one before it")]
    Order {
        /// The step.
        step: u64,
    },
}

/// The separation of twin trainings, step by step, and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Butterfly {
    /// How it was read.
    pub settings: ButterflySettings,
    /// What was measured.
    pub steps: Vec<SeparationStep>,
    /// The losses.
    pub loss: Parting,
    /// The weights.
    pub weights: Parting,
    /// The gradients.
    pub gradients: Parting,
}

impl Butterfly {
    /// Fits each series where it grows (or shrinks) freely: from its first separation above the
    /// floor up to, and without, the next one that is at the floor, saturated or not finite. What
    /// comes later is not looked at for the exponent, only for the horizon.
    ///
    /// # Errors
    /// Settings that contradict themselves; no step at all; a first step whose weights are not
    /// finite; steps out of order. A twin that diverges later is no error, and neither is a
    /// series too short to fit: see [`Parting`].
    pub fn new(
        settings: ButterflySettings,
        steps: Vec<SeparationStep>,
    ) -> Result<Self, ButterflyError> {
        settings.check()?;
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
        let parting = |series| Parting::new(&settings, series, &steps);
        Ok(Self {
            loss: parting(Series::Loss),
            weights: parting(Series::Weights),
            gradients: parting(Series::Gradients),
            settings,
            steps,
        })
    }
}

impl Parting {
    /// `steps` has at least one.
    fn new(settings: &ButterflySettings, series: Series, steps: &[SeparationStep]) -> Self {
        let points: Vec<(u64, f64)> = steps
            .iter()
            .map(|step| (step.step, series.of(step)))
            .collect();
        let diverged_at = points
            .iter()
            .find(|(_, apart)| !apart.is_finite())
            .map(|(step, _)| *step);
        let exponent = match diverged_at {
            Some(step) if step == points[0].0 => Err(ButterflyError::NonFinite { step }),
            _ => exponent(settings, &points),
        };
        // `not below` rather than `at or above`: NaN is beyond any tolerance.
        let reached = points
            .iter()
            .find(|(_, apart)| apart.is_nan() || *apart >= settings.tolerance);
        let last = points[points.len() - 1].0;
        let horizon = match (reached, exponent) {
            (Some((step, _)), _) => Horizon::Measured { step: *step },
            (None, Ok(fit)) if fit.parts() => {
                let step = (settings.tolerance.ln() - fit.log_start) / fit.rate;
                // A line that has passed the tolerance where the twins have not is no forecast.
                if step > last as f64 {
                    Horizon::Extrapolated { step }
                } else {
                    Horizon::NotReached { after: last }
                }
            }
            _ => Horizon::NotReached { after: last },
        };
        Self {
            series,
            exponent,
            horizon,
            diverged_at,
        }
    }
}

fn exponent(
    settings: &ButterflySettings,
    points: &[(u64, f64)],
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
