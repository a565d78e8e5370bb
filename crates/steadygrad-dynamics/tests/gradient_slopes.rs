//! Compares gradient slopes predicted from initialisation alone with those of random networks.
//!
//! This is the quick version: the networks are narrow, and 76 of the 80 are cut to 40 layers. The
//! example `gradient_slopes` runs the full experiment; `benches/runs` has its rows. Its target is
//! an R^2 of 0.99 and a median error of 3 % over networks of 10 to 1,000 layers.

#[path = "slopes/errors.rs"]
mod errors;
#[path = "slopes/network.rs"]
mod network;

use errors::Errors;
use network::{Case, grid};
use steadygrad_dynamics::Activation;

/// A narrow width saves time. It lowers gradients by about `1 / width` per layer, compared with an
/// infinite width.
const WIDTH: usize = 128;

/// Multiplies with plain loops. In an unoptimised build a library of generic kernels is slower.
fn product(a: &[f64], transposed: bool, b: &[f64], c: &mut [f64], width: usize) {
    c.fill(0.0);
    for (b, c) in b.chunks_exact(width).zip(c.chunks_exact_mut(width)) {
        for (i, row) in a.chunks_exact(width).enumerate() {
            if transposed {
                let scale = b[i];
                c.iter_mut().zip(row).for_each(|(c, a)| *c += scale * a);
            } else {
                c[i] = row.iter().zip(b).map(|(a, b)| a * b).sum();
            }
        }
    }
}

/// The grid with most depths cut to save time. One network in twenty keeps its depth; one of these
/// has 1,000 layers.
fn cases() -> Vec<Case> {
    let mut cases = grid();
    for (i, case) in cases.iter_mut().enumerate() {
        if i % 20 != 3 {
            case.depth = case.depth.min(40);
        }
    }
    cases
}

#[test]
fn mean_field_predicts_the_slopes_of_eighty_networks() {
    let cases = cases();
    assert!(cases.len() >= 60);
    assert!(cases.iter().any(|case| case.depth == 1_000));
    let slopes: Vec<_> = cases
        .iter()
        .map(|case| case.slopes(WIDTH, 2, product))
        .collect();
    let theory = Errors::of(
        &slopes
            .iter()
            .map(|s| (s.predicted, s.measured))
            .collect::<Vec<_>>(),
    );
    assert!(theory.r_squared >= 0.99, "{theory:?}");
    assert!(theory.factor <= 0.03, "{theory:?}");
    assert!(theory.relative <= 0.03, "{theory:?}");
    // The control: the prediction from the weight scale alone.
    let control: Vec<_> = cases
        .iter()
        .zip(&slopes)
        .map(|(c, s)| (c.sigma_w.ln(), s.measured))
        .collect();
    let control = Errors::of(&control);
    assert!(
        control.r_squared < 0.9 && control.factor > 0.1,
        "{control:?}"
    );
}

/// Gradients of `e^750` and `e^-1700` are outside the range of f64.
#[test]
fn a_thousand_layers_beyond_f64() {
    for (activation, sigma_w) in [
        (Activation::Relu, 3.0),
        (Activation::Linear, 3.0),
        (Activation::Sigmoid, 0.7),
    ] {
        let case = Case {
            activation,
            sigma_w,
            sigma_b: 0.0,
            depth: 1_000,
            seed: 5,
        };
        let slopes = case.slopes(32, 1, product);
        let growth = 999.0 * slopes.measured;
        assert!(
            growth > f64::MAX.ln() || growth < f64::MIN_POSITIVE.ln(),
            "{growth}"
        );
        // A width of 32 shifts the slope by several hundredths.
        assert!(
            (slopes.measured - slopes.predicted).abs() < 0.08,
            "{case:?} {slopes:?}"
        );
    }
}

/// A finite width lowers the log norm. It is the only difference between theory and measurement.
#[test]
fn the_gap_shrinks_with_the_width() {
    let case = Case {
        activation: Activation::Relu,
        sigma_w: 2.0,
        sigma_b: 0.0,
        depth: 150,
        seed: 11,
    };
    let gap = |width: usize| {
        let slopes = case.slopes(width, 1, product);
        slopes.measured - slopes.predicted
    };
    let (narrow, wide) = (gap(16), gap(96));
    assert!(
        narrow < -0.02 && wide < 0.0 && wide > 0.4 * narrow,
        "{narrow} {wide}"
    );
}

/// Some activations have no closed form of the critical scale. At their scale wide random layers
/// neither amplify nor damp; elsewhere they do. GELU and SiLU have such a scale only with biases.
#[test]
fn critical_scales_by_brute_force() {
    use steadygrad_dynamics::{CriticalPoint, critical_sigma_w};
    for (activation, sigma_b) in [
        (Activation::Sigmoid, 0.0),
        (Activation::Gelu, 1.0),
        (Activation::Silu, 1.0),
        (Activation::Selu, 0.3),
        (Activation::Tanh, 0.3),
    ] {
        let CriticalPoint::Continuous { sigma_w, .. } =
            critical_sigma_w(activation, sigma_b).unwrap()
        else {
            panic!("{activation:?}")
        };
        let factor = |share: f64| {
            let case = Case {
                activation,
                sigma_w: share * sigma_w,
                sigma_b,
                depth: 40,
                seed: 3,
            };
            case.slopes(128, 3, product).measured.exp()
        };
        let at = factor(1.0);
        assert!((at - 1.0).abs() < 0.03, "{activation:?}: {at}");
        assert!(factor(0.8) < at && at < factor(1.25), "{activation:?}");
    }
}
