//! Compares spectra with textbooks, closed forms and mean-field theory.

mod systems;

use proptest::prelude::*;
use steadygrad_dynamics::{
    Block, DynamicsError, Flow, LyapunovSettings, LyapunovSpectrum, TangentSystem,
};
use systems::{
    Layers, LinearMap, Lorenz, RandomRnn, Roessler, Turning, henon, logistic, mean_field_lambda_1,
    standard, towel,
};

fn settings(transient: usize, steps: usize) -> LyapunovSettings {
    LyapunovSettings::default()
        .with_transient(transient)
        .with_steps(steps)
}

fn measure(system: &mut impl TangentSystem, transient: usize, steps: usize) -> LyapunovSpectrum {
    LyapunovSpectrum::measure(system, settings(transient, steps)).unwrap()
}

/// Each exponent must be within three standard errors of the published value, and within this share
/// of it. For an exponent of 0 the share is of the smallest non-zero exponent. Half a unit of the
/// last digit is added, because the published value is rounded.
fn assert_spectrum(
    name: &str,
    spectrum: &LyapunovSpectrum,
    printed: &[f64],
    half: f64,
    relative: f64,
) {
    assert_eq!(spectrum.exponents.len(), printed.len());
    let sizes = printed.iter().map(|e| e.abs()).filter(|size| *size > 0.0);
    let smallest = sizes.fold(f64::MAX, f64::min);
    for (exponent, printed) in spectrum.exponents.iter().zip(printed) {
        let error = exponent.standard_error.unwrap();
        let off = (exponent.value - printed).abs() - half;
        let size = printed
            .abs()
            .max(if *printed == 0.0 { smallest } else { 0.0 });
        assert!(off <= 3.0 * error, "{name}: {exponent:?} {printed}");
        assert!(off <= relative * size, "{name}: {exponent:?} {printed}");
    }
    // The automatic interval guarantees this.
    assert!(
        spectrum.digits_lost < 6.0,
        "{name}: {}",
        spectrum.digits_lost
    );
}

#[test]
fn logistic_map() {
    let spectrum = measure(&mut logistic(4.0, 0.1234567), 1_000, 1_000_000);
    assert_spectrum("logistic r=4", &spectrum, &[2f64.ln()], 0.0, 1e-3);
    // The control: at r = 3.2, before chaos, the orbit has period 2. Its exponent is half the
    // logarithm of its multiplier 4 + 2 r - r^2.
    let spectrum = measure(&mut logistic(3.2, 0.3), 10_000, 10_000);
    let expected = 0.5 * (4.0 + 2.0 * 3.2 - 3.2f64.powi(2)).abs().ln();
    assert!((spectrum.exponents[0].value - expected).abs() < 1e-9);
}

#[test]
fn henon_map() {
    let spectrum = measure(&mut henon(), 1_000, 4_000_000);
    assert_spectrum("Henon", &spectrum, &[0.41922, -1.62319], 5e-6, 1e-3);
    // The determinant is -b everywhere.
    assert!((spectrum.sum() - 0.3f64.ln()).abs() < 1e-10);
    // Sprott's Kaplan-Yorke dimension is 1 + 0.41922 / 1.62319 = 1.25827.
    let dimension = spectrum.kaplan_yorke_dimension().unwrap();
    assert!((dimension - 1.25827).abs() < 3e-4, "{dimension}");
    let entropy = spectrum.kolmogorov_sinai_entropy().unwrap();
    assert_eq!(entropy, spectrum.exponents[0].value);
}

#[test]
fn standard_map() {
    // An error of a thousandth is out of reach, because an orbit stays long near islands.
    // Correlations fall as a power of time, and the error falls more slowly than 1 / sqrt(steps).
    // After 4e8 steps it is still 1.8 % (benches/runs/2026-11-25-spectra.md). This bound suits the
    // length of this run.
    let spectrum = measure(&mut standard(1.0, [0.0, 6.0]), 1_000, 40_000_000);
    assert_spectrum("standard k=1", &spectrum, &[0.10497, -0.10497], 5e-6, 0.05);
    // The map preserves areas.
    assert!(spectrum.sum().abs() < 1e-10);
}

