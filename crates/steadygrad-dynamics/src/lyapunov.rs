use serde::{Deserialize, Serialize};

use super::{DynamicsError, TangentSystem};
use crate::float;
use carrier::Carrier;

mod carrier;
mod worn;

/// Finite-time exponents a run is cut into, for its standard error: 32 batch means make the error
/// itself known to about 13 % (`1 / sqrt(2 (n - 1))`), and can be paired twice.
const WINDOWS: usize = 32;

/// Fewest batches that an error is read from.
const FEWEST_BATCHES: usize = 8;

/// How a spectrum is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LyapunovSettings {
    /// Number of leading exponents; `None` for all.
    pub vectors: Option<usize>,
    /// Steps that are not counted: the state finds its attractor, the vectors their directions.
    pub transient: usize,
    /// Steps that are counted; `None` for all that the system has after the transient.
    pub steps: Option<usize>,
    /// Steps between two factorisations. `None` chooses them on the way, so that no column loses
    /// more than six digits: up to 16 vectors are checked after each step and factorised once one
    /// of them has lost three; more, for which such a check costs as much as the factorisation
    /// that it saves, go on for as long as the worst rate so far allows, at most 16 steps, less
    /// when a column grows or shrinks a hundredfold. [`LyapunovSpectrum::digits_lost`] is what
    /// came of it.
    pub interval: Option<usize>,
    /// Seed of the first tangent vectors.
    pub seed: u64,
}

impl Default for LyapunovSettings {
    /// All exponents over all steps, without a transient.
    fn default() -> Self {
        Self {
            vectors: None,
            transient: 0,
            steps: None,
            interval: None,
            seed: 0,
        }
    }
}

/// A Lyapunov exponent: the mean of `ln` growth per unit of time along one direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exponent {
    /// Natural logarithm of the growth per unit of time.
    #[serde(with = "float")]
    pub value: f64,
    /// Standard error of `value` from batch means, the largest over batches of one, two and four
    /// windows: when neighbouring windows depend on each other, the longer batches show it
    /// (Flyvbjerg and Petersen, 1989). An orbit that sticks for longer than a batch has a larger
    /// error than this one. A run with fewer than two windows has none.
    #[serde(with = "float::option")]
    pub standard_error: Option<f64>,
}

/// The exponents of one part of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Steps it took.
    pub steps: usize,
    /// Finite-time exponents, in the order of [`LyapunovSpectrum::exponents`].
    #[serde(with = "float::list")]
    pub exponents: Vec<f64>,
}

/// The growth rates of a system, largest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LyapunovSpectrum {
    /// Largest first.
    pub exponents: Vec<Exponent>,
    /// The parts of the run, in order. Their numbers of steps differ by one at most.
    pub windows: Vec<Window>,
    /// What was asked for.
    pub settings: LyapunovSettings,
    /// Steps that were counted.
    pub steps: usize,
    /// Units of time a step takes.
    pub time_step: f64,
    /// Largest number of steps between two factorisations.
    pub longest_interval: usize,
    /// Most decimal digits, of the 16 that f64 has, that a column lost between two factorisations:
    /// `log10` of its length over the length of its own part.
    #[serde(with = "float")]
    pub digits_lost: f64,
    /// Whether these are all exponents that the system has.
    pub complete: bool,
}

impl LyapunovSpectrum {
    /// Measures the spectrum of a system by carrying an orthonormal block along and
    /// re-orthonormalising it (Benettin et al., 1980; Shimada and Nagashima, 1979):
    /// `lambda_i = sum ln |R_ii| / time`.
    ///
    /// Vectors start in random directions. Over a sequence that ends, such as a network's depth,
    /// the exponents carry a bias of the order of `1 / steps`, until the vectors have turned into
    /// their directions; [`super::JacobianProduct`] has none.
    ///
    /// # Errors
    /// [`DynamicsError`]: a non-finite state or tangent, a rank below the number of vectors, vectors
    /// that drifted apart within an interval, fewer steps than transient and counted ones (two at
    /// least), a width of zero or one below the number of vectors, or a setting out of range.
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

    /// The largest exponent. Above 0, nearby states and gradients separate exponentially.
    pub fn lambda_1(&self) -> Option<Exponent> {
        self.exponents.first().copied()
    }

    /// The sum of all exponents measured: the rate at which volumes grow.
    pub fn sum(&self) -> f64 {
        self.exponents.iter().map(|exponent| exponent.value).sum()
    }

    /// Kolmogorov-Sinai entropy by Pesin's formula, the sum of the positive exponents, in nats
    /// per unit of time. `None` when more exponents than were measured may be positive, or one is
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

    /// Kaplan-Yorke dimension `k + (lambda_1 + ... + lambda_k) / |lambda_(k+1)|`, `k` the largest
    /// number of exponents whose sum is not negative (Kaplan and Yorke, 1979). `None` when that
    /// sum stays above 0 and exponents are missing, or one is not finite; the number of exponents
    /// when none is missing.
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

    /// The convergence trace: the exponents as they stood after each window. The last row holds
    /// the values of [`LyapunovSpectrum::exponents`].
    pub fn trace(&self) -> Vec<Vec<f64>> {
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

/// A mean over `weight` steps.
#[derive(Clone, Copy)]
struct Batch {
    weight: f64,
    value: f64,
}

fn mean(batches: &[Batch]) -> f64 {
    let sum: f64 = batches.iter().map(|batch| batch.weight * batch.value).sum();
    sum / batches.iter().map(|batch| batch.weight).sum::<f64>()
}

/// Of the mean of `batches`, by blocking. A batch counts by its weight.
fn standard_error(mut batches: Vec<Batch>) -> Option<f64> {
    let mut largest: Option<f64> = None;
    while batches.len() >= 2 && (largest.is_none() || batches.len() >= FEWEST_BATCHES) {
        let n = batches.len() as f64;
        let middle = mean(&batches);
        let total: f64 = batches.iter().map(|batch| batch.weight).sum();
        let squares: f64 = batches
            .iter()
            .map(|batch| (batch.weight / total * (batch.value - middle)).powi(2))
            .sum();
        let error = (squares * n / (n - 1.0)).sqrt();
        largest = Some(largest.map_or(error, |largest| largest.max(error)));
        batches = batches
            .chunks_exact(2)
            .map(|pair| Batch {
                weight: pair[0].weight + pair[1].weight,
                value: mean(pair),
            })
            .collect();
    }
    largest
}

/// Fewest steps that are counted: one has no error.
const FEWEST_STEPS: usize = 2;

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
