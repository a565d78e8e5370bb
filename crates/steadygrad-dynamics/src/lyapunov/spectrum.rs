use serde::{Deserialize, Serialize};

use super::LyapunovSettings;
use super::batch::{Batch, mean, standard_error};
use super::carrier::Carrier;
use crate::{DynamicsError, Exponent, TangentSystem, float};

/// Windows that a run is cut into, for its standard error. 32 batch means give the error itself to
/// about 13 % (`1 / sqrt(2 (n - 1))`), and can be paired twice.
const WINDOWS: usize = 32;

/// Fewest steps that are counted: one step has no error.
const FEWEST_STEPS: usize = 2;

/// The exponents of one part of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Window {
    /// The number of its steps.
    pub steps: usize,
    /// Finite-time exponents, in the order of [`LyapunovSpectrum::exponents`].
    #[serde(with = "float::list")]
    pub exponents: Vec<f64>,
}

/// The growth rates of a system, the largest first.
///
/// `lambda_i = sum ln |R_ii| / time`, where an orthonormal block `Q_k R_k = J_k Q_(k-1)` follows
/// the system and is factorised again and again.
///
/// Source: Benettin et al. (1980); Shimada and Nagashima (1979).
///
/// Defaults ([`LyapunovSettings`]): all exponents, all steps, no transient, seed 0, and an interval
/// that keeps ten digits.
///
/// Performance: a step costs the system's own step on a block of `vectors` columns. A factorisation
/// costs `2 width vectors^2`, every one to 16 steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LyapunovSpectrum {
    /// The exponents, the largest first.
    ///
    /// The standard error comes from batch means: the largest over batches of one, two and four
    /// windows. When neighbouring windows depend on each other, the longer batches show it. An
    /// orbit that sticks for longer than a batch has a larger error than this one. A run with fewer
    /// than two windows has none.
    pub exponents: Vec<Exponent>,
    /// The parts of the run, in order. Their numbers of steps differ by one at most.
    pub windows: Vec<Window>,
    /// The settings of the measurement.
    pub settings: LyapunovSettings,
    /// The number of steps that were counted.
    pub steps: usize,
    /// The units of time that a step takes.
    pub time_step: f64,
    /// The largest number of steps between two factorisations.
    pub longest_interval: usize,
    /// The most decimal digits, of the 16 that f64 has, that a column lost between two
    /// factorisations: `log10` of its length over the length of the part that no other column has.
    #[serde(with = "float")]
    pub digits_lost: f64,
    /// Whether the system has no other exponents.
    pub complete: bool,
}

impl LyapunovSpectrum {
    /// Measures the spectrum of a system. The system moves on.
    ///
    /// The vectors start in random directions. Over a sequence that ends, such as a network's
    /// depth, the exponents have a bias of the order of `1 / steps`: the vectors take a while to
    /// turn into their directions. [`JacobianProduct`](crate::JacobianProduct) has no such bias.
    ///
    /// # Errors
    /// [`DynamicsError`] for a state or a tangent vector that is not finite, a rank below the
    /// number of vectors, vectors that became dependent within an interval, too few steps (two are
    /// counted at least), a width of zero or below the number of vectors, and a setting out of
    /// range.
    pub fn measure(
        system: &mut impl TangentSystem,
        settings: LyapunovSettings,
    ) -> Result<Self, DynamicsError> {
        let width = system.dim();
        if width == 0 {
            return Err(DynamicsError::ZeroWidth { step: 0 });
        }
        let vectors = settings.vectors.unwrap_or(width);
        if vectors == 0 || vectors > width {
            return Err(DynamicsError::VectorCount { vectors, width });
        }
        let steps = steps_to_count(system, &settings)?;
        let time_step = system.time_step();
        let mut carrier = Carrier::new(system, vectors, &settings)?;
        carrier.advance(settings.transient)?;
        let count = WINDOWS.min(steps);
        let mut windows = Vec::with_capacity(count);
        for window in 0..count {
            let length = (window + 1) * steps / count - window * steps / count;
            let time = length as f64 * time_step;
            let totals = carrier.advance(length)?;
            windows.push(Window {
                steps: length,
                exponents: totals.iter().map(|total| total / time).collect(),
            });
        }
        let (exponents, windows) = sorted(windows, vectors);
        Ok(Self {
            exponents,
            windows,
            settings,
            steps,
            time_step,
            longest_interval: carrier.longest(),
            digits_lost: carrier.lost().log10(),
            complete: carrier.narrowest() == vectors,
        })
    }

    /// The largest exponent. Above 0, nearby states and gradients separate exponentially. `None`
    /// without exponents.
    pub fn lambda_1(&self) -> Option<Exponent> {
        self.exponents.first().copied()
    }

    /// The sum of all measured exponents: the rate at which volumes grow.
    pub fn sum(&self) -> f64 {
        self.exponents.iter().map(|exponent| exponent.value).sum()
    }

    /// The Kolmogorov-Sinai entropy by Pesin's formula: the sum of the positive exponents, in nats
    /// per unit of time. `None` when an exponent that was not measured may be positive, or one is
    /// not finite.
    pub fn kolmogorov_sinai_entropy(&self) -> Option<f64> {
        let last = self.exponents.last()?.value;
        let known = self.are_finite();
        (known && (self.complete || last <= 0.0)).then(|| {
            self.exponents
                .iter()
                .map(|exponent| exponent.value.max(0.0))
                .sum()
        })
    }

