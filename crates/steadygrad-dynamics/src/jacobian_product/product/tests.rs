use faer::Mat;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::{LayerJacobian, jacobians, next_jacobians};

/// All directions, or this number of them.
fn settings(vectors: Option<usize>, seed: u64) -> ProductSettings {
    ProductSettings { vectors, seed }
}

/// A deep linear network: each factor its own matrix.
struct Layers {
    matrices: Vec<Mat<f64>>,
    done: usize,
}

impl Layers {
    fn new(matrices: Vec<Mat<f64>>) -> Self {
        Self { matrices, done: 0 }
    }

    fn random(widths: &[usize], gain: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::new(
            widths
                .windows(2)
                .map(|pair| {
                    let scale = gain / (pair[0] as f64).sqrt();
                    Mat::from_fn(pair[1], pair[0], |_, _| {
                        let normal: f64 = StandardNormal.sample(&mut rng);
                        scale * normal
                    })
                })
                .collect(),
        )
    }
}

impl TangentSystem for Layers {
    fn dim(&self) -> usize {
        match self.matrices.get(self.done) {
            Some(next) => next.ncols(),
            None => self.matrices.last().map_or(0, Mat::nrows),
        }
    }
    fn remaining(&self) -> Option<usize> {
        Some(self.matrices.len() - self.done)
    }
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        multiply(block, self.matrices[self.done].as_ref());
        self.done += 1;
        Ok(())
    }
}

#[test]
fn short_products_are_exact() {
    // Brute force: the product formed and its singular values taken.
    for (seed, widths) in [
        (1, vec![5, 5]),
        (2, vec![8, 8, 8, 8]),
        (3, vec![30; 6]),
        (4, vec![6, 9, 7, 6]),
    ] {
        let mut layers = Layers::random(&widths, 1.0, seed);
        let product = layers
            .matrices
            .iter()
            .skip(1)
            .fold(layers.matrices[0].clone(), |product, next| next * product);
        let mut expected = product.singular_values().unwrap();
        expected.truncate(widths[0]);
        let found = JacobianProduct::measure(&mut layers, settings(None, 7)).unwrap();
        assert!(found.complete && !found.lower_bound);
        assert_eq!(found.log_singular_values.len(), widths[0]);
        for (found, expected) in found.log_singular_values.iter().zip(&expected) {
            assert!((found - expected.ln()).abs() < 1e-7, "{found} {expected}");
        }
    }
}

#[test]
fn a_thousand_layers_beyond_every_number_format() {
    // Diagonal factors with rotations in between have a closed form: none of them mixes.
    let (sin, cos) = 0.3f64.sin_cos();
    let rotation = Mat::from_fn(2, 2, |i, j| [[cos, -sin], [sin, cos]][i][j]);
    let stretch = Mat::from_fn(2, 2, |i, j| if i == j { [8.0, 0.125][i] } else { 0.0 });
    let pair = &(&rotation * &stretch) * rotation.transpose();
    let mut layers = Layers::new(vec![pair; 1_000]);
    let found = JacobianProduct::measure(&mut layers, settings(None, 1)).unwrap();
    let expected = 1_000.0 * 8f64.ln();
    assert!((found.log_singular_values[0] - expected).abs() < 1e-8);
    assert!((found.log_singular_values[1] + expected).abs() < 1e-8);
    assert!((found.log_condition().unwrap() - 2.0 * expected).abs() < 1e-7);
    // e^2079 is no f64.
    assert!(found.log_singular_values[0].exp().is_infinite());
}

#[test]
fn random_thousand_layers_agree_with_their_determinants() {
    let widths = vec![12; 1_001];
    let mut layers = Layers::random(&widths, 3.0, 5);
    let volume: f64 = layers
        .matrices
        .iter()
        .map(|matrix| matrix.determinant().abs().ln())
        .sum();
    let found = JacobianProduct::measure(&mut layers, settings(None, 1)).unwrap();
    let sum: f64 = found.log_singular_values.iter().sum();
    assert!((sum / volume - 1.0).abs() < 1e-9, "{sum} {volume}");
    // Newman's exponents of products of Gaussian matrices (1986):
    // lambda_i = (ln(2 sigma^2) + psi((n - i + 1) / 2)) / 2; psi(6) for the first.
    let sigma = 3.0 / 12f64.sqrt();
    let psi_6 = 1.706_117_668_431_8;
    let lambda = 0.5 * ((2.0 * sigma * sigma).ln() + psi_6);
    let slope = found.log_singular_values[0] / 1_000.0;
    // The logarithm of one chi-squared factor has a standard deviation near 0.2.
    assert!(
        (slope - lambda).abs() < 4.0 * 0.21 / 1_000f64.sqrt(),
        "{slope} {lambda}"
    );
}