#[test]
fn towel_map() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("golden/lyapunov.json")).unwrap();
    let peer = |list: &str, j: usize| golden["towel"][list][j].as_f64().unwrap();
    let spectrum = measure(&mut towel(), 1_000, 10_000_000);
    // Roessler published three digits.
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
    let spectrum = measure(&mut flow, 2_000, 20_000_000);
    assert_spectrum("Lorenz", &spectrum, &[0.9056, 0.0, -14.5723], 5e-5, 1e-3);
    // The divergence is -(10 + 1 + 8/3) everywhere.
    assert!(
        (spectrum.sum() + 41.0 / 3.0).abs() < 2e-4,
        "{}",
        spectrum.sum()
    );
    // Sprott's value is 2.06215.
    let dimension = spectrum.kaplan_yorke_dimension().unwrap();
    assert!((dimension - 2.06215).abs() < 2e-4, "{dimension}");
}

#[test]
fn roessler_flow() {
    // An error of a thousandth needs 6e6 units of time (`examples/known_spectra.rs` reaches 6e-4).
    // These 8e5 units leave a standard error of 2.5e-3.
    let mut flow = Flow::new(Roessler, vec![1.0, 1.0, 0.0], 0.02).unwrap();
    let spectrum = measure(&mut flow, 20_000, 40_000_000);
    let printed = [0.0714, 0.0, -5.3943];
    assert_spectrum("Roessler", &spectrum, &printed, 5e-5, 5e-3);
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
    // The matrix is upper triangular, so the diagonal holds its eigenvalues.
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
    // A rotation neither stretches nor shrinks any vector.
    let (sin, cos) = 0.7f64.sin_cos();
    let mut rotation = LinearMap {
        matrix: vec![cos, -sin, sin, cos],
        dim: 2,
    };
    let spectrum = measure(&mut rotation, 0, 100);
    assert!(spectrum.exponents.iter().all(|e| e.value.abs() < 1e-12));
    assert_eq!(spectrum.kaplan_yorke_dimension().map(f64::round), Some(2.0));
}

