//! SG006: the learning rate is larger than the curvature allows.

use super::{Case, Evidence, Finding};
use crate::Place;

/// Above the limit by this factor it is a fault. Healthy training hovers around the limit itself
/// (the edge of stability: Cohen et al., 2021), and up to twice the limit a start jumps to a flatter
/// place and goes on (the catapult: Lewkowycz et al., 2020); beyond it the jump does not end.
const TOLERANCE: f64 = 2.0;

pub(super) fn check(case: &Case<'_>) -> Option<Finding> {
    let sharpness = case.measurements.sharpness?.lambda_max;
    let limit = case.setup.stable_sharpness();
    let times = sharpness / limit;
    if times.is_nan() || times <= TOLERANCE {
        return None;
    }
    let stable = case.setup.learning_rate / times;
    Some(Finding {
        code: "SG006".into(),
        title: format!(
            "learning rate {} is x{times:.2e} what the curvature allows",
            case.setup.learning_rate
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
        why: "Along the steepest direction every step overshoots the minimum by more than it \
              started from, so the error grows at each step."
            .into(),
        help: format!("Use a learning rate below {stable:.2e}, or lower the sharpness first."),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::verdict;
    use super::*;
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
