//! SG003: the gradient grows from layer to layer.

use crate::diagnose::run::LayerProfile;
use crate::diagnose::sketch::{Sketch, diverging};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, ModelCase, Needs, RemedyFamilies, Rule,
};
use crate::dynamics::{Axis, GrowthPoint, GrowthProfile};
use crate::remedy::Family;
use crate::{Evidence, Place};

/// A first layer's gradient above this many times the last layer's is a fault (AutoTrainer's rule
/// for exploding gradients, ICSE 2021).
pub(super) const MAX_RATIO: f64 = 70.0;

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    check_axis(&case.measurements.growth, Axis::Depth, RULE.code)
}

/// Checks a profile along one axis: SG003 asks for depth, SG004 for time.
pub(super) fn check_axis(profile: &GrowthProfile, axis: Axis, code: &str) -> Option<Finding> {
    if profile.axis != axis {
        return None;
    }
    let rate = profile.backward_growth_rate()?;
    let steps = profile.points.len() - 1;
    let product = rate.powf(steps as f64);
    if product <= MAX_RATIO {
        return None;
    }
    let unit = axis.unit();
    let (index, worst, factor) = worst(profile)?;
    let mut evidence = vec![
        Evidence::new(format!("growth factor per {unit}"), rate),
        Evidence::new(format!("{unit}s"), steps as f64),
        Evidence::new("product of the factors", product),
        Evidence::new(format!("largest factor (at {})", worst.name), factor),
    ];
    if let Some(left) = profile.steps_to_f32_overflow() {
        let name = format!("further {unit}s until f32 overflows");
        evidence.push(Evidence::new(name, left));
    }
    let (place, help) = match axis {
        Axis::Depth => (
            Place::Layer(profile.points[0].name.clone()),
            "Bring the factor to 1 (initialisation, normalisation), or use fewer layers.",
        ),
        Axis::Time => (
            Place::TimeStep(index),
            "Bring the factor to 1 (scale or constrain the recurrent matrix), clip, or shorten \
             the backward pass.",
        ),
    };
    Some(Finding {
        code: code.into(),
        title: format!(
            "the gradient grows x{rate:.2} per {unit}, x{product:.2e} over {steps} {unit}s"
        ),
        place,
        step: None,
        evidence,
        why: format!(
            "The gradient is a product of one Jacobian per {unit}. A mean factor above 1 makes it \
             grow exponentially with the number of {unit}s, and with it the effect of any tiny \
             change."
        ),
        help: help.into(),
        ..Finding::default()
    })
}

/// The point with the largest finite growth factor, and that factor.
fn worst(profile: &GrowthProfile) -> Option<(usize, &GrowthPoint, f64)> {
    let points = profile.points.iter().enumerate();
    let factors = points.filter_map(|(index, point)| {
        let factor = point.backward_growth.filter(|factor| factor.is_finite())?;
        Some((index, point, factor))
    });
    factors.max_by(|a, b| a.2.partial_cmp(&b.2).expect("finite"))
}

pub(super) const RULE: Rule = Rule {
    code: "SG003",
    name: "amplification-through-depth",
    what: "The gradient grows from layer to layer on its way back.",
    why: "The gradient is a product of one Jacobian per layer. A mean factor above 1 makes it \
          grow exponentially with the number of layers, and with it the effect of any tiny \
          change.",
    evidence: "Before training, the gradient's size at each layer (`steadygrad probe`). In a log, \
               `grad_norm/<parameter>` of at least four layers whose names differ in one number \
               only, and a run in trouble: in a healthy run the same ratio is no fault.",
    needs: Needs {
        parameters: true,
        ..Needs::ANY
    },
    blind: "Growth inside one layer. A log holds the norms of the weights' gradients, which also \
            grow with the layers' inputs.",
    remedy: "Bring the factor to 1: initialise at the critical scale, normalise, add residual \
             connections, or use fewer layers. `steadygrad cure` tries them on the model.",
    fix_safety: "A changed initialisation or architecture means training from the start.",
    references: &[
        "Schoenholz et al., 2017: Deep information propagation",
        "AutoTrainer, ICSE 2021: first over last gradient above 70",
    ],
    example: Example::Logs {
        fires: || diverging().layers(20, 1e5).trace(),
        silent: || Sketch::healthy(200).layers(20, 1e5).trace(),
    },
    families: RemedyFamilies::same(&[Family::Initialize, Family::Normalize, Family::Simplify]),
    effect: GradientEffect::Explodes,
    hit_rate: None,
    before_training: Some(check),
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    // Where nothing grew in the course of training, the same profile is a healthy one.
    history.rise()?;
    let onset = history.onset()?;
    let at = history.step(onset);
    let profile = LayerProfile::of(&history.parameters_at(at))?;
    let product = profile.product();
    if product <= MAX_RATIO || profile.r_squared < STRAIGHT {
        return None;
    }
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: format!(
            "the gradient grows x{:.2} per layer, x{product:.1e} over {} layers",
            profile.rate, profile.count
        ),
        place: Place::Layer(profile.first.clone()),
        step: Some(at),
        evidence: vec![
            Evidence::new("growth factor per layer", profile.rate),
            Evidence::new("layers", profile.count as f64),
            Evidence::new("first over last", product),
            Evidence::new("R^2 of the line through the logarithms", profile.r_squared),
        ],
        why: RULE.why.into(),
        help: RULE.remedy.into(),
        ..Finding::default()
    })
}

/// The least share of the variance that the straight line explains: below a half there is no rate.
pub(super) const STRAIGHT: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;

    fn growing(axis: Axis, rate: f64) -> GrowthProfile {
        GrowthProfile::new(
            axis,
            (0..31).map(|l| (format!("hidden.{l}"), 1.0, rate.powi(30 - l))),
        )
    }

    #[test]
    fn fires_through_depth_above_the_ratio_only() {
        let found = |profile: GrowthProfile| {
            verdict(check, |measurements, _, _| measurements.growth = profile)
        };
        // 70^(1/30) = 1.152
        assert_eq!(found(growing(Axis::Depth, 1.14)), None);
        assert_eq!(found(growing(Axis::Time, 2.0)), None);
        let finding = found(growing(Axis::Depth, 1.5)).unwrap();
        assert_eq!(finding.place, Place::Layer("hidden.0".into()));
        assert!((finding.evidence[0].value - 1.5).abs() < 1e-9);
        assert!((finding.evidence[2].value / 1.5f64.powi(30) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn vanishing_empty_and_non_finite_profiles_are_silent() {
        for profile in [
            growing(Axis::Depth, 0.5),
            GrowthProfile::new::<f64>(Axis::Depth, []),
            GrowthProfile::new(
                Axis::Depth,
                [("a".into(), 1.0, f64::NAN), ("b".into(), 1.0, 1.0)],
            ),
        ] {
            assert_eq!(
                verdict(check, |measurements, _, _| measurements.growth = profile),
                None
            );
        }
    }
}
