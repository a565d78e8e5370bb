//! SG007: the initial weights are too large for this activation and depth.

use crate::diagnose::run::LayerProfile;
use crate::diagnose::sketch::{diverging, healthy};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, ModelCase, Needs, RemedyFamilies, Rule,
};
use crate::dynamics::{Axis, CriticalPoint, MeanField};
use crate::measurements::Measurements;
use crate::remedy::Family;
use crate::{Evidence, Place};

/// The largest product of the growth that mean-field theory predicts: the tenfold ratio across
/// layers of SageMaker Debugger's PoorWeightInitialization rule.
const MAX_PRODUCT: f64 = 10.0;

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let measurements = case.measurements;
    let gain = measurements.repeated_gain()?;
    if gain.is_nan() {
        return None;
    }
    let Theory {
        critical,
        growth,
        bound,
    } = theory(measurements, gain)?;
    let activation = measurements.activation.name();
    let words = Words::of(critical, activation);
    let critical = critical.sigma_w();
    let steps = measurements.growth.points.len().saturating_sub(1);
    let product = growth.powf(steps as f64);
    if product.is_nan() || product <= MAX_PRODUCT || is_measured_level(measurements, steps) {
        return None;
    }
    let repeated = measurements
        .weights
        .iter()
        .find(|matrix| matrix.role.is_repeated())?;
    let std = gain / (repeated.fan_in as f64).sqrt();
    let critical_std = critical / (repeated.fan_in as f64).sqrt();
    let unit = measurements.growth.axis.unit();
    Some(Finding {
        code: RULE.code.into(),
        title: format!(
            "initial weights have gain {gain:.2}, {activation} {} at {critical:.2}: {bound}\
             x{product:.1e} over {steps} {unit}s",
            words.turns
        ),
        place: Place::Parameter(repeated.name.clone()),
        step: None,
        evidence: vec![
            Evidence::new("gain (std * sqrt(fan_in))", gain),
            Evidence::new(words.gain, critical),
            Evidence::new("standard deviation", std),
            Evidence::new(words.std, critical_std),
        ],
        why: format!(
            "By mean-field theory a {unit} multiplies gradients by {bound}{growth:.2} on average \
             at this gain. A fixed standard deviation that suits one width is wrong for another."
        ),
        help: format!(
            "Draw weights with standard deviation {}{critical:.3} / sqrt(fan_in) = \
             {critical_std:.4} instead of {std:.4}.{}",
            words.below, words.advice
        ),
        ..Finding::default()
    })
}

/// Whether the measured gradient refutes the theory, which is about plain layers: in a residual
/// network, for example, it does not grow. Through time the theory is an upper bound anyway.
fn is_measured_level(measurements: &Measurements, steps: usize) -> bool {
    let measured = measurements.growth.backward_log_growth();
    measurements.growth.axis == Axis::Depth
        && measured.is_some_and(|rate| rate.value * steps as f64 <= MAX_PRODUCT.ln())
}

/// What is said about the critical point.
struct Words {
    turns: &'static str,
    gain: &'static str,
    std: &'static str,
    below: &'static str,
    advice: String,
}

impl Words {
    fn of(critical: CriticalPoint, activation: &str) -> Self {
        match critical {
            CriticalPoint::Continuous { .. } => Self {
                turns: "is critical",
                gain: "critical gain",
                std: "critical standard deviation",
                below: "",
                advice: String::new(),
            },
            CriticalPoint::Jump { below, .. } => Self {
                turns: "turns from vanishing to exploding",
                gain: "gain at which chi_1 jumps over 1",
                std: "standard deviation at the jump",
                below: "below ",
                advice: format!(
                    " No scale is critical for {activation}: just below the jump the squared \
                     gradient norm shrinks by x{below:.2} a step. A residual connection or a \
                     normalisation keeps it level."
                ),
            },
        }
    }
}

/// What mean-field theory says about a network.
struct Theory {
    critical: CriticalPoint,
    /// Factor of the gradient a step.
    growth: f64,
    /// "up to " where the factor is an upper bound.
    bound: &'static str,
}

