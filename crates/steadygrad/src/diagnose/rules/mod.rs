//! The rules, one a file. A rule's file holds everything about it; [`RULES`] names it once.

mod sg001_non_finite_gradient;
mod sg002_explosion;
mod sg003_growth_through_depth;
mod sg004_growth_through_time;
mod sg005_loss_spike;
mod sg006_learning_rate_beyond_stability;
mod sg007_initialisation_off_criticality;
mod sg008_weight_growth;
mod sg009_outlier_batch;
mod sg010_overflow_of_the_number_format;
mod sg011_clip_saturation;
mod sg012_vanishing;
mod sg013_subnormals;
mod sg014_schedule_jump;
mod sg015_plateau_after_a_spike;
mod sg016_stalled_guard;
mod sg017_suspected_backend_fault;
mod sg018_unscaled_input;
mod sg019_rising_norm;
mod sg020_non_finite_after_calm;
mod sg021_damaged_weights;
mod sg022_stuck_loss;
mod sg023_divergence_ahead;

use super::Rule;

/// Every rule, root causes first: of two findings the one whose rule comes first explains the
/// other.
pub static RULES: &[Rule] = &[
    sg018_unscaled_input::RULE,
    sg007_initialisation_off_criticality::RULE,
    sg014_schedule_jump::RULE,
    sg008_weight_growth::RULE,
    sg021_damaged_weights::RULE,
    sg009_outlier_batch::RULE,
    sg017_suspected_backend_fault::RULE,
    sg003_growth_through_depth::RULE,
    sg004_growth_through_time::RULE,
    sg010_overflow_of_the_number_format::RULE,
    sg020_non_finite_after_calm::RULE,
    sg016_stalled_guard::RULE,
    sg005_loss_spike::RULE,
    sg013_subnormals::RULE,
    sg006_learning_rate_beyond_stability::RULE,
    sg015_plateau_after_a_spike::RULE,
    sg012_vanishing::RULE,
    sg011_clip_saturation::RULE,
    sg002_explosion::RULE,
    sg001_non_finite_gradient::RULE,
    sg023_divergence_ahead::RULE,
    sg022_stuck_loss::RULE,
    sg019_rising_norm::RULE,
];

/// Returns the rule with this code, in upper or lower case, with or without its zeros: `SG003`,
/// `sg003` and `SG3` are one. `None` when there is none.
///
/// ```
/// use steadygrad::diagnose::rule;
///
/// assert_eq!(rule("sg3").unwrap().name, "amplification-through-depth");
/// assert!(rule("SG999").is_none());
/// ```
pub fn rule(code: &str) -> Option<&'static Rule> {
    let number = |code: &str| {
        let (letters, digits) = code.split_at_checked(2)?;
        let known = letters.eq_ignore_ascii_case("SG") && !digits.starts_with('+');
        digits.parse::<u32>().ok().filter(|_| known)
    };
    let wanted = number(code)?;
    RULES.iter().find(|rule| number(rule.code) == Some(wanted))
}