/// A calm start must not make the automatic interval too long for later steps.
#[test]
fn a_system_that_changes_is_measured_through_the_change() {
    let (sin, cos) = 0.7f64.sin_cos();
    // The system first rotates in planes. Then it scales each direction, half with each factor.
    let turning = |planes: usize, factors: [f64; 2]| {
        let dim = 2 * planes;
        let (mut first, mut then) = (vec![0.0; dim * dim], vec![0.0; dim * dim]);
        for plane in 0..planes {
            let (a, b) = (2 * plane, 2 * plane + 1);
            (first[a * dim + a], first[a * dim + b]) = (cos, -sin);
            (first[b * dim + a], first[b * dim + b]) = (sin, cos);
            (then[a * dim + a], then[b * dim + b]) = (factors[0], factors[1]);
        }
        let linear = |matrix| LinearMap { matrix, dim };
        Turning {
            first: linear(first),
            then: linear(then),
            at: 5_000,
            done: 0,
        }
    };
    for (planes, factors) in [
        (1, [1.01, 0.99]),
        (1, [2.0, 0.5]),
        (1, [20.0, 0.05]),
        (1, [1.0, 1e-3]),
        (2, [1.0, 1e-3]),
        (8, [10.0, 0.1]),
        (10, [1.01, 0.99]),
        (10, [10.0, 0.1]),
        (10, [1.0, 0.5]),
        (10, [100.0, 50.0]),
    ] {
        let spectrum = measure(&mut turning(planes, factors), 8_000, 1_000);
        for (i, exponent) in spectrum.exponents.iter().enumerate() {
            let expected = factors[i / planes].ln();
            let off = (exponent.value - expected).abs();
            assert!(off < 1e-9, "{planes} {factors:?}: {exponent:?}");
        }
        let lost = spectrum.digits_lost;
        assert!(lost <= 6.0, "{planes} {factors:?}: {lost} digits");
    }
    // This block is too wide for a check after each step. Half of its columns suddenly shrink, and
    // none grows. The error must not claim a Jacobian without full rank.
    let found = LyapunovSpectrum::measure(&mut turning(10, [1.0, 1e-3]), settings(8_000, 1_000));
    assert!(
        matches!(
            found,
            Err(DynamicsError::DriftedApart {
                step: 5_001..=5_016,
                interval: 16
            })
        ),
        "{found:?}"
    );
    let every = settings(8_000, 1_000).with_interval(1);
    assert!(LyapunovSpectrum::measure(&mut turning(10, [1.0, 1e-3]), every).is_ok());

    // One dimension loses no digits, but a long interval would overflow.
    let linear = |factor| LinearMap {
        matrix: vec![factor],
        dim: 1,
    };
    for (first, then) in [(1.0001, 1.5), (0.9999, 0.5), (1.0, 1e9)] {
        let mut system = Turning {
            first: linear(first),
            then: linear(then),
            at: 30_000,
            done: 0,
        };
        let spectrum = measure(&mut system, 20_000, 20_000);
        let expected = 0.5 * (f64::ln(first) + f64::ln(then));
        let off = (spectrum.exponents[0].value - expected).abs();
        assert!(off < 1e-10, "{first} {then}: {off}");
    }
}

#[test]
fn an_interval_that_is_too_long_is_not_a_singular_jacobian() {
    let long = settings(0, 100_000).with_interval(32);
    assert!(matches!(
        LyapunovSpectrum::measure(&mut henon(), long),
        Err(DynamicsError::DriftedApart { interval: 32, .. })
    ));
}

#[test]
fn the_convergence_ends_in_the_exponents() {
    // 40 steps fill 32 windows of one or two steps.
    let mut layers = Layers::new(&[2; 41], |layer| layer as f64);
    let spectrum = LyapunovSpectrum::measure(&mut layers, LyapunovSettings::default()).unwrap();
    let lengths: Vec<usize> = spectrum.windows.iter().map(|w| w.steps).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 40);
    assert!(lengths.contains(&1) && lengths.contains(&2));
    let values: Vec<f64> = spectrum.exponents.iter().map(|e| e.value).collect();
    let convergence = spectrum.convergence();
    assert_eq!(convergence.len(), 32);
    assert_eq!(convergence.last(), Some(&values));
    // The mean of the logarithms is ln(40!) / 40.
    let expected = (1..=40).map(|i| f64::from(i).ln()).sum::<f64>() / 40.0;
    assert!((values[0] - expected).abs() < 1e-12);
    let text = serde_json::to_string(&spectrum).unwrap();
    let back: LyapunovSpectrum = serde_json::from_str(&text).unwrap();
    assert_eq!(back, spectrum);
}

#[test]
fn entropy_and_dimension_are_unknown_while_exponents_are_missing() {
    let leading = |system: &mut dyn FnMut(LyapunovSettings) -> LyapunovSpectrum| {
        let one = settings(100, 1_000).with_vectors(1);
        let spectrum = system(one);
        (
            spectrum.complete,
            spectrum.kolmogorov_sinai_entropy(),
            spectrum.kaplan_yorke_dimension(),
        )
    };
    let found = leading(&mut |one| LyapunovSpectrum::measure(&mut henon(), one).unwrap());
    assert_eq!(found, (false, None, None));
    // If the largest exponent is negative, so are all others.
    let mut shrinking = LinearMap {
        matrix: vec![0.5, 0.0, 0.0, 0.25],
        dim: 2,
    };
    let found = leading(&mut |one| LyapunovSpectrum::measure(&mut shrinking, one).unwrap());
    assert_eq!(found, (false, Some(0.0), Some(0.0)));
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
        let found = [1, 2, 3].map(|seed| leading(g, seed, 2_000).1);
        let mean = found.iter().sum::<f64>() / 3.0;
        assert!(
            (mean / theory - 1.0).abs() < 0.05,
            "g={g}: {found:?} {theory}"
        );
    }
}

