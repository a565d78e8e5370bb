use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::orthonormalize::orthonormalize;
use super::{Block, DynamicsError, TangentSystem};
use crate::float;

/// Between two factorisations the largest and the smallest column may drift apart by this factor,
/// in logarithms. Orthonormal columns that are multiplied by a matrix of condition `c` keep
/// `16 - log10 c` digits in the smallest, so a million leaves ten.
const LOG_CONDITION: f64 = 13.8;

/// No longer than this between two factorisations, whatever the condition: columns that all grow
/// or shrink alike would otherwise leave the range of f64 (`e^709`) unnoticed.
const LOG_SIZE: f64 = 200.0;

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
    /// Steps between two factorisations; `None` chooses, step by step, the longest interval in
    /// which no column loses more than six digits.
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

/// The growth rates of a system, largest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LyapunovSpectrum {
    /// Largest first.
    pub exponents: Vec<Exponent>,
    /// Finite-time exponents: one row a window of equally many steps, in the order of `exponents`.
    pub windows: Vec<Vec<f64>>,
    /// What was asked for.
    pub settings: LyapunovSettings,
    /// Steps that were counted.
    pub steps: usize,
    /// Units of time a step takes.
    pub time_step: f64,
    /// Largest number of steps between two factorisations.
    pub longest_interval: usize,
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
    /// [`DynamicsError`]: a non-finite state or tangent, a rank below the number of vectors, fewer
    /// steps than transient and two more, a zero width, or a setting out of range.
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
        let mut carrier = Carrier::new(system, vectors, &settings)?;
        carrier.advance(settings.transient)?;
        carrier.complete = system_is_square(&carrier, vectors);
        let count = WINDOWS.min(steps);
        let mut windows = Vec::with_capacity(count);
        for window in 0..count {
            let length = (window + 1) * steps / count - window * steps / count;
            let time = length as f64 * carrier.system.time_step();
            carrier.totals.fill(0.0);
            carrier.advance(length)?;
            carrier.complete &= system_is_square(&carrier, vectors);
            windows.push((
                length,
                carrier.totals.iter().map(|total| total / time).collect(),
            ));
        }
        let (complete, longest_interval) = (carrier.complete, carrier.longest);
        Ok(Self::from_windows(
            windows,
            steps,
            system.time_step(),
            complete,
            longest_interval,
            settings,
        ))
    }

    fn from_windows(
        windows: Vec<(usize, Vec<f64>)>,
        steps: usize,
        time_step: f64,
        complete: bool,
        longest_interval: usize,
        settings: LyapunovSettings,
    ) -> Self {
        let vectors = windows.first().map_or(0, |(_, row)| row.len());
        let exponent = |j: usize| {
            let value = windows
                .iter()
                .map(|(length, row)| *length as f64 * row[j])
                .sum::<f64>()
                / steps as f64;
            Exponent {
                value,
                standard_error: standard_error(windows.iter().map(|(_, row)| row[j]).collect()),
            }
        };
        let mut exponents: Vec<(usize, Exponent)> =
            (0..vectors).map(|j| (j, exponent(j))).collect();
        // Close exponents can come out of order; the sort is stable and the windows follow it.
        exponents.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
        let windows = windows
            .into_iter()
            .map(|(_, row)| exponents.iter().map(|(j, _)| row[*j]).collect())
            .collect();
        Self {
            exponents: exponents
                .into_iter()
                .map(|(_, exponent)| exponent)
                .collect(),
            windows,
            settings,
            steps,
            time_step,
            longest_interval,
            complete,
        }
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
    /// per unit of time. `None` when more exponents than were measured may be positive.
    pub fn kolmogorov_sinai_entropy(&self) -> Option<f64> {
        let last = self.exponents.last()?.value;
        (self.complete || last <= 0.0).then(|| {
            self.exponents
                .iter()
                .map(|exponent| exponent.value.max(0.0))
                .sum()
        })
    }

    /// Kaplan-Yorke dimension `k + (lambda_1 + ... + lambda_k) / |lambda_(k+1)|`, `k` the largest
    /// number of exponents whose sum is not negative (Kaplan and Yorke, 1979). `None` when that
    /// sum stays above 0 and exponents are missing; the number of exponents when none is.
    pub fn kaplan_yorke_dimension(&self) -> Option<f64> {
        let mut sum = 0.0;
        for (k, exponent) in self.exponents.iter().enumerate() {
            if sum + exponent.value < 0.0 {
                return Some(k as f64 + sum / exponent.value.abs());
            }
            sum += exponent.value;
        }
        self.complete.then_some(self.exponents.len() as f64)
    }

    /// The convergence trace: the exponents as they stood after each window.
    pub fn trace(&self) -> Vec<Vec<f64>> {
        let mut sums = vec![0.0; self.exponents.len()];
        self.windows
            .iter()
            .enumerate()
            .map(|(done, row)| {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, value)| *sum += value);
                sums.iter().map(|sum| sum / (done + 1) as f64).collect()
            })
            .collect()
    }
}

