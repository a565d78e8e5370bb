use steadygrad::dynamics::{
    Axis, DynamicsError, GrowthSpectrum, JacobianProduct, LayerJacobian, TangentSystem,
};

use crate::Subject;

/// Samples whose product of Jacobians is measured: enough for a standard error.
const SAMPLES: usize = 4;

/// Leading exponents: the gradient's fate is in the first few, and their cost grows with each.
const VECTORS: usize = 16;

/// Multiplications that the layers' full Jacobians may cost in all. One sample of a network of
/// 1,000 layers of 100 units takes 1e9; it is always measured.
const LAYER_WORK: f64 = 1e9;

/// The growth spectrum of the subject's stages on the first of these training rows.
///
/// A layer whose rank is below the number of vectors lowers that number. `None` when the subject
/// gives no stages, or every exponent is lost: a state or tangent that overflowed, a layer that
/// passes nothing.
pub(crate) fn spectrum<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
    axis: Axis,
) -> Option<GrowthSpectrum> {
    let (mut names, mut width) = (Vec::new(), usize::MAX);
    let (mut products, mut layers) = (Vec::new(), Vec::new());
    let mut vectors = VECTORS;
    let mut work = 0.0;
    for row in rows.iter().take(SAMPLES) {
        let (stages, input) = subject.stages(model, *row)?;
        names = stages.names().to_vec();
        let mut backward = stages.linearize(input.clone()).ok()?;
        width = width.min(backward.width());
        vectors = vectors.min(width);
        products.push(product(&mut vectors, seed, || {
            stages.linearize(input.clone())
        })?);
        if layers.is_empty() || work < LAYER_WORK {
            work += names.len() as f64 * (width as f64).powi(3);
            let mut measured = LayerJacobian::measure_all(&mut backward).ok()?;
            // The backward pass meets the last layer first.
            measured.reverse();
            layers.push(measured);
        }
    }
    GrowthSpectrum::from_samples(axis, &names, &products, &layers, width, seed)
}

/// One sample's product, with as many vectors as the rank allows.
fn product<T: TangentSystem>(
    vectors: &mut usize,
    seed: u64,
    start: impl Fn() -> Result<T, DynamicsError>,
) -> Option<JacobianProduct> {
    loop {
        match JacobianProduct::measure(&mut start().ok()?, Some(*vectors), seed) {
            Ok(product) => return Some(product),
            Err(DynamicsError::RankDeficient { rank, .. }) if rank > 0 => *vectors = rank,
            Err(_) => return None,
        }
    }
}
