use steadygrad::measurements::Sharpness;
use steadygrad_burn::{for_each_parameter, gradient_values, perturb};

use crate::random::{Purpose, generator, normal_values};
use crate::{Subject, Tape};

const ITERATIONS: usize = 20;
/// Length of the finite-difference step relative to the weights' norm. The difference of two f32
/// gradients loses digits below about 1e-4 and misses the curvature's own change above 1e-2.
const RELATIVE_STEP: f64 = 1e-3;

/// The largest Hessian eigenvalue in absolute value on these rows, by power iteration.
///
/// Burn is first-order, so Hessian-vector products are central differences of gradients:
/// `H v = (g(w + h v) - g(w - h v)) / (2 h)`, with `|v| = 1` and `h` a thousandth of the weights'
/// norm. `None` when a gradient is not finite or the curvature is zero.
pub fn sharpness<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
) -> Option<Sharpness> {
    let mut rng = generator(seed, Purpose::Power);
    let (mut direction, mut weight_norm) = (Vec::new(), 0.0);
    for_each_parameter(model, |_, values| {
        direction.push(normal_values(values.len(), 1.0, &mut rng));
        weight_norm += values
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>();
    });
    let step = RELATIVE_STEP * weight_norm.sqrt();
    let gradient = |model: S::Model| {
        let (_, gradients) = subject.loss_and_gradients(&model, rows, &mut Tape::off());
        gradient_values(&model, &gradients)
    };
    let (mut lambda_max, mut last_change) = (0.0, f64::INFINITY);
    normalize(&mut direction)?;
    for _ in 0..ITERATIONS {
        let ahead = gradient(perturb(model.clone(), &direction, step));
        let behind = gradient(perturb(model.clone(), &direction, -step));
        if ahead.len() != direction.len() {
            // A parameter without a gradient: the flat lists would not line up.
            return None;
        }
        for ((direction, ahead), behind) in direction.iter_mut().zip(&ahead).zip(&behind) {
            for ((direction, ahead), behind) in direction.iter_mut().zip(ahead).zip(behind) {
                *direction = ((f64::from(*ahead) - f64::from(*behind)) / (2.0 * step)) as f32;
            }
        }
        let now = normalize(&mut direction)?;
        last_change = ((now - lambda_max) / now).abs();
        lambda_max = now;
    }
    Some(Sharpness {
        lambda_max,
        last_change,
        iterations: ITERATIONS,
    })
}

/// Scales to length 1 and returns the former length; `None` if that is zero or not finite.
fn normalize(direction: &mut [Vec<f32>]) -> Option<f64> {
    let norm = direction
        .iter()
        .flatten()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    if !norm.is_finite() || norm == 0.0 {
        return None;
    }
    direction
        .iter_mut()
        .flatten()
        .for_each(|value| *value = (f64::from(*value) / norm) as f32);
    Some(norm)
}