/// Below `g = 1` the state decays to 0, and the exponent is the logarithm of the spectral radius.
///
/// The radius is `g` for an infinite width. At a finite width it is larger, by an excess that falls
/// only as `sqrt(ln N / N)`. Its limit is Gumbel's law (Rider and Sinclair, 2014). 400 units are
/// too few for that limit, so the excess was measured. `ln(radius / g)` of 60 such matrices,
/// sampled with NumPy, is 0.030 with a standard deviation of 0.015. That is more than 5 % of
/// `|ln 0.8|`. Each seed is therefore compared with its own radius. The mean is compared with
/// `ln g`, within three of these standard deviations.
#[test]
fn a_random_rnn_that_dies_out_has_its_spectral_radius() {
    for g in [0.5, 0.8] {
        let found = [1, 2, 3].map(|seed| {
            let (radius, lambda) = leading(g, seed, 4_000);
            // The leading pair is complex, so the growth in its plane oscillates within bounds.
            let off = (lambda - radius.ln()).abs();
            assert!(off < 2e-3, "g={g}: {lambda} {}", radius.ln());
            lambda - f64::ln(g)
        });
        let mean = found.iter().sum::<f64>() / 3.0;
        let deviation = 0.015 / f64::sqrt(3.0);
        assert!((mean - 0.030).abs() < 3.0 * deviation, "g={g}: {found:?}");
    }
}

/// Spectral radius and leading exponent at 400 units.
fn leading(g: f64, seed: u64, steps: usize) -> (f64, f64) {
    let mut rnn = RandomRnn::new(400, g, 1.0, seed);
    let radius = if g < 1.0 {
        rnn.spectral_radius()
    } else {
        f64::NAN
    };
    let one = settings(500, steps).with_vectors(1);
    let spectrum = LyapunovSpectrum::measure(&mut rnn, one).unwrap();
    (radius, spectrum.lambda_1().unwrap().value)
}

#[test]
fn a_sequence_that_ends_or_narrows() {
    let measure = |widths: &[usize], settings| {
        LyapunovSpectrum::measure(&mut Layers::new(widths, |_| 2.0), settings)
    };
    let with = |transient, steps: Option<usize>| {
        let all = LyapunovSettings::default().with_transient(transient);
        steps.map_or(all, |steps| all.with_steps(steps))
    };
    let fifty = [3; 51];
    for (transient, steps, needed) in [
        (0, Some(1_000), 1_000),
        (0, Some(51), 51),
        (45, Some(10), 10),
        (0, Some(0), 2),
        (49, None, 2),
        (50, None, 2),
        (60, None, 2),
        (usize::MAX, Some(10), 10),
    ] {
        let found = measure(&fifty, with(transient, steps));
        assert!(
            matches!(
                found,
                Err(DynamicsError::TooFewSteps { transient: t, needed: n, .. })
                    if t == transient && n == needed
            ),
            "{transient} {steps:?}: {found:?}"
        );
    }
    let whole = measure(&fifty, with(0, Some(50))).unwrap();
    assert_eq!((whole.steps, whole.complete), (50, true));
    let rest = measure(&fifty, with(40, None)).unwrap();
    assert_eq!(rest.steps, 10);
    assert!((rest.exponents[2].value - 2f64.ln()).abs() < 1e-12);

    // A sequence may also end or narrow in the middle of an interval.
    for interval in [None, Some(1), Some(7)] {
        let all = |vectors| {
            let mut settings = LyapunovSettings::default();
            (settings.vectors, settings.interval) = (vectors, interval);
            settings
        };
        let dying = [4, 4, 4, 0, 0, 0];
        let expected = Err(DynamicsError::ZeroWidth { step: 3 });
        assert_eq!(measure(&dying, all(None)), expected);
        let narrowing = [5, 5, 4, 3, 3, 4];
        for (vectors, step) in [(None, 4), (Some(4), 3)] {
            let expected = DynamicsError::VectorCount {
                vectors: vectors.unwrap_or(5),
                width: step,
            };
            assert_eq!(measure(&narrowing, all(vectors)), Err(expected));
        }
        let found = measure(&narrowing, all(Some(3))).unwrap();
        assert!(found.complete, "the narrowest state has three units");
        assert!(!measure(&narrowing, all(Some(2))).unwrap().complete);
    }
}

