//! Spectra against textbooks, closed forms and mean-field theory.

mod systems;

use proptest::prelude::*;
use steadygrad::dynamics::{
    Block, DynamicsError, Flow, LyapunovSettings, LyapunovSpectrum, TangentSystem,
};
use systems::{LinearMap, Lorenz, RandomRnn, Roessler, henon, logistic, standard, towel};

fn measure(system: &mut impl TangentSystem, transient: usize, steps: usize) -> LyapunovSpectrum {
    let settings = LyapunovSettings {
        transient,
        steps: Some(steps),
        ..LyapunovSettings::default()
    };
    LyapunovSpectrum::measure(system, settings).unwrap()
}

/// Within three standard errors, and within `relative` of the printed value (of the largest
/// printed value, where that is 0). Runs long enough for a thousandth everywhere take minutes:
/// `examples/known_spectra.rs`.
fn assert_spectrum(name: &str, spectrum: &LyapunovSpectrum, expected: &[f64], relative: f64) {
    assert_eq!(spectrum.exponents.len(), expected.len());
    let scale = expected.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    for (exponent, expected) in spectrum.exponents.iter().zip(expected) {
        let error = exponent.standard_error.unwrap();
        let off = (exponent.value - expected).abs();
        // The printed digits are themselves rounded to half of the last one.
        assert!(off <= 3.0 * error + 6e-5, "{name}: {exponent:?} {expected}");
        let size = if *expected == 0.0 {
            scale
        } else {
            expected.abs()
        };
        assert!(
            off <= relative * size + 6e-5,
            "{name}: {exponent:?} {expected}"
        );
    }
}

#[test]
fn logistic_map() {
    let spectrum = measure(&mut logistic(4.0, 0.1234567), 1_000, 1_000_000);
    assert_spectrum("logistic r=4", &spectrum, &[2f64.ln()], 1e-3);
    // Control: before chaos, at r = 3.2, the orbit has period 2 and the exponent is known:
    // half the logarithm of its multiplier 4 + 2 r - r^2.
    let spectrum = measure(&mut logistic(3.2, 0.3), 10_000, 10_000);
    let expected = 0.5 * (4.0 + 2.0 * 3.2 - 3.2f64.powi(2)).abs().ln();
    assert!((spectrum.exponents[0].value - expected).abs() < 1e-9);
}

#[test]
fn henon_map() {
    let spectrum = measure(&mut henon(), 1_000, 2_000_000);
    assert_spectrum("Henon", &spectrum, &[0.41922, -1.62319], 1e-3);
    // The determinant is -b everywhere.
    assert!((spectrum.sum() - 0.3f64.ln()).abs() < 1e-10);
    // Sprott prints 1.25827 for the Kaplan-Yorke dimension.
    let dimension = spectrum.kaplan_yorke_dimension().unwrap();
    assert!((dimension - 1.25827).abs() < 1e-3, "{dimension}");
    let entropy = spectrum.kolmogorov_sinai_entropy().unwrap();
    assert_eq!(entropy, spectrum.exponents[0].value);
}

#[test]
fn standard_map() {
    // The chaotic sea is sticky: an orbit stays long near islands, and even 1e8 steps leave an
    // error of 2 %. So the digits are held to the standard error alone.
    let spectrum = measure(&mut standard(1.0, [0.0, 6.0]), 1_000, 20_000_000);
    for (exponent, printed) in spectrum.exponents.iter().zip([0.10497, -0.10497]) {
        let error = exponent.standard_error.unwrap();
        assert!(
            (exponent.value - printed).abs() < 3.0 * error,
            "{exponent:?}"
        );
        assert!(error < 0.01, "{exponent:?}");
    }
    assert!(spectrum.sum().abs() < 1e-10);
}

#[test]
fn towel_map() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("golden/lyapunov.json")).unwrap();
    let peer = |list: &str, j: usize| golden["towel"][list][j].as_f64().unwrap();
    let spectrum = measure(&mut towel(), 1_000, 10_000_000);
    // Roessler printed three digits.
    for (j, (exponent, printed)) in spectrum
        .exponents
        .iter()
        .zip([0.430, 0.377, -3.299])
        .enumerate()
    {
        let (value, error) = (exponent.value, exponent.standard_error.unwrap());
        let both = error.hypot(peer("standard_errors", j));
        assert!(
            (value - peer("exponents", j)).abs() < 3.0 * both,
            "{exponent:?}"
        );
        assert!(
            (value - printed).abs() < 1e-3 * f64::abs(printed) + 5e-4,
            "{exponent:?} {printed}"
        );
    }
}

