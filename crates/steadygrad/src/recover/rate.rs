use serde::{Deserialize, Serialize};

/// A state was not trained with a learning rate this many times its own: usual schedules take
/// smaller steps between snapshots.
pub(super) const RISEN: f64 = 2.0;

/// Growth of the learning rate in one reading that no slow schedule has: a linear warm-up grows by
/// less from its hundredth step on.
const RISING: f64 = 1.01;

/// The user's learning rate, and the scale that the ladder puts on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rate {
    /// Factor on the user's learning rate.
    scale: f64,
    /// A rise of the user's learning rate that is not applied in full.
    rise: Option<Rise>,
    /// The user's last finite, positive learning rate.
    user: Option<f64>,
    /// The user's learning rate at the last reading without harm.
    harmless: Option<f64>,
}

/// A rise of the user's learning rate to where no state is known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Rise {
    /// The learning rate above which the rise lasts.
    beyond: f64,
    /// The scale before the rise.
    scale: f64,
    /// The user's learning rate before the rise, which states are known to be good with.
    good: f64,
    /// The rate that is applied at most, however far the user's goes on rising.
    applied: f64,
}

/// What a new learning rate is to the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// No rise is followed: the detectors judge the rate.
    Unjudged,
    /// The ladder deals with the rise that this rate is part of, or that it ends.
    Handled,
    /// The rate rises on beyond the last good one, and where it ends is unknown.
    RisesOn,
}

impl Rise {
    /// From one learning rate to another, at the scale that was right for the first.
    fn new(from: f64, to: f64, scale: f64) -> Self {
        Self {
            // Half way, on the scale of factors.
            beyond: from.sqrt() * to.sqrt(),
            scale,
            good: from,
            applied: from * scale,
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            scale: 1.0,
            rise: None,
            user: None,
            harmless: None,
        }
    }
}

impl Rate {
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether the user's rate is applied as it is.
    pub(super) fn is_users_own(&self) -> bool {
        self.rise.is_none() && self.scale == 1.0
    }

    pub(super) fn rises(&self) -> bool {
        self.rise.is_some()
    }

    /// Takes the user's learning rate of a reading. While a rise lasts, what is applied of it stays
    /// the same; a rise that is over is forgotten, with what was done about it. A rate that is not
    /// finite and positive changes nothing.
    pub(super) fn follow(&mut self, user: f64) -> News {
        if !user.is_finite() || user <= 0.0 {
            return News::Unjudged;
        }
        let before = self.user.replace(user);
        let Some(rise) = self.rise else {
            return News::Unjudged;
        };
        if user <= rise.beyond {
            self.scale = rise.scale;
            self.rise = None;
            return News::Handled;
        }
        self.scale = self.scale.min(rise.applied / user);
        let rises = before.is_some_and(|before| user > RISING * before);
        if rises && rise.applied >= rise.good {
            News::RisesOn
        } else {
            News::Handled
        }
    }

    /// Notes that the reading did no harm.
    pub(super) fn accept(&mut self) {
        self.harmless = self.user;
    }

    /// Whether updates were applied on the way up from a learning rate.
    pub(super) fn trained_above(&self, from: f64) -> bool {
        self.harmless.is_some_and(|rate| rate > RISEN * from)
    }

    /// Raises the scale again, to 1 at most. Within a rise the applied rate halts at the last good
    /// one: more is applied only when the user's rate has come to rest.
    pub(super) fn climb(&mut self, mut by: f64) {
        if let Some(rise) = &mut self.rise {
            if rise.applied < rise.good {
                by = by.min(rise.good / rise.applied);
            }
            rise.applied *= by;
            rise.scale = (rise.scale * by).min(1.0);
        }
        self.scale = (self.scale * by).min(1.0);
        if self.scale == 1.0 {
            self.rise = None;
        }
    }

    /// Multiplies the applied rate by a factor.
    pub(super) fn lower(&mut self, factor: f64) {
        self.scale *= factor;
        if let Some(rise) = &mut self.rise {
            rise.applied *= factor;
        }
    }

    /// Multiplies the applied rate by a factor at a rollback, down to the scale `least` at most. A
    /// scale that a rise has made lower already stays.
    pub(super) fn lower_at_rollback(&mut self, factor: f64, least: f64) {
        let factor = factor.max(least.min(self.scale) / self.scale);
        self.lower(factor);
        if let Some(rise) = &mut self.rise {
            rise.scale *= factor;
        }
    }

    /// Bounds the scale from above.
    pub(super) fn cap(&mut self, most: f64) {
        self.scale = self.scale.min(most);
    }

    /// Starts a warm-up to a rate that is meant to stay, at the rate that was applied before it.
    pub(super) fn warm_up(&mut self, from: f64, to: f64) {
        let scale = self.scale;
        self.lower(from / to);
        self.rise = Some(Rise::new(from, to, scale));
    }

    /// Applies no more of the user's rate than before it rose.
    pub(super) fn hold(&mut self, from: f64, to: f64) {
        let rise = Rise::new(from, to, self.scale);
        self.scale = self.scale.min(rise.applied / to);
        self.rise = Some(rise);
    }

    /// The adapter went back to a state whose largest learning rate was `largest`. Returns whether
    /// the user's rate has risen beyond it since: it is held there.
    pub(super) fn go_back(&mut self, largest: Option<f64>) -> bool {
        self.harmless = None;
        match (self.rise, largest, self.user) {
            (None, Some(from), Some(to)) if to > RISEN * from => {
                self.hold(from, to);
                true
            }
            _ => false,
        }
    }

    /// A rollback is taken back: the scale is the one before it.
    pub(super) fn restore(&mut self, scale: f64) {
        self.scale = scale;
    }

    /// Forgets the rise that is followed.
    pub(super) fn forget_rise(&mut self) {
        self.rise = None;
    }
}
