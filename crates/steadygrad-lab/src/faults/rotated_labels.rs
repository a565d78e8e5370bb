use serde::{Deserialize, Serialize};
use steadygrad::setting::{self, SettingError};

use super::Distortion;
use super::checks::check_steps;
use super::injection::{Injection, Window};

/// Every label is wrong in the same way: class `c` becomes class `c + by`, as when the columns of
/// an annotation file are shifted. The targets of a regression are mirrored at their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotatedLabels {
    /// The first attempt that it acts in.
    pub at_step: u64,
    /// Number of attempts that it acts in.
    #[serde(default = "steps")]
    pub steps: u64,
    /// Added to each class, modulo the number of classes.
    #[serde(default = "by")]
    pub by: usize,
}

fn steps() -> u64 {
    20
}

fn by() -> usize {
    1
}

impl RotatedLabels {
    /// 20 batches in which each class becomes the next one.
    pub fn at(at_step: u64) -> Self {
        Self {
            at_step,
            steps: steps(),
            by: by(),
        }
    }
}

impl Injection for RotatedLabels {
    fn check(&self) -> Result<(), SettingError> {
        check_steps("rotated_labels.steps", self.steps)?;
        setting::check("rotated_labels.by", self.by, self.by > 0, "give at least 1")
    }

    fn window(&self) -> Window {
        Window::new(self.at_step, self.steps)
    }

    fn batch(&self, _since: u64, _pick: u64, distortion: &mut Distortion) {
        distortion.rotate_labels(self.by);
    }
}