#[test]
fn lorenz_flow() {
    let mut flow = Flow::new(Lorenz, vec![1.0, 1.0, 20.0], 0.01).unwrap();
    let spectrum = measure(&mut flow, 2_000, 4_000_000);
    assert_spectrum("Lorenz", &spectrum, &[0.9056, 0.0, -14.5723], 2e-3);
    // The divergence is -(10 + 1 + 8/3) everywhere.
    assert!(
        (spectrum.sum() + 41.0 / 3.0).abs() < 2e-4,
        "{}",
        spectrum.sum()
    );
}

#[test]
fn roessler_flow() {
    let mut flow = Flow::new(Roessler, vec![1.0, 1.0, 0.0], 0.02).unwrap();
    let spectrum = measure(&mut flow, 20_000, 15_000_000);
    assert_spectrum("Roessler", &spectrum, &[0.0714, 0.0, -5.3943], 3e-2);
}

#[test]
fn a_runge_kutta_step_is_of_fourth_order() {
    let end = |steps: usize| {
        let steps = 4 * steps;
        let mut flow = Flow::new(Lorenz, vec![1.0, 1.0, 20.0], 0.5 / steps as f64).unwrap();
        let mut block = Block::from_columns(3, 1, vec![1.0, 0.0, 0.0]).unwrap();
        (0..steps).for_each(|_| flow.step(&mut block).unwrap());
        [flow.state().to_vec(), block.values().to_vec()]
    };
    let exact = end(1_600);
    for (part, exact) in exact.iter().enumerate() {
        let error = |steps| {
            let found = &end(steps)[part];
            let squares = found.iter().zip(exact).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let order = (error(100) / error(200)).log2();
        assert!((order - 4.0).abs() < 0.2, "{order}");
    }
}

#[test]
fn linear_systems_are_exact() {
    // Upper triangular: the eigenvalues stand on the diagonal.
    let mut linear = LinearMap {
        matrix: vec![2.0, 5.0, -3.0, 0.0, 0.5, 4.0, 0.0, 0.0, -0.1],
        dim: 3,
    };
    let spectrum = measure(&mut linear, 200, 1_000);
    for (exponent, expected) in spectrum.exponents.iter().zip([2.0f64, 0.5, 0.1]) {
        assert!((exponent.value - expected.ln()).abs() < 1e-10);
        assert!(exponent.standard_error.unwrap() < 1e-10);
    }
    assert!(spectrum.complete);
    // A rotation neither grows nor shrinks anything.
    let (sin, cos) = 0.7f64.sin_cos();
    let mut rotation = LinearMap {
        matrix: vec![cos, -sin, sin, cos],
        dim: 2,
    };
    let spectrum = measure(&mut rotation, 0, 100);
    assert!(spectrum.exponents.iter().all(|e| e.value.abs() < 1e-12));
    assert_eq!(spectrum.kaplan_yorke_dimension().map(f64::round), Some(2.0));
}

/// `lambda_1 = 1/2 ln(g^2 E sech^4(sigma z))` with `sigma^2 = g^2 E tanh^2(sigma z)`.
fn mean_field_lambda_1(g: f64) -> f64 {
    let average = |f: &dyn Fn(f64) -> f64| -> f64 {
        let (n, end) = (4_000, 10.0);
        let h = 2.0 * end / f64::from(n);
        (0..=n)
            .map(|i| {
                let z = -end + h * f64::from(i);
                f(z) * (-z * z / 2.0).exp() * h / std::f64::consts::TAU.sqrt()
            })
            .sum()
    };
    let mut sigma = g;
    for _ in 0..500 {
        sigma = g * average(&|z| (sigma * z).tanh().powi(2)).sqrt();
    }
    0.5 * (g * g * average(&|z| (sigma * z).cosh().powi(-4))).ln()
}

#[test]
fn random_rnn_follows_mean_field_theory() {
    for (g, printed) in [
        (2.0, 0.1547),
        (3.0, 0.3103),
        (5.0, 0.5324),
        (10.0, 0.8564),
        (20.0, 1.1924),
    ] {
        let theory = mean_field_lambda_1(g);
        assert!((theory - printed).abs() < 1e-4, "g={g}: {theory}");
        let mut rnn = RandomRnn::new(400, g, 1.0, 1);
        let settings = LyapunovSettings {
            vectors: Some(1),
            transient: 500,
            steps: Some(4_000),
            ..LyapunovSettings::default()
        };
        let spectrum = LyapunovSpectrum::measure(&mut rnn, settings).unwrap();
        let found = spectrum.lambda_1().unwrap();
        assert!(
            (found.value / theory - 1.0).abs() < 0.05,
            "g={g}: {found:?} {theory}"
        );
    }
    for g in [0.5, 0.8] {
        // Below 1 the state dies out and the exponent is the spectral radius' logarithm.
        let mut rnn = RandomRnn::new(400, g, 1.0, 1);
        let settings = LyapunovSettings {
            vectors: Some(4),
            transient: 1_000,
            steps: Some(1_000),
            ..LyapunovSettings::default()
        };
        let found = LyapunovSpectrum::measure(&mut rnn, settings).unwrap();
        let lambda = found.lambda_1().unwrap();
        assert!((lambda.value - f64::ln(g)).abs() < 0.05 * f64::ln(g).abs() + 0.02);
    }
}

#[test]
fn errors_are_told() {
    let run = |system: &mut LinearMap, settings| LyapunovSpectrum::measure(system, settings);
    let matrix = |values: &[f64], dim| LinearMap {
        matrix: values.to_vec(),
        dim,
    };
    let default = LyapunovSettings {
        steps: Some(10),
        ..LyapunovSettings::default()
    };
    let rank_one = run(&mut matrix(&[1.0, 1.0, 1.0, 1.0], 2), default);
    assert!(matches!(
        rank_one,
        Err(DynamicsError::RankDeficient {
            rank: 1,
            vectors: 2,
            ..
        })
    ));
    let zero = run(&mut matrix(&[0.0; 4], 2), default);
    assert!(matches!(
        zero,
        Err(DynamicsError::RankDeficient { rank: 0, .. })
    ));
    for bad in [f64::NAN, f64::INFINITY] {
        let broken = run(&mut matrix(&[bad, 1.0, 1.0, 1.0], 2), default);
        assert!(matches!(
            broken,
            Err(DynamicsError::NonFinite {
                what: "tangent",
                step: 1
            })
        ));
    }
    let empty = run(&mut matrix(&[], 0), default);
    assert_eq!(empty, Err(DynamicsError::ZeroWidth { step: 0 }));
    for vectors in [0, 3] {
        let vectors = Some(vectors);
        let found = run(
            &mut matrix(&[1.0, 0.0, 0.0, 1.0], 2),
            LyapunovSettings { vectors, ..default },
        );
        assert!(matches!(
            found,
            Err(DynamicsError::VectorCount { width: 2, .. })
        ));
    }
    let none = LyapunovSettings {
        interval: Some(0),
        ..default
    };
    let found = run(&mut matrix(&[1.0], 1), none);
    assert!(matches!(
        found,
        Err(DynamicsError::Setting {
            field: "interval",
            ..
        })
    ));
    let endless = run(&mut matrix(&[1.0], 1), LyapunovSettings::default());
    assert!(matches!(
        endless,
        Err(DynamicsError::Setting { field: "steps", .. })
    ));
    let short = run(
        &mut matrix(&[1.0], 1),
        LyapunovSettings {
            steps: Some(1),
            ..default
        },
    );
    assert!(matches!(
        short,
        Err(DynamicsError::TooFewSteps { available: 1, .. })
    ));
    // The logistic map leaves [0, 1] above r = 4.
    let escaped = LyapunovSpectrum::measure(&mut logistic(5.0, 0.3), default);
    assert!(matches!(
        escaped,
        Err(DynamicsError::NonFinite { .. }) | Ok(_)
    ));
    let far = LyapunovSettings {
        steps: Some(100),
        ..default
    };
    let escaped = LyapunovSpectrum::measure(&mut logistic(5.0, 0.3), far);
    assert!(
        matches!(escaped, Err(DynamicsError::NonFinite { .. })),
        "{escaped:?}"
    );
    assert!(Flow::new(Lorenz, vec![0.0; 3], 0.0).is_err());
    assert!(Flow::new(Lorenz, vec![0.0; 3], f64::NAN).is_err());
    assert!(Flow::new(Lorenz, vec![f64::NAN; 3], 0.1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scaling every Jacobian by `c` moves every exponent by `ln c`; the interval does not matter.
    #[test]
    fn laws(
        values in prop::collection::vec(-1.0f64..1.0, 16),
        c in 0.01f64..100.0,
        interval in 1usize..6,
    ) {
        let settings = LyapunovSettings { steps: Some(40), ..LyapunovSettings::default() };
        let fixed = LyapunovSettings { interval: Some(interval), ..settings };
        let mut plain = LinearMap { matrix: values.clone(), dim: 4 };
        let scaled = values.iter().map(|value| c * value).collect();
        let mut scaled = LinearMap { matrix: scaled, dim: 4 };
        // A nearly singular matrix leaves no digits in the last column.
        let reference = LyapunovSpectrum::measure(&mut plain, settings);
        prop_assume!(reference.as_ref().is_ok_and(|s| s.exponents[3].value > -3.0));
        let reference = reference.unwrap();
        let moved = LyapunovSpectrum::measure(&mut scaled, settings).unwrap();
        let same = LyapunovSpectrum::measure(&mut plain, fixed).unwrap();
        for ((a, b), again) in reference.exponents.iter().zip(&moved.exponents).zip(&same.exponents) {
            prop_assert!((a.value + c.ln() - b.value).abs() < 1e-6);
            prop_assert!((a.value - again.value).abs() < 1e-4, "{} {}", a.value, again.value);
        }
    }
}
