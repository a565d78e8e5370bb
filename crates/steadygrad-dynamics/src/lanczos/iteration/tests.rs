use std::convert::Infallible;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;

const TIGHT: LanczosSettings = LanczosSettings {
    max_iterations: 500,
    tolerance: 1e-12,
};

fn normals(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| StandardNormal.sample(&mut rng))
        .collect()
}

fn of_diagonal(diagonal: &[f64], settings: LanczosSettings) -> ExtremeEigenvalues {
    let product = |v: &[f64]| {
        let scaled = v.iter().zip(diagonal).map(|(v, d)| v * d);
        Ok::<_, Infallible>(scaled.collect())
    };
    extreme_eigenvalues(product, &normals(diagonal.len(), 1), settings).unwrap()
}

#[test]
fn the_eigenvalues_of_a_diagonal_are_its_entries() {
    let found = of_diagonal(&[3.0, -7.0, 0.5, 2.0], TIGHT);
    assert!((found.largest.value - 3.0).abs() < 1e-12, "{found:?}");
    assert!((found.smallest.value + 7.0).abs() < 1e-12, "{found:?}");
    assert!(found.converged && found.iterations <= 4);
}

#[test]
fn the_largest_is_the_largest_with_its_sign() {
    let found = of_diagonal(&[-1.0, -2.0, -900.0], TIGHT);
    assert!((found.largest.value + 1.0).abs() < 1e-9, "{found:?}");
    assert!((found.smallest.value + 900.0).abs() < 1e-9, "{found:?}");
}

#[test]
fn second_differences_have_their_known_spectrum() {
    // 2 - 2 cos(k pi / (n + 1)), k = 1..n.
    let n = 60;
    let product = |v: &[f64]| {
        let at = |i: usize| v.get(i).copied().unwrap_or(0.0);
        let rows = (0..n).map(|i| 2.0 * v[i] - at(i.wrapping_sub(1)) - at(i + 1));
        Ok::<_, Infallible>(rows.collect())
    };
    let found = extreme_eigenvalues(product, &normals(n, 3), TIGHT).unwrap();
    let eigenvalue =
        |k: usize| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n as f64 + 1.0)).cos();
    assert!(
        (found.largest.value - eigenvalue(n)).abs() < 1e-11,
        "{found:?}"
    );
    assert!(
        (found.smallest.value - eigenvalue(1)).abs() < 1e-9,
        "{found:?}"
    );
}

#[test]
fn one_dimension_and_the_zero_matrix() {
    for value in [4.0, -4.0, 0.0, 1e150, 1e-150] {
        let found = of_diagonal(&[value], TIGHT);
        assert_eq!((found.largest.value, found.smallest.value), (value, value));
        assert_eq!((found.iterations, found.converged), (1, true));
    }
    let found = of_diagonal(&[0.0; 5], TIGHT);
    assert_eq!((found.largest.value, found.largest.residual), (0.0, 0.0));
    assert!(found.converged);
}

#[test]
fn an_invariant_subspace_ends_the_iteration_early() {
    let mut products = 0;
    let product = |v: &[f64]| {
        products += 1;
        Ok::<_, Infallible>(v.iter().map(|v| 5.0 * v).collect())
    };
    let found = extreme_eigenvalues(product, &normals(50, 2), TIGHT).unwrap();
    assert!((found.largest.value - 5.0).abs() < 1e-12);
    assert_eq!((found.iterations, products), (1, 1));
    // A projector has two eigenvalues: two products see both.
    let ones_and_zeros: Vec<f64> = (0..50).map(|i| f64::from(i % 2)).collect();
    let found = of_diagonal(&ones_and_zeros, TIGHT);
    assert_eq!(found.iterations, 2, "{found:?}");
    assert!(found.smallest.value.abs() < 1e-12, "{found:?}");
}