/// `None` where the theory does not apply: layers with normalisation, or numbers beyond it.
fn theory(measurements: &Measurements, gain: f64) -> Option<Theory> {
    if let Some(measured) = measurements.criticality {
        return Some(Theory {
            critical: measured.critical,
            growth: measured.log_growth.exp(),
            bound: "",
        });
    }
    if measurements.normalized {
        return None;
    }
    // The theory takes finite numbers, and beyond this gain nothing changes.
    let network = MeanField::new(measurements.activation, gain.min(1e75), 0.0).ok()?;
    let (growth, bound) = match measurements.growth.axis {
        Axis::Depth => (network.chi_1_at_fixed_point().sqrt(), ""),
        // A state starts small, and a small state damps nothing: the factor is an upper bound.
        Axis::Time => (network.chi_1(0.0).sqrt(), "up to "),
    };
    Some(Theory {
        critical: measurements.activation.critical_point(),
        growth,
        bound,
    })
}

/// The largest product of a profile at the very first step: a hundred times the ratio above which
/// SageMaker Debugger's rule calls an initialisation poor, since gradients spread more than
/// weights.
const MAX_FIRST_PRODUCT: f64 = 1e3;

pub(super) const RULE: Rule = Rule {
    code: "SG007",
    name: "initialisation-off-criticality",
    what: "The initial weights are too large for this activation and depth.",
    why: "At a weight scale above the critical one, each layer multiplies gradients by more than \
          1 on average, before anything is learnt.",
    evidence: "Before training, the weights' scale beside mean-field theory's (`steadygrad \
               probe`). In a log, a geometric profile of `grad_norm/<parameter>` at the very \
               first step of a run that is lost later.",
    needs: Needs {
        parameters: true,
        ..Needs::ANY
    },
    blind: "In a log, the weights themselves; runs whose log begins after the tenth step.",
    remedy: "Draw weights with standard deviation gain / sqrt(fan_in), with the activation's \
             critical gain: 1 for tanh, sqrt 2 for ReLU.",
    fix_safety: "A changed initialisation means training from the start.",
    references: &[
        "Poole et al., 2016; Schoenholz et al., 2017: mean-field theory of deep networks",
        "SageMaker Debugger, PoorWeightInitialization: ratio 10 across layers",
    ],
    example: Example::Logs {
        fires: || diverging().layers(20, 1e5).trace(),
        silent: healthy,
    },
    families: RemedyFamilies {
        through_depth: &[Family::Initialize, Family::Normalize],
        through_time: &[Family::Clip, Family::Regularize, Family::Simplify],
    },
    effect: GradientEffect::Other,
    hit_rate: None,
    before_training: Some(check),
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    history.onset()?;
    history.rise()?;
    let first = history.rows().first()?.step;
    let profile = LayerProfile::of(&history.parameters_at(first))?;
    let product = profile.product();
    if first > 10
        || product <= MAX_FIRST_PRODUCT
        || profile.r_squared < super::sg003_growth_through_depth::STRAIGHT
    {
        return None;
    }
    let factor = 1.0 / profile.rate;
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: format!(
            "at {} the gradient already grows x{:.2} per layer, x{product:.1e} over {} \
             layers",
            history.at(first),
            profile.rate,
            profile.count
        ),
        place: Place::Layer(profile.first.clone()),
        step: Some(first),
        evidence: vec![
            Evidence::new("growth factor per layer", profile.rate),
            Evidence::new("layers", profile.count as f64),
            Evidence::new("R^2 of the line through the logarithms", profile.r_squared),
        ],
        why: RULE.why.into(),
        help: format!(
            "Multiply the initial weights of these layers by {factor:.2}; `steadygrad probe` and \
             `cure` compute the critical scale of a model."
        ),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;
    use crate::dynamics::{Activation, Criticality, GrowthProfile};

    /// Makes the measured gradient grow by half at each layer.
    fn grow(measurements: &mut Measurements) {
        let layers = measurements.growth.points.len() as i32;
        let gradient = |layer: i32| 0.1 * 1.5f64.powi(layers - 1 - layer);
        let points = (0..layers).map(|layer| (format!("hidden.{layer}"), 1.0, gradient(layer)));
        measurements.growth = GrowthProfile::new(Axis::Depth, points);
    }

    /// A residual network of the same weights: its gradient does not grow, whatever the theory of
    /// plain layers says.
    #[test]
    fn is_silent_where_the_measured_gradient_is_level() {
        let level = verdict(check, |measurements, _, _| {
            for matrix in &mut measurements.weights {
                matrix.frobenius_norm *= 1.5;
            }
        });
        assert_eq!(level, None);
    }

    /// The initialisation of SELU's authors is above the critical gain, and grows by 3.5 % a
    /// layer: the gain alone would say 45 %.
    #[test]
    fn is_silent_about_selu_with_unit_gain() {
        let selu = |gain: f64| {
            verdict(check, |measurements, _, _| {
                grow(measurements);
                measurements.activation = Activation::Selu;
                for matrix in &mut measurements.weights {
                    matrix.frobenius_norm = gain * (matrix.fan_out as f64).sqrt();
                }
            })
        };
        assert_eq!(selu(1.0), None);
        assert!(selu(2.0).is_some());
    }

    /// At gain 1.4 a SELU signal settles after hundreds of layers; until then its gradient grows.
    #[test]
    fn follows_a_signal_that_has_not_settled() {
        let finding = verdict(check, |measurements, _, _| {
            grow(measurements);
            measurements.activation = Activation::Selu;
            for matrix in &mut measurements.weights {
                matrix.frobenius_norm = 1.4 * (matrix.fan_out as f64).sqrt();
            }
            let steps = measurements.growth.points.len() - 1;
            let network = MeanField::new(Activation::Selu, 1.4, 0.0).unwrap();
            measurements.criticality = Criticality::new(network, 1.96, steps).ok();
        });
        assert!(finding.unwrap().evidence[0].value > 1.39);
    }

    #[test]
    fn is_silent_where_layers_are_normalised() {
        let normalized = verdict(check, |measurements, _, _| {
            grow(measurements);
            measurements.normalized = true;
            for matrix in &mut measurements.weights {
                matrix.frobenius_norm *= 2.0;
            }
        });
        assert_eq!(normalized, None);
    }

    /// GELU has no critical gain, only one at which chi_1 jumps; the rule still finds growth.
    #[test]
    fn fires_without_a_critical_gain() {
        let finding = verdict(check, |measurements, _, _| {
            grow(measurements);
            measurements.activation = Activation::Gelu;
            for matrix in &mut measurements.weights {
                matrix.frobenius_norm = f64::INFINITY;
            }
        });
        let finding = finding.unwrap();
        assert!((finding.evidence[1].value - 1.5335).abs() < 1e-4);
        // One voice with `initialize`, which says that gelu has no critical weight scale.
        let names = finding.evidence.iter().map(|evidence| &evidence.name);
        assert!(
            names
                .chain([&finding.title])
                .all(|name| !name.contains("critical"))
        );
        assert!(
            finding.help.contains("below 1.534 / sqrt(fan_in)"),
            "{}",
            finding.help
        );
        assert!(
            finding.help.contains("No scale is critical for gelu"),
            "{}",
            finding.help
        );
    }

    #[test]
    fn fires_when_the_gain_is_too_large_for_the_depth() {
        let with = |factor: f64| {
            verdict(check, |measurements, _, _| {
                grow(measurements);
                for matrix in &mut measurements.weights {
                    matrix.frobenius_norm *= factor;
                }
            })
        };
        assert_eq!(with(1.0), None);
        assert_eq!(with(0.5), None, "too small vanishes; it does not explode");
        assert_eq!(with(f64::NAN), None);
        let finding = with(1.5).unwrap();
        assert!((finding.evidence[0].value / finding.evidence[1].value - 1.5).abs() < 1e-9);
        assert_eq!(
            verdict(check, |measurements, _, _| measurements.weights.clear()),
            None
        );
    }
}