#[test]
fn errors_name_the_step_and_the_setting() {
    let run = |system: &mut LinearMap, settings| LyapunovSpectrum::measure(system, settings);
    let matrix = |values: &[f64], dim| LinearMap {
        matrix: values.to_vec(),
        dim,
    };
    let default = LyapunovSettings::default().with_steps(10);
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
        let found = run(
            &mut matrix(&[1.0, 0.0, 0.0, 1.0], 2),
            default.with_vectors(vectors),
        );
        assert!(matches!(
            found,
            Err(DynamicsError::VectorCount { width: 2, .. })
        ));
    }
    let found = run(&mut matrix(&[1.0], 1), default.with_interval(0));
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
    let short = run(&mut matrix(&[1.0], 1), default.with_steps(1));
    assert!(matches!(
        short,
        Err(DynamicsError::TooFewSteps { available: 1, .. })
    ));
    // Above r = 4 the logistic map leaves [0, 1]. From 0.3 it leaves at once, then grows like a
    // square at each step. At the twelfth step it overflows f64.
    let escaped = LyapunovSpectrum::measure(&mut logistic(5.0, 0.3), settings(0, 100));
    let expected = DynamicsError::NonFinite {
        what: "state",
        step: 12,
    };
    assert_eq!(escaped, Err(expected));
    assert!(Flow::new(Lorenz, vec![0.0; 3], 0.0).is_err());
    assert!(Flow::new(Lorenz, vec![0.0; 3], f64::NAN).is_err());
    assert!(Flow::new(Lorenz, vec![f64::NAN; 3], 0.1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scaling every Jacobian by `c` adds `ln c` to every exponent, at any interval.
    #[test]
    fn laws(
        values in prop::collection::vec(-1.0f64..1.0, 16),
        c in 0.01f64..100.0,
        interval in 1usize..6,
    ) {
        let settings = LyapunovSettings::default().with_steps(40);
        let fixed = settings.with_interval(interval);
        let mut plain = LinearMap { matrix: values.clone(), dim: 4 };
        let scaled = values.iter().map(|value| c * value).collect();
        let mut scaled = LinearMap { matrix: scaled, dim: 4 };
        // A nearly singular matrix leaves no accurate digits in the last column.
        let reference = LyapunovSpectrum::measure(&mut plain, settings);
        prop_assume!(reference.as_ref().is_ok_and(|s| s.exponents[3].value > -3.0));
        let reference = reference.unwrap();
        let moved = LyapunovSpectrum::measure(&mut scaled, settings).unwrap();
        let same = LyapunovSpectrum::measure(&mut plain, fixed).unwrap();
        let pairs = reference.exponents.iter().zip(&moved.exponents);
        for ((a, b), again) in pairs.zip(&same.exponents) {
            prop_assert!((a.value + c.ln() - b.value).abs() < 1e-6);
            prop_assert!((a.value - again.value).abs() < 1e-4, "{} {}", a.value, again.value);
        }
    }
}