#[test]
fn non_finite_empty_and_zero_input_is_refused() {
    let with = |value: f64, start: &[f64]| {
        let product = |v: &[f64]| Ok::<_, Infallible>(vec![value; v.len()]);
        extreme_eigenvalues(product, start, TIGHT)
    };
    assert_eq!(with(1.0, &[]), Err(LanczosError::Empty));
    for start in [0.0, f64::NAN, f64::INFINITY] {
        assert_eq!(with(1.0, &[start, start]), Err(LanczosError::Start));
        assert_eq!(with(1.0, &[start, 0.0]), Err(LanczosError::Start));
    }
    for odd in [f64::NAN, f64::INFINITY, f64::MAX] {
        let expected = Err(LanczosError::NonFinite { iteration: 1 });
        assert_eq!(with(odd, &[1.0, 2.0]), expected);
    }
    // A start at the edges of the number format is as good as any.
    assert!(with(1.0, &[1e300, 1e300]).is_ok() && with(1.0, &[1e-300, 0.0]).is_ok());
    let short = extreme_eigenvalues(|_| Ok::<_, Infallible>(vec![]), &[1.0], TIGHT);
    assert!(matches!(short, Err(LanczosError::Length { found: 0, .. })));
    let failed = extreme_eigenvalues(|_| Err("no"), &[1.0], TIGHT);
    assert_eq!(failed, Err(LanczosError::Product("no")));
}

#[test]
fn it_stops_at_its_settings_and_reports_it() {
    let diagonal: Vec<f64> = (0..200).map(f64::from).collect();
    let short = LanczosSettings {
        max_iterations: 3,
        tolerance: 1e-12,
    };
    let found = of_diagonal(&diagonal, short);
    assert_eq!((found.iterations, found.converged), (3, false));
    let loose = of_diagonal(
        &diagonal,
        LanczosSettings {
            tolerance: 0.05,
            ..TIGHT
        },
    );
    let tight = of_diagonal(&diagonal, TIGHT);
    assert!(loose.converged && loose.iterations < tight.iterations);
    assert!(loose.largest.residual <= 0.05 * 199.0);
    let at_least_one = LanczosSettings {
        max_iterations: 0,
        tolerance: 0.0,
    };
    assert_eq!(of_diagonal(&diagonal, at_least_one).iterations, 1);
}

/// The tolerance of a small end is relative to itself. A thousandth of the other end, -1000, would
/// be as large as the eigenvalue 1.
#[test]
fn the_tolerance_is_relative_to_the_largest_alone() {
    let mut diagonal: Vec<f64> = (0..400).map(|i| f64::from(i) / 399.0).collect();
    diagonal[0] = -1000.0;
    let thousandth = LanczosSettings {
        max_iterations: 100,
        tolerance: 1e-3,
    };
    let found = of_diagonal(&diagonal, thousandth);
    assert!(found.converged, "{found:?}");
    assert!(found.largest.residual <= 1e-3 * found.largest.value);
    assert!((found.largest.value - 1.0).abs() < 1e-2, "{found:?}");
    // Too few products do not converge, although the residual is a thousandth of the other end.
    let short = LanczosSettings {
        max_iterations: 4,
        ..thousandth
    };
    let found = of_diagonal(&diagonal, short);
    assert!(
        !found.converged && found.largest.residual < 1.0,
        "{found:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_a_dense_solver(n in 1usize..14, seed in 0u64..1000) {
        let entries = normals(n * n, seed);
        let dense = Mat::from_fn(n, n, |i, j| entries[i * n + j] + entries[j * n + i]);
        let truth = dense.self_adjoint_eigenvalues(Side::Lower).unwrap();
        let product = |v: &[f64]| {
            let row = |i| (0..n).map(|j| dense[(i, j)] * v[j]).sum::<f64>();
            Ok::<_, Infallible>((0..n).map(row).collect::<Vec<_>>())
        };
        let start = normals(n, seed + 5000);
        let found = extreme_eigenvalues(product, &start, TIGHT).unwrap();
        let size = truth[n - 1].abs().max(truth[0].abs());
        prop_assert!((found.largest.value - truth[n - 1]).abs() < 1e-9 * size);
        // Stopped early, each value has a true eigenvalue within its residual.
        for max_iterations in [1, n / 2] {
            let settings = LanczosSettings { max_iterations, tolerance: 0.0 };
            let early = extreme_eigenvalues(product, &start, settings).unwrap();
            for ritz in [early.largest, early.smallest] {
                let distances = truth.iter().map(|t| (t - ritz.value).abs());
                let nearest = distances.fold(f64::INFINITY, f64::min);
                prop_assert!(nearest <= ritz.residual + 1e-9 * size);
                prop_assert!(ritz.value <= truth[n - 1] + 1e-9 * size);
            }
        }
    }
}
