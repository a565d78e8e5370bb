use std::convert::Infallible;

use rand_distr::{Distribution, StandardNormal};
use steadygrad::dynamics::{LanczosConfig, extreme_eigenvalues};
use steadygrad::measurements::Sharpness;

use crate::random::{Purpose, generator};
use crate::{Subject, Tape, flat};

/// Length of the finite-difference step relative to the weights' norm, for gradients in f64 and in
/// f32. Both are measured: see [`relative_step`].
const STEP_F64: f64 = 1e-6;
const STEP_F32: f64 = 3e-4;

/// Relative residual of the largest eigenvalue at which the iteration stops: a tenth of the error
/// of one percent that tests allow.
const TOLERANCE: f64 = 1e-3;

/// Bounds of a measurement's cost. They count values and arithmetic, so that they do not depend on
/// a clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharpnessBudget {
    /// Values of all Lanczos vectors: parameters times iterations.
    pub vector_values: f64,
    /// [`Subject::work`] of all gradients: the model's, times rows, iterations and two.
    pub work: f64,
    /// Largest number of iterations.
    pub max_iterations: usize,
}

impl Default for SharpnessBudget {
    /// Allows three iterations on four rows for ten million parameters (1,000 layers of 100 units).
    fn default() -> Self {
        Self {
            vector_values: 4e7,
            work: 2.5e8,
            max_iterations: 60,
        }
    }
}

impl SharpnessBudget {
    /// Fewer products give no usable estimate of a spectrum.
    const MIN_ITERATIONS: usize = 3;

    /// The iterations, and how many of `rows` rows, that the budget allows. Rows are saved after
    /// iterations; at least one row stays.
    fn spend(&self, parameters: usize, work: f64, rows: usize) -> (usize, usize) {
        // The cast saturates for a float that is negative, NaN or too large.
        let iterations = (self.vector_values / parameters as f64) as usize;
        let iterations = iterations
            .min(self.max_iterations)
            .max(Self::MIN_ITERATIONS);
        let affordable = (self.work / (2.0 * iterations as f64 * work)) as usize;
        (iterations, affordable.clamp(1, rows.max(1)))
    }
}

/// The relative step `h` at this resolution of the gradients.
///
/// The error of a product has two parts: round-off, about `resolution |g| / h`, and the third
/// derivative's, which grows with `h^2`. Third derivatives of networks are large, so the best `h`
/// is below the cube root of the resolution (6e-6 and 5e-3). The values have the least error
/// against dense Hessians of a small tanh network (docs/LOG.md, 2026-11-24).
fn relative_step(resolution: f64) -> f64 {
    if resolution == f64::EPSILON {
        STEP_F64
    } else {
        STEP_F32
    }
}

/// Measures both ends of the Hessian's spectrum on these rows by Lanczos iteration, within the
/// default budget.
///
/// Burn is first-order, so Hessian-vector products are central differences of gradients:
/// `H v = (g(w + h v) - g(w - h v)) / (2 h)`, with `|v| = 1` and `h` relative to the weights'
/// norm. They are in f64 if [`Subject::computes_in_f64`], else in f32.
///
/// `None` if a gradient is not finite, there are no parameters or rows, or the curvature is zero.
pub fn sharpness<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
) -> Option<Sharpness> {
    sharpness_within(subject, model, rows, seed, SharpnessBudget::default())
}

/// [`sharpness`] within this budget, on the first rows that it allows.
pub fn sharpness_within<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
    budget: SharpnessBudget,
) -> Option<Sharpness> {
    let in_f64 = subject.computes_in_f64(model);
    let step = relative_step(if in_f64 {
        f64::EPSILON
    } else {
        f64::from(f32::EPSILON)
    });
    let precision = Precision {
        in_f64,
        relative_step: step,
        tolerance: TOLERANCE,
    };
    measure(subject, model, rows, seed, budget, precision)
}

/// How the products are computed, and when the iteration stops.
#[derive(Clone, Copy)]
struct Precision {
    in_f64: bool,
    relative_step: f64,
    tolerance: f64,
}

fn measure<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
    budget: SharpnessBudget,
    precision: Precision,
) -> Option<Sharpness> {
    let model = if precision.in_f64 {
        flat::in_f64(model.clone())
    } else {
        model.clone()
    };
    let parameters = flat::weights(&model).len();
    let (iterations, affordable) = budget.spend(parameters, subject.work(&model), rows.len());
    let rows = rows.get(..affordable)?;
    let mut hessian = Hessian::new(subject, model, rows, precision.relative_step);
    let product = |direction: &[f64]| Ok::<_, Infallible>(hessian.times(direction));
    let mut rng = generator(seed, Purpose::Power);
    let start: Vec<f64> = (0..parameters)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let config = LanczosConfig {
        max_iterations: iterations,
        tolerance: precision.tolerance,
    };
    let found = extreme_eigenvalues(product, &start, config).ok()?;
    if found.largest.value == 0.0 && found.smallest.value == 0.0 {
        return None;
    }
    Some(Sharpness {
        lambda_max: found.largest.value,
        lambda_min: found.smallest.value,
        residual: found.largest.residual,
        iterations: found.iterations,
        rows: rows.len(),
        relative_step: precision.relative_step,
    })
}

/// The Hessian of a loss, as products with vectors. It reuses its buffers: allocating memory for
/// millions of weights costs more than the arithmetic.
struct Hessian<'a, S: Subject> {
    subject: &'a S,
    model: S::Model,
    rows: &'a [usize],
    weights: Vec<f64>,
    step: f64,
    moved: Vec<f64>,
    behind: Vec<f64>,
}

impl<'a, S: Subject> Hessian<'a, S> {
    fn new(subject: &'a S, model: S::Model, rows: &'a [usize], relative_step: f64) -> Self {
        let weights = flat::weights(&model);
        let norm = flat::norm(&weights);
        Self {
            subject,
            model,
            rows,
            // The step cannot be relative to weights that are all zero.
            step: relative_step * if norm > 0.0 { norm } else { 1.0 },
            moved: weights.clone(),
            weights,
            behind: Vec::new(),
        }
    }

    /// `H v`, by central differences.
    fn times(&mut self, direction: &[f64]) -> Vec<f64> {
        let memory = Vec::with_capacity(direction.len());
        let mut ahead = self.gradient(direction, self.step, memory);
        let memory = std::mem::take(&mut self.behind);
        self.behind = self.gradient(direction, -self.step, memory);
        for (ahead, behind) in ahead.iter_mut().zip(&self.behind) {
            *ahead = (*ahead - behind) / (2.0 * self.step);
        }
        ahead
    }

    /// The gradient at the weights plus `step` times the direction.
    fn gradient(&mut self, direction: &[f64], step: f64, memory: Vec<f64>) -> Vec<f64> {
        let moved = self.moved.iter_mut().zip(&self.weights).zip(direction);
        for ((moved, weight), along) in moved {
            *moved = weight + step * along;
        }
        let model = flat::with_weights(self.model.clone(), &self.moved);
        let mut tape = Tape::off();
        let (_, gradients) = self
            .subject
            .loss_and_gradients(&model, self.rows, &mut tape);
        flat::gradient_into(memory, &model, &gradients)
    }
}

#[cfg(test)]
mod tests;