#[test]
fn leading_values_bound_from_below_and_come_close() {
    let widths = vec![20; 201];
    let mut layers = Layers::random(&widths, 1.0, 9);
    let all = JacobianProduct::measure(&mut layers, settings(None, 1)).unwrap();
    layers.done = 0;
    let some = JacobianProduct::measure(&mut layers, settings(Some(3), 1)).unwrap();
    assert!(all.complete && !some.complete && some.lower_bound);
    assert_eq!(some.log_condition(), None);
    for (some, all) in some
        .log_singular_values
        .iter()
        .zip(&all.log_singular_values)
    {
        assert!(*some <= all + 1e-9 && all - some < 5.0, "{some} {all}");
    }
}

/// The bias that a single pass has on a short product, and that explicit factors have not.
#[test]
fn leading_values_of_explicit_factors_are_exact() {
    for seed in [1, 2, 3] {
        let mut layers = Layers::random(&[64; 20], 1.5, seed);
        let product = layers
            .matrices
            .iter()
            .skip(1)
            .fold(layers.matrices[0].clone(), |product, next| next * product);
        let expected = product.singular_values().unwrap();
        let factors = jacobians(&mut layers).unwrap();
        let found = JacobianProduct::of_factors(&factors, settings(Some(16), 7)).unwrap();
        assert!(!found.complete && !found.lower_bound);
        for (found, expected) in found.log_singular_values.iter().take(8).zip(&expected) {
            assert!(
                (found - expected.ln()).abs() < 1e-5,
                "{found} {}",
                expected.ln()
            );
        }
        // The control: one pass misses the largest by a half and more.
        layers.done = 0;
        let bound = JacobianProduct::measure(&mut layers, settings(Some(16), 7)).unwrap();
        assert!(
            expected[0].ln() - bound.log_singular_values[0] > 0.3,
            "{seed}"
        );
    }
}

#[test]
fn a_bottleneck_has_as_many_values_as_units() {
    let mut layers = Layers::random(&[12, 3, 12], 1.0, 4);
    let product = &layers.matrices[1] * &layers.matrices[0];
    let expected = product.singular_values().unwrap();
    let factors = jacobians(&mut layers).unwrap();
    let found = JacobianProduct::of_factors(&factors, settings(None, 7)).unwrap();
    // Nine more are zero: the three are not all, and there is no condition number.
    assert_eq!(
        (found.log_singular_values.len(), found.complete),
        (3, false)
    );
    for (found, expected) in found.log_singular_values.iter().zip(&expected) {
        assert!((found - expected.ln()).abs() < 1e-9);
    }
    assert_eq!(
        JacobianProduct::of_factors(&factors, settings(Some(4), 7)),
        Err(DynamicsError::VectorCount {
            vectors: 4,
            width: 3
        })
    );
}

/// Brute force again: states that narrow and widen, down to a single unit.
#[test]
fn without_a_number_of_vectors_the_narrowest_state_decides() {
    for (seed, widths, complete) in [
        (1, vec![12, 3], true),
        (2, vec![3, 12], true),
        (3, vec![9, 7, 7, 4, 4], true),
        (4, vec![12, 3, 12], false),
        (5, vec![6, 8, 2, 5, 3, 7], false),
        (6, vec![5, 1, 5], false),
    ] {
        let mut layers = Layers::random(&widths, 1.0, seed);
        let product = layers
            .matrices
            .iter()
            .skip(1)
            .fold(layers.matrices[0].clone(), |product, next| next * product);
        let expected = product.singular_values().unwrap();
        let found = JacobianProduct::measure(&mut layers, settings(None, 7)).unwrap();
        let narrowest = widths.iter().min().copied().unwrap();
        assert_eq!(found.log_singular_values.len(), narrowest, "{widths:?}");
        assert_eq!(
            (found.complete, found.lower_bound),
            (complete, false),
            "{widths:?}"
        );
        assert_eq!(found.log_growth.len(), widths.len() - 1);
        for (found, expected) in found.log_singular_values.iter().zip(&expected) {
            assert!((found - expected.ln()).abs() < 1e-7, "{found} {expected}");
        }
        layers.done = 0;
        let factors = jacobians(&mut layers).unwrap();
        let explicit = JacobianProduct::of_factors(&factors, settings(None, 7)).unwrap();
        for (found, other) in found
            .log_singular_values
            .iter()
            .zip(&explicit.log_singular_values)
        {
            assert!((found - other).abs() < 1e-4, "{widths:?}: {found} {other}");
        }
        assert_eq!(found.complete, explicit.complete, "{widths:?}");
    }
}

