use rand_distr::{Distribution, StandardNormal};
use steadygrad::dynamics::{LanczosSettings, extreme_eigenvalues};
use steadygrad::measurements::Sharpness;

use crate::random::{Purpose, generator};
use crate::{Subject, Tape, flat};

/// Length of the finite-difference step relative to the weights' norm, where gradients are f64
/// and where they are f32: measured, see [`relative_step`].
const STEP_F64: f64 = 1e-6;
const STEP_F32: f64 = 3e-4;

/// The residual of the largest eigenvalue, relative to it, at which the iteration stops: a tenth
/// of the one percent that the result is held to.
const TOLERANCE: f64 = 1e-3;

/// What a measurement may cost, in units that no clock has a say in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharpnessBudget {
    /// Values in all Lanczos vectors together: parameters times iterations.
    pub vector_values: f64,
    /// [`Subject::work`] of all gradients together: rows times iterations times two.
    pub work: f64,
    /// Never more iterations than this.
    pub max_iterations: usize,
}

impl Default for SharpnessBudget {
    /// Three iterations on four rows for ten million parameters (1,000 layers of 100 units).
    fn default() -> Self {
        Self {
            vector_values: 4e7,
            work: 2.5e8,
            max_iterations: 60,
        }
    }
}

impl SharpnessBudget {
    /// Fewer products than this say nothing of a spectrum.
    const MIN_ITERATIONS: usize = 3;

    /// How many iterations on how many of `rows` rows it pays for: the largest saving first is in
    /// rows, of which at least one stays.
    fn spend(&self, parameters: usize, work: f64, rows: usize) -> (usize, usize) {
        // A float that is negative, NaN or too large becomes an integer by saturation.
        let iterations = (self.vector_values / parameters as f64) as usize;
        let iterations = iterations
            .min(self.max_iterations)
            .max(Self::MIN_ITERATIONS);
        let affordable = (self.work / (2.0 * iterations as f64 * work)) as usize;
        (iterations, affordable.clamp(1, rows.max(1)))
    }
}

/// The relative step at this resolution of the gradients.
///
/// Round-off puts an error of about `resolution |g| / h` on a product, the third derivative one
/// that grows with `h^2`: the best `h` lies below the cube root of the resolution (6e-6 and
/// 5e-3) where third derivatives are large, as they are in networks. The values are those of the
/// least error against dense Hessians of a small tanh network (docs/LOG.md, 2026-11-24).
fn relative_step(resolution: f64) -> f64 {
    if resolution == f64::EPSILON {
        STEP_F64
    } else {
        STEP_F32
    }
}

/// The two ends of the Hessian's spectrum on these rows, by Lanczos, within the default budget.
///
/// Burn is first-order, so Hessian-vector products are central differences of gradients:
/// `H v = (g(w + h v) - g(w - h v)) / (2 h)`, with `|v| = 1` and `h` relative to the weights'
/// norm. In f64 where the subject can ([`Subject::computes_in_f64`]), else in f32.
///
/// `None` when a gradient is not finite, there are no parameters or rows, or the curvature is
/// zero.
pub fn sharpness<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
) -> Option<Sharpness> {
    sharpness_within(subject, model, rows, seed, SharpnessBudget::default())
}

/// [`sharpness`] within this budget. The rows are the first ones that it pays for.
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
    let how = How {
        in_f64,
        relative_step: step,
        tolerance: TOLERANCE,
    };
    measure(subject, model, rows, seed, budget, how)
}

#[derive(Clone, Copy)]
struct How {
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
    how: How,
) -> Option<Sharpness> {
    let How {
        in_f64,
        relative_step,
        tolerance,
    } = how;
    let model = if in_f64 {
        flat::in_f64(model.clone())
    } else {
        model.clone()
    };
    let weights = flat::weights(&model);
    let (iterations, affordable) = budget.spend(weights.len(), subject.work(&model), rows.len());
    let rows = rows.get(..affordable)?;
    let norm = flat::norm(&weights);
    // Weights that are all zero have no size to be relative to.
    let step = relative_step * if norm > 0.0 { norm } else { 1.0 };

    // One buffer for all: fresh memory for millions of weights costs more than the arithmetic.
    let mut moved = weights.clone();
    let mut gradient = |direction: &[f64], step: f64, memory: Vec<f64>| {
        for ((moved, weight), along) in moved.iter_mut().zip(&weights).zip(direction) {
            *moved = weight + step * along;
        }
        let model = flat::with_weights(model.clone(), &moved);
        let (_, gradients) = subject.loss_and_gradients(&model, rows, &mut Tape::off());
        flat::gradient_into(memory, &model, &gradients)
    };
    let mut behind = Vec::new();
    let product = |direction: &[f64]| {
        let memory = Vec::with_capacity(direction.len());
        let mut ahead = gradient(direction, step, memory);
        behind = gradient(direction, -step, std::mem::take(&mut behind));
        for (ahead, behind) in ahead.iter_mut().zip(&behind) {
            *ahead = (*ahead - behind) / (2.0 * step);
        }
        Ok::<_, std::convert::Infallible>(ahead)
    };
    let mut rng = generator(seed, Purpose::Power);
    let start: Vec<f64> = (0..weights.len())
        .map(|_| StandardNormal.sample(&mut rng))
        .collect();
    let settings = LanczosSettings::default()
        .with_max_iterations(iterations)
        .with_tolerance(tolerance);
    let found = extreme_eigenvalues(product, &start, settings).ok()?;
    if found.largest.value == 0.0 && found.smallest.value == 0.0 {
        return None;
    }
    Some(Sharpness {
        lambda_max: found.largest.value,
        lambda_min: found.smallest.value,
        residual: found.largest.residual,
        iterations: found.iterations,
        rows: rows.len(),
        relative_step,
    })
}

#[cfg(test)]
mod tests;
