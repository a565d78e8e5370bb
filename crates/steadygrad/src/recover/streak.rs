use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::detect::Detector;

/// How many readings in a row were alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Streak {
    /// Readings in a row with nothing suspicious.
    pub(super) calm: u64,
    /// Harmful readings in a row.
    pub(super) harmful: usize,
    /// The last of them that had a harmful spike of the loss.
    pub(super) loss_spikes: usize,
    /// How many of the harmful readings had a bad loss, in any order.
    pub(super) bad_losses: usize,
}

impl Streak {
    /// Counts a reading without harm; a suspicious one is not calm.
    pub(super) fn count_harmless(&mut self, suspicious: bool) {
        let calm = self.calm.saturating_add(1);
        *self = Self {
            calm: if suspicious { 0 } else { calm },
            ..Self::default()
        };
    }

    /// Counts a harmful reading.
    pub(super) fn count_harmful(&mut self, seen: Evidence<'_>) {
        let spikes = seen.is_harmful(Detector::LossSpike);
        self.calm = 0;
        self.harmful = self.harmful.saturating_add(1);
        let loss_spikes = self.loss_spikes.saturating_add(1);
        self.loss_spikes = if spikes { loss_spikes } else { 0 };
        let bad = usize::from(seen.has_bad_loss());
        self.bad_losses = self.bad_losses.saturating_add(bad);
    }

    /// It is not calm.
    pub(super) fn disturb(&mut self) {
        self.calm = 0;
    }

    /// The harmful readings are dealt with: the next one is the first.
    pub(super) fn end(&mut self) {
        *self = Self {
            calm: self.calm,
            ..Self::default()
        };
    }
}