/// Of the mean of `batches`, by blocking.
fn standard_error(mut batches: Vec<f64>) -> Option<f64> {
    let mut largest: Option<f64> = None;
    while batches.len() >= 2 && (largest.is_none() || batches.len() >= FEWEST_BATCHES) {
        let n = batches.len() as f64;
        let mean = batches.iter().sum::<f64>() / n;
        let squares: f64 = batches.iter().map(|batch| (batch - mean).powi(2)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        largest = Some(largest.map_or(error, |largest| largest.max(error)));
        batches = batches
            .chunks_exact(2)
            .map(|pair| (pair[0] + pair[1]) / 2.0)
            .collect();
    }
    largest
}

fn steps_to_count(
    system: &impl TangentSystem,
    settings: &LyapunovSettings,
) -> Result<usize, DynamicsError> {
    const NEEDED: usize = 2;
    let transient = settings.transient;
    let available = match (system.remaining(), settings.steps) {
        (Some(left), Some(steps)) => left.min(transient.saturating_add(steps)),
        (Some(left), None) => left,
        (None, Some(steps)) => transient.saturating_add(steps),
        (None, None) => {
            return Err(DynamicsError::Setting {
                field: "steps",
                value: f64::INFINITY,
                allowed: "a number, for a system that never ends",
            });
        }
    };
    let steps = available.saturating_sub(transient);
    if steps < NEEDED {
        return Err(DynamicsError::TooFewSteps {
            available,
            transient,
            needed: NEEDED,
        });
    }
    Ok(steps)
}

fn system_is_square(carrier: &Carrier<'_, impl TangentSystem>, vectors: usize) -> bool {
    carrier.complete && carrier.system.dim() == vectors
}

/// Carries an orthonormal block along a system.
struct Carrier<'a, S> {
    system: &'a mut S,
    block: Block,
    /// Sum of `ln |R_ii|`.
    totals: Vec<f64>,
    logs: Vec<f64>,
    /// Largest drift apart and largest growth of a step seen so far, in logarithms.
    spread: f64,
    growth: f64,
    fixed: Option<usize>,
    longest: usize,
    done: usize,
    complete: bool,
}

impl<'a, S: TangentSystem> Carrier<'a, S> {
    fn new(
        system: &'a mut S,
        vectors: usize,
        settings: &LyapunovSettings,
    ) -> Result<Self, DynamicsError> {
        if settings.interval == Some(0) {
            return Err(DynamicsError::Setting {
                field: "interval",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        let rows = system.dim();
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut block = Block::zeros(rows, vectors);
        block
            .values_mut()
            .iter_mut()
            .for_each(|value| *value = rng.random_range(-1.0..1.0));
        let mut logs = vec![0.0; vectors];
        orthonormalize(&mut block, &mut logs, 0)?;
        Ok(Self {
            complete: rows == vectors,
            system,
            block,
            totals: vec![0.0; vectors],
            logs,
            spread: 0.0,
            growth: 0.0,
            fixed: settings.interval,
            longest: 0,
            done: 0,
        })
    }

    /// Steps until the next factorisation.
    #[inline]
    fn interval(&self) -> usize {
        self.fixed.unwrap_or_else(|| {
            if self.done == 0 {
                return 1;
            }
            let by_condition = LOG_CONDITION / self.spread.max(1e-3);
            let by_size = LOG_SIZE / self.growth.max(1e-3);
            // At most doubled: what lies ahead may be wilder than all that was seen.
            let most = (2 * self.longest).max(1);
            (by_condition.min(by_size) as usize).clamp(1, most)
        })
    }

    #[inline]
    fn advance(&mut self, steps: usize) -> Result<(), DynamicsError> {
        let mut left = steps;
        while left > 0 {
            let length = self.interval().min(left);
            for _ in 0..length {
                self.system.step(&mut self.block)?;
                self.done += 1;
            }
            left -= length;
            let (rows, vectors) = (self.block.rows(), self.block.cols());
            if rows == 0 {
                return Err(DynamicsError::ZeroWidth { step: self.done });
            }
            if rows < vectors {
                return Err(DynamicsError::VectorCount {
                    vectors,
                    width: rows,
                });
            }
            orthonormalize(&mut self.block, &mut self.logs, self.done)?;
            let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
            for (total, log) in self.totals.iter_mut().zip(&self.logs) {
                *total += log;
                least = least.min(*log);
                most = most.max(*log);
            }
            let per_step = 1.0 / length as f64;
            self.spread = self.spread.max((most - least) * per_step);
            self.growth = self.growth.max(most.abs().max(least.abs()) * per_step);
            self.longest = self.longest.max(length);
        }
        Ok(())
    }
}
