use steadygrad::cure::{End, Outcome};

use crate::{Decay, Plan, Schedule};

/// Factors of the learning rate that are tried, in this order.
const FACTORS: [f64; 4] = [2.0, 4.0, 8.0, 16.0];

/// A short run has this share of the plan's steps.
const SHARE_OF_STEPS: u64 = 20;
const MIN_STEPS: u64 = 20;

/// How far a trial is from the edge of stability: the largest factor of its learning rate, up to
/// 16, at which a short run from the same start survives. 1 if none does; `None` if a run was
/// interrupted.
///
/// `run` makes one run of this plan, its learning rate multiplied by this factor.
///
/// # Errors
/// Those of `run`.
pub(crate) fn stability_margin<E>(
    plan: &Plan,
    mut run: impl FnMut(&Plan, f64) -> Result<Outcome, E>,
) -> Result<Option<f64>, E> {
    let short = Plan {
        steps: (plan.steps / SHARE_OF_STEPS).max(MIN_STEPS),
        // The margin is that of the full learning rate, which a short decay would hide.
        schedule: Schedule {
            warmup_steps: plan.schedule.warmup_steps / SHARE_OF_STEPS,
            decay: Decay::Constant,
        },
        ..plan.clone()
    };
    let mut margin = 1.0;
    for factor in FACTORS {
        let outcome = run(&short, factor)?;
        if outcome.end == End::Interrupted {
            return Ok(None);
        }
        if !outcome.verdict.survived() {
            break;
        }
        margin = factor;
    }
    Ok(Some(margin))
}