    /// The Kaplan-Yorke dimension `k + (lambda_1 + ... + lambda_k) / |lambda_(k+1)|`, with `k` the
    /// largest number of exponents whose sum is not negative (Kaplan and Yorke, 1979). It is the
    /// number of exponents when their sum stays above 0 and none is missing. `None` when the sum
    /// stays above 0 and exponents are missing, or one is not finite.
    pub fn kaplan_yorke_dimension(&self) -> Option<f64> {
        if !self.are_finite() {
            return None;
        }
        let mut sum = 0.0;
        for (k, exponent) in self.exponents.iter().enumerate() {
            if sum + exponent.value < 0.0 {
                return Some(k as f64 + sum / exponent.value.abs());
            }
            sum += exponent.value;
        }
        self.complete.then_some(self.exponents.len() as f64)
    }

    /// Whether there are exponents and all of them are finite.
    fn are_finite(&self) -> bool {
        let mut values = self.exponents.iter().map(|exponent| exponent.value);
        !self.exponents.is_empty() && values.all(f64::is_finite)
    }

    /// The convergence of the exponents: their values after each window. The last row holds the
    /// values of [`LyapunovSpectrum::exponents`].
    pub fn convergence(&self) -> Vec<Vec<f64>> {
        let mut sums = vec![0.0; self.exponents.len()];
        let mut done = 0;
        self.windows
            .iter()
            .map(|window| {
                done += window.steps;
                for (sum, value) in sums.iter_mut().zip(&window.exponents) {
                    *sum += window.steps as f64 * value;
                }
                sums.iter().map(|sum| sum / done as f64).collect()
            })
            .collect()
    }
}

/// The exponents over all windows, largest first, and the windows in the same order.
fn sorted(windows: Vec<Window>, vectors: usize) -> (Vec<Exponent>, Vec<Window>) {
    let exponent = |j: usize| {
        let batches: Vec<Batch> = windows
            .iter()
            .map(|window| Batch {
                weight: window.steps as f64,
                value: window.exponents[j],
            })
            .collect();
        Exponent {
            value: mean(&batches),
            standard_error: standard_error(batches),
        }
    };
    let mut exponents: Vec<(usize, Exponent)> = (0..vectors).map(|j| (j, exponent(j))).collect();
    // Close exponents can come out of order.
    exponents.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
    let windows = windows
        .into_iter()
        .map(|window| Window {
            exponents: exponents
                .iter()
                .map(|(j, _)| window.exponents[*j])
                .collect(),
            ..window
        })
        .collect();
    let exponents = exponents.into_iter().map(|(_, exponent)| exponent);
    (exponents.collect(), windows)
}

/// The number of steps that are counted after the transient.
fn steps_to_count(
    system: &impl TangentSystem,
    settings: &LyapunovSettings,
) -> Result<usize, DynamicsError> {
    let transient = settings.transient;
    let (available, wanted) = match (system.remaining(), settings.steps) {
        (Some(left), wanted) => (left, wanted),
        (None, Some(steps)) => (transient.saturating_add(steps), Some(steps)),
        (None, None) => {
            return Err(DynamicsError::Setting {
                field: "steps",
                value: f64::INFINITY,
                allowed: "a number, for a system that never ends",
            });
        }
    };
    let left = available.saturating_sub(transient);
    let steps = wanted.unwrap_or(left);
    let needed = steps.max(FEWEST_STEPS);
    if left < needed || steps < needed {
        return Err(DynamicsError::TooFewSteps {
            available: available.min(transient.saturating_add(steps)),
            transient,
            needed,
        });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_and_dimension_are_unknown_while_exponents_are_missing() {
        let exponents = |values: &[f64], complete| LyapunovSpectrum {
            exponents: values
                .iter()
                .map(|value| Exponent {
                    value: *value,
                    standard_error: None,
                })
                .collect(),
            windows: vec![],
            settings: LyapunovSettings::default(),
            steps: 2,
            time_step: 1.0,
            longest_interval: 1,
            digits_lost: 0.0,
            complete,
        };
        for (values, complete, entropy, dimension) in [
            (&[1.0, 0.5][..], false, None, None),
            (&[1.0, 0.5], true, Some(1.5), Some(2.0)),
            // No other exponent can be positive, but how far the sum stays above 0 is unknown.
            (&[1.0, -0.5], false, Some(1.0), None),
            (&[1.0, -0.5], true, Some(1.0), Some(2.0)),
            (&[1.0, -0.5, -2.0], false, Some(1.0), Some(2.25)),
            (&[1.0, f64::NAN], true, None, None),
            (&[f64::INFINITY, -1.0], true, None, None),
            (&[], true, None, None),
        ] {
            let spectrum = exponents(values, complete);
            let found = (
                spectrum.kolmogorov_sinai_entropy(),
                spectrum.kaplan_yorke_dimension(),
            );
            assert_eq!(found, (entropy, dimension), "{values:?} {complete}");
        }
    }
}
