use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::SettingError;

/// The most steps that a detector may remember: half a megabyte of numbers.
pub(super) const MOST_REMEMBERED: usize = 65_536;

/// What a detector saw. The list adds which detector it was, and at which step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) severity: Severity,
    pub(crate) place: Place,
    /// The number that was judged.
    pub(crate) value: f64,
    /// The number it was judged against.
    pub(crate) threshold: f64,
    /// One line for a person.
    pub(crate) message: String,
}

/// What every detector has. The implementing type holds its settings.
///
/// `check` judges a reading and changes nothing. What is remembered of it is decided afterwards, by
/// `accept` or `reject`.
pub(crate) trait Detect: Sized {
    /// What it remembers; `()` where it judges each reading alone.
    type State;

    /// Its name for people.
    const TITLE: &'static str;

    /// Whether it is about growth, rather than vanishing gradients or the clipping itself.
    const IS_ABOUT_EXPLOSION: bool;

    /// Whether the ladder counts its detections as bad losses.
    const SHOWS_A_BAD_LOSS: bool;

    /// Checks every setting against its allowed range.
    fn validate(&self) -> Result<(), SettingError>;

    /// Raises every threshold to the power of `power`, and multiplies those in deviations by it. A
    /// power of 1 changes nothing; a lower one makes the detector more sensitive.
    fn with_power(self, power: f64) -> Self;

    /// Judges a reading against the past.
    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting>;

    /// Remembers a reading that is not harmful and whose step is applied, `clipped` or as it is.
    /// Values that are not finite must not enter a running statistic.
    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, clipped: bool);

    /// Remembers a reading that is harmful, or whose step is left out: only what is compared from
    /// step to step. `applied` is whether the step is applied all the same.
    fn reject(&self, state: &mut Self::State, signals: &Signals<'_>, applied: bool);

    /// Forgets what is usual, so that the next readings set it anew.
    fn forget_level(state: &mut Self::State);

    /// Narrows the bounds to readings in which it sees no harm; `None` where it cannot tell.
    fn quiet(&self, state: &Self::State, next: &Next<'_>, bounds: Quiet) -> Option<Quiet>;

    /// Narrows the bounds that all detectors left, where its own depend on theirs.
    fn quiet_within(&self, _state: &Self::State, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }
}
