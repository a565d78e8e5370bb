use std::cmp::Ordering;

use crate::detect::{Detection, Detector, Severity};

/// The detections of one reading, as the ladder asks for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a>(pub(super) &'a [Detection]);

impl<'a> Evidence<'a> {
    /// What this detector saw, where it is harmful.
    pub(super) fn harmful(self, detector: Detector) -> Option<&'a Detection> {
        self.0
            .iter()
            .find(|seen| seen.detector == detector && seen.severity >= Severity::Harmful)
    }

    pub(super) fn is_harmful(self, detector: Detector) -> bool {
        self.harmful(detector).is_some()
    }

    /// Whether any detection is of exactly this severity.
    pub(super) fn has(self, severity: Severity) -> bool {
        self.0.iter().any(|seen| seen.severity == severity)
    }

    /// Whether the loss is bad, however bad.
    pub(super) fn has_bad_loss(self) -> bool {
        self.0.iter().any(|seen| seen.detector.shows_a_bad_loss())
    }

    /// The most severe detection, where the step must not be applied. Of equals it is the first:
    /// the list begins with the surest detector.
    pub(super) fn worst(self) -> Option<&'a Detection> {
        let worst = self.0.iter().max_by(|a, b| {
            let order = a.severity.cmp(&b.severity);
            order.then(Ordering::Greater)
        });
        worst.filter(|worst| worst.severity >= Severity::Harmful)
    }

    /// By how much to scale a spike of the gradient norm back to the largest usual norm.
    pub(super) fn clip_coefficient(self) -> Option<f64> {
        let mut seen = self.0.iter();
        let spike = seen.find(|seen| seen.detector == Detector::NormSpike)?;
        let coefficient = spike.threshold / spike.value;
        (coefficient < 1.0).then_some(coefficient)
    }
}
