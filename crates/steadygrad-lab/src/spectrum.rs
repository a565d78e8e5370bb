use steadygrad::dynamics::{
    Axis, Block, DynamicsError, GrowthSamples, GrowthSpectrum, JacobianProduct, LayerJacobian,
    ProductSettings, next_jacobians,
};

use crate::Subject;

/// Samples whose product of Jacobians is measured, for a standard error.
const SAMPLES: usize = 4;

/// Number of leading exponents if all of them would cost too much. The first few decide whether the
/// gradient explodes.
const VECTORS: usize = 16;

/// Bound of the multiplications for one sample's full Jacobians, `sum(width^3)`. 1,000 layers of
/// 100 units take 1e9.
const EXPLICIT_WORK: f64 = 2e9;

/// Bound of the multiplications for the full Jacobians of all samples. Two samples are always
/// measured, because the standard error needs them.
const ALL_EXPLICIT_WORK: f64 = 1e9;
const FEWEST_SAMPLES: usize = 2;

/// All exponents are measured up to this `sum(width^3)`. The sweeps of the triangular factors take
/// many times as much.
const COMPLETE_WORK: f64 = 1e8;

/// The growth spectrum of the subject's stages on the first of these training rows: of the `last`
/// stages, or of all with `None`.
///
/// A layer whose rank is below the number of vectors lowers that number. A sample is left out and
/// counted if its state or tangent overflows, or if its gradient is zero. `None` if no sample is
/// left or the subject has no stages.
pub(crate) fn spectrum<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    seed: u64,
    axis: Axis,
    last: Option<usize>,
) -> Option<GrowthSpectrum> {
    let (mut width, mut vectors, mut failed) = (usize::MAX, usize::MAX, 0);
    let (mut products, mut layers) = (Vec::new(), Vec::new());
    let (mut names, mut spent) = (Vec::new(), 0.0);
    let settings = ProductSettings::default().with_seed(seed);
    for row in rows.iter().take(SAMPLES) {
        let (stages, input) = subject.stages(model, *row)?;
        let all = stages.names().len();
        let steps = last.unwrap_or(all).min(all);
        names = stages.names()[all - steps..].to_vec();
        let Ok(mut backward) = stages.linearize(input.clone()) else {
            failed += 1;
            continue;
        };
        width = width.min(backward.width());
        vectors = vectors.min(width);
        let work = steps as f64 * (width as f64).powi(3);
        vectors = vectors.min(most_vectors(work));
        let measured = if work <= EXPLICIT_WORK {
            if layers.len() >= FEWEST_SAMPLES && spent + work > ALL_EXPLICIT_WORK {
                break;
            }
            spent += work;
            next_jacobians(&mut backward, steps).and_then(|factors| {
                let product = of_factors(&factors, &mut vectors, settings)?;
                // The backward pass begins with the last layer.
                layers.push(factors.iter().rev().map(LayerJacobian::of).collect());
                Ok(product)
            })
        } else if steps == all {
            with_rank(&mut vectors, |vectors| {
                let mut backward = stages.linearize(input.clone())?;
                JacobianProduct::measure(&mut backward, settings.with_vectors(vectors))
            })
        } else {
            // A part of such a large product is not measured.
            return None;
        };
        match measured {
            Ok(product) => products.push(product),
            Err(_) => failed += 1,
        }
    }
    GrowthSpectrum::from_samples(&GrowthSamples {
        axis,
        names: &names,
        products: &products,
        layers: &layers,
        failed_samples: failed,
        width,
        seed,
    })
}

/// The largest number of vectors for a product of this work.
fn most_vectors(work: f64) -> usize {
    if work > COMPLETE_WORK {
        VECTORS
    } else {
        usize::MAX
    }
}

/// The product of explicit Jacobians, with as many vectors as its rank allows.
fn of_factors(
    factors: &[Block],
    vectors: &mut usize,
    settings: ProductSettings,
) -> Result<JacobianProduct, DynamicsError> {
    with_rank(vectors, |vectors| {
        JacobianProduct::of_factors(factors, settings.with_vectors(vectors))
    })
}

/// A product with as many vectors as its rank allows.
fn with_rank(
    vectors: &mut usize,
    measure: impl Fn(usize) -> Result<JacobianProduct, DynamicsError>,
) -> Result<JacobianProduct, DynamicsError> {
    loop {
        match measure(*vectors) {
            Err(DynamicsError::RankDeficient { rank, .. }) if rank > 0 && rank < *vectors => {
                *vectors = rank;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use steadygrad::dynamics::{Activation, jacobians};

    use super::*;
    use crate::Plan;
    use crate::build::build;
    use crate::data::digits;
    use crate::models::MlpConfig;
    use crate::subjects::TableMlp;

    /// `ln sigma_1` of the product by power iteration, without any factorisation.
    fn brute_force(factors: &[Block]) -> f64 {
        let apply = |vector: Vec<f64>, matrix: &Block, transposed: bool| -> Vec<f64> {
            let rows = matrix.rows();
            let mut out = vec![0.0; if transposed { matrix.cols() } else { rows }];
            for (j, column) in matrix.columns().enumerate() {
                for (i, value) in column.iter().enumerate() {
                    if transposed {
                        out[j] += value * vector[i];
                    } else {
                        out[i] += value * vector[j];
                    }
                }
            }
            out
        };
        let mut vector = vec![1.0; factors[0].cols()];
        let mut value = 0.0;
        for _ in 0..500 {
            let out = factors.iter().fold(vector, |v, m| apply(v, m, false));
            value = out.iter().map(|v| v * v).sum::<f64>().sqrt();
            vector = factors.iter().rev().fold(out, |v, m| apply(v, m, true));
            let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|v| *v /= length);
        }
        value.ln()
    }

    #[test]
    fn the_leading_exponent_is_the_largest_singular_value() {
        let device = Device::flex().autodiff();
        // Complete, and wide enough for the leading sixteen only.
        for (depth, width, all) in [(12, 48, true), (12, 256, false)] {
            let config = MlpConfig {
                depth,
                width,
                activation: Activation::Tanh,
                init_std: 1.5 / (width as f64).sqrt(),
            };
            let subject = TableMlp::new("m", "d", digits(), config, 0.95, device.clone());
            let plan = Plan {
                seed: 3,
                learning_rate: 0.1,
                optimizer: crate::Optimizer::Sgd,
                schedule: crate::Schedule::default(),
                momentum: 0.0,
                steps: 1,
                batch_size: 8,
                remedies: vec![],
            };
            let (model, _) = build(&subject, &plan, &[], &device);
            let found = spectrum(&subject, &model, &[5], 1, Axis::Depth, None).unwrap();
            assert_eq!((found.complete, found.lower_bound), (all, false));
            let (stages, input) = subject.stages(&model, 5).unwrap();
            let factors = jacobians(&mut stages.linearize(input).unwrap()).unwrap();
            let expected = brute_force(&factors) / found.steps as f64;
            let lambda = found.lambda_1().unwrap().value;
            assert!((lambda - expected).abs() < 1e-5, "{lambda} {expected}");
        }
    }
}