#[test]
fn each_layer_by_itself() {
    let stretch = Mat::from_fn(2, 2, |i, j| if i == j { [3.0, 0.5][i] } else { 0.0 });
    let flat = Mat::from_fn(2, 2, |i, _| if i == 0 { 1.0 } else { 0.0 });
    let mut layers = Layers::new(vec![stretch, flat]);
    let found: Vec<LayerJacobian> = jacobians(&mut layers)
        .unwrap()
        .iter()
        .map(LayerJacobian::of)
        .collect();
    assert!((found[0].log_largest() - 3f64.ln()).abs() < 1e-12);
    assert!((found[0].log_smallest() - 0.5f64.ln()).abs() < 1e-12);
    assert!((found[0].log_condition() - 6f64.ln()).abs() < 1e-12);
    assert!((found[0].log_growth - 0.5 * (9.25f64 / 2.0).ln()).abs() < 1e-12);
    assert!((found[1].log_largest() - 0.5 * 2f64.ln()).abs() < 1e-12);
    assert_eq!(found[1].log_smallest(), f64::NEG_INFINITY);
    assert_eq!(found[1].log_condition(), f64::INFINITY);
    let zeros = LayerJacobian::of(&Block::zeros(2, 2));
    assert_eq!(zeros.log_growth, f64::NEG_INFINITY);
    assert!(zeros.log_condition().is_nan());
    let nan = Block::from_columns(1, 1, vec![f64::NAN]).unwrap();
    assert!(LayerJacobian::of(&nan).log_largest().is_nan());
    layers.done = 0;
    assert_eq!(next_jacobians(&mut layers, 1).unwrap().len(), 1);
}

#[test]
fn odd_rows() {
    let measure = |matrices: Vec<Mat<f64>>, vectors| {
        JacobianProduct::measure(&mut Layers::new(matrices), settings(vectors, 1))
    };
    assert!(matches!(
        measure(Vec::new(), None),
        Err(DynamicsError::TooFewSteps { .. })
    ));
    assert_eq!(
        measure(vec![Mat::zeros(3, 0)], None),
        Err(DynamicsError::ZeroWidth { step: 0 })
    );
    assert_eq!(
        measure(vec![Mat::zeros(0, 3)], None),
        Err(DynamicsError::ZeroWidth { step: 1 })
    );
    assert_eq!(
        measure(vec![Mat::identity(2, 3)], Some(3)),
        Err(DynamicsError::VectorCount {
            vectors: 3,
            width: 2
        })
    );
    let narrowed = measure(vec![Mat::identity(2, 3)], None).unwrap();
    assert!(
        narrowed
            .log_singular_values
            .iter()
            .all(|log| log.abs() < 1e-12)
    );
    assert!(matches!(
        measure(vec![Mat::zeros(3, 3)], None),
        Err(DynamicsError::RankDeficient { rank: 0, .. })
    ));
    for bad in [f64::NAN, f64::INFINITY] {
        let matrix = Mat::from_fn(2, 2, |_, _| bad);
        assert!(matches!(
            measure(vec![matrix.clone()], None),
            Err(DynamicsError::NonFinite { step: 1, .. })
        ));
        let mut layers = Layers::new(vec![matrix]);
        assert!(matches!(
            jacobians(&mut layers),
            Err(DynamicsError::NonFinite { step: 1, .. })
        ));
    }
}

#[test]
fn odd_rows_of_factors() {
    let product = |factors: &[Block]| JacobianProduct::of_factors(factors, settings(None, 1));
    assert!(matches!(
        product(&[]),
        Err(DynamicsError::TooFewSteps { .. })
    ));
    assert_eq!(
        product(&[Block::zeros(0, 3)]),
        Err(DynamicsError::ZeroWidth { step: 1 })
    );
    assert!(matches!(
        product(&[Block::zeros(3, 3)]),
        Err(DynamicsError::RankDeficient { rank: 0, .. })
    ));
    assert_eq!(
        product(&[Block::zeros(3, 3), Block::zeros(2, 2)]),
        Err(DynamicsError::VectorCount {
            vectors: 2,
            width: 3
        })
    );
}
