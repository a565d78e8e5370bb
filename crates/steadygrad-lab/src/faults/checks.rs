use steadygrad::setting::{self, SettingError};

/// Refuses a fault that lasts for no step.
pub(super) fn check_steps(field: &str, steps: u64) -> Result<(), SettingError> {
    setting::check(field, steps, steps > 0, "give at least 1")
}

/// Refuses an input change that is not a number. `poisoned_batch` is for those.
pub(super) fn check_finite(field: &str, value: f32) -> Result<(), SettingError> {
    let allowed = "give a finite number; for NaN and infinity there is poisoned_batch";
    setting::check(field, value, value.is_finite(), allowed)
}
