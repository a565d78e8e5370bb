//! SG006: the learning rate is larger than the curvature allows.

use crate::diagnose::sketch::{diverging, healthy};
use crate::diagnose::{
    Example, Finding, FindingLevel, GradientEffect, History, HitRate, ModelCase, Needs,
    RemedyFamilies, Rule,
};
use crate::remedy::Family;
use crate::{Evidence, Place};

/// Above the limit by this factor the learning rate is a fault. Healthy training hovers around the
/// limit itself (the edge of stability: Cohen et al., 2021). Up to twice the limit a start jumps to
/// a flatter place and goes on (the catapult: Lewkowycz et al., 2020); beyond, the jump does not
/// end.
const TOLERANCE: f64 = 2.0;

/// Growth by less than an order of magnitude may be noise.
const TENFOLD: f64 = 10.0;

pub(super) fn check(case: &ModelCase<'_>) -> Option<Finding> {
    let sharpness = case.measurements.sharpness?.lambda_max;
    let limit = case.setup.stable_sharpness();
    let times = sharpness / limit;
    if times.is_nan() || times <= TOLERANCE {
        return None;
    }
    let stable = case.setup.learning_rate / times;
    Some(Finding {
        code: RULE.code.into(),
        title: format!(
            "learning rate {} is x{times:.2e} the largest that the curvature allows",
            short(case.setup.learning_rate)
        ),
        place: Place::Run,
        step: None,
        evidence: vec![
            Evidence::new("sharpness (largest Hessian eigenvalue)", sharpness),
            Evidence::new(
                "largest stable sharpness, 2 (1 + momentum) / learning rate",
                limit,
            ),
            Evidence::new("largest stable learning rate", stable),
        ],
        why: RULE.why.into(),
        help: format!("Use a learning rate below {stable:.2e}, or lower the sharpness first."),
        ..Finding::default()
    })
}

/// Four digits of a rate.
fn short(rate: f64) -> f64 {
    format!("{rate:.3e}").parse().unwrap_or(rate)
}

pub(super) const RULE: Rule = Rule {
    code: "SG006",
    name: "learning-rate-beyond-stability",
    what: "The learning rate is larger than the curvature allows.",
    why: "Along the steepest direction every step overshoots the minimum by more than its \
          distance before, so the error grows at each step.",
    evidence: "Before training, the sharpness (`steadygrad probe`). In a log, growth by a steady \
               factor that no other finding explains; `learning_rate` for the number in the help.",
    needs: Needs::SUPERVISED,
    blind: "In a log, the curvature itself. The factor a step says how far the rate is beyond the \
            limit for plain gradient descent only; with Adam or momentum it is a guess.",
    remedy: "Lower the learning rate below `2 learning_rate / (1 + factor a step)`, to half of \
             that to be safe. Or lower the sharpness: a warm-up, normalisation, a smaller \
             initialisation.",
    fix_safety: "A smaller learning rate is stable wherever a larger one is, and slower.",
    references: &[
        "Cohen et al., 2021: Gradient descent on neural networks typically occurs at the edge of \
         stability",
        "On a quadratic each step multiplies the error by |1 - learning_rate * sharpness|",
    ],
    example: Example::Logs {
        fires: || diverging().trace(),
        silent: healthy,
    },
    families: RemedyFamilies::same(&[Family::SlowDown]),
    effect: GradientEffect::Other,
    hit_rate: Some(HitRate::new(23, 23)),
    before_training: Some(check),
    of_run: Some(of_run),
};

fn of_run(history: &History<'_>) -> Option<Finding> {
    let rise = history.rise()?;
    // Less is no growth out of bounds, and a norm that grows while the loss falls is none either.
    if !rise.is_fatal || rise.to < TENFOLD * rise.from {
        return None;
    }
    let (from, to) = (history.step(rise.from_row), history.step(rise.to_row));
    let rate = history.rows().get(rise.from_row)?.learning_rate();
    let mut evidence = vec![Evidence::new("factor a row", rise.per_row)];
    let (column, pace) = (history.column(&rise.role), history.pace(rise));
    let mut notes = Vec::new();
    // The error grows by |1 - rate * sharpness|, so rate * sharpness = 1 + factor; its limit is 2.
    let share = 2.0 / (1.0 + rise.per_step);
    let help = match rate {
        // The factor of one step is known only where a row is one.
        _ if !history.is_by_step() => {
            notes.push("Log every step to get the rate itself.".into());
            "Lower the learning rate: halve it, or warm up longer, until nothing grows.".into()
        }
        Some(rate) if rate > 0.0 => {
            evidence.push(Evidence::new("learning rate", rate));
            evidence.push(Evidence::new(
                "largest stable learning rate, of plain SGD",
                rate * share,
            ));
            format!(
                "Use a learning rate of {:.1e} instead of {rate:.1e}.",
                0.5 * rate * share
            )
        }
        _ => {
            notes.push("Log `learning_rate` to get the number itself.".into());
            format!("Multiply the learning rate by {:.2}.", 0.5 * share)
        }
    };
    notes.push("`steadygrad probe` measures the sharpness that is inferred here.".into());
    Some(Finding {
        code: RULE.code.into(),
        level: FindingLevel::Error,
        title: match rate {
            Some(rate) => format!(
                "at learning rate {rate:.1e} `{column}` grows {pace} from {} on",
                history.at(from)
            ),
            None => format!("`{column}` grows {pace} from {} on", history.at(from)),
        },
        step: Some(from),
        until: Some(to),
        evidence,
        chart: history.chart(
            &rise.role,
            rise.from_row.saturating_sub(24)..rise.to_row + 1,
        ),
        why: RULE.why.into(),
        help,
        notes,
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::verdict;
    use crate::measurements::Sharpness;

    #[test]
    fn fires_well_beyond_the_limit_only() {
        let with = |lambda_max: f64| {
            verdict(check, |measurements, setup, _| {
                setup.learning_rate = 0.1;
                setup.momentum = 0.0;
                measurements.sharpness = Some(Sharpness {
                    lambda_max,
                    lambda_min: 0.0,
                    residual: 0.0,
                    iterations: 20,
                    rows: 32,
                    relative_step: 1e-5,
                });
            })
        };
        assert_eq!(with(20.0), None);
        assert_eq!(with(39.0), None);
        assert_eq!(with(f64::NAN), None);
        let finding = with(2000.0).unwrap();
        assert!((finding.evidence[2].value - 0.001).abs() < 1e-12);
        assert_eq!(
            verdict(check, |measurements, _, _| measurements.sharpness = None),
            None
        );
    }
}
