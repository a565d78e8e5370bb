use super::config::RecoverConfig;
use super::evidence::Evidence;
use super::ladder::LadderState;
use crate::detect::{Detection, Detector, Severity};

/// What a harmful reading asks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need<'a> {
    Skip,
    Lower,
    /// A warm-up to a learning rate that is meant to stay.
    WarmUp(Jump<'a>),
    /// The same warm-up, from a state that was not trained on the way up.
    BackBeforeRise(Jump<'a>),
    Rollback {
        /// Whether only losses speak against the state that is left.
        for_losses_alone: bool,
    },
    NewLevel,
}

/// A jump of the user's learning rate, as its detector saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump<'a> {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) why: &'a str,
}

impl<'a> Jump<'a> {
    fn of(seen: &'a Detection) -> Self {
        Self {
            from: seen.threshold,
            to: seen.value,
            why: &seen.message,
        }
    }
}

impl Need<'_> {
    /// A rollback for more than losses.
    pub(super) const ROLLBACK: Self = Self::Rollback {
        for_losses_alone: false,
    };
}

/// Says what a harmful reading, which has been counted, asks for, whether or not it can be had.
pub(super) fn need<'a>(
    ladder: &LadderState,
    config: &RecoverConfig,
    seen: Evidence<'a>,
) -> Need<'a> {
    let case = Case {
        ladder,
        config,
        seen,
    };
    if seen.has(Severity::Damage) {
        return Need::ROLLBACK;
    }
    case.of_a_relapse()
        .or_else(|| case.of_lasting_spikes())
        .or_else(|| case.of_growth())
        .or_else(|| case.of_many_in_a_row())
        .unwrap_or_else(|| case.of_many_in_a_window())
}

/// A harmful reading beside the past.
struct Case<'a, 'b> {
    ladder: &'b LadderState,
    config: &'b RecoverConfig,
    seen: Evidence<'a>,
}

impl<'a> Case<'a, '_> {
    /// Whether it has not been calm since the last rollback.
    fn has_returned(&self) -> bool {
        self.ladder.phase.latest_return().is_some()
    }

    /// A jump of the learning rate that updates were applied on.
    fn trained_jump(&self) -> Option<Need<'a>> {
        let jump = Jump::of(self.seen.harmful(Detector::LearningRateJump)?);
        let trained = self.ladder.rate.trained_above(jump.from);
        trained.then_some(Need::BackBeforeRise(jump))
    }

    /// Back, for losses alone, or to before a rise of the learning rate that they go with.
    fn back_for_losses(&self) -> Need<'a> {
        self.trained_jump().unwrap_or(Need::Rollback {
            for_losses_alone: true,
        })
    }

    /// The loss is back at its start: what was learnt is lost. Where going back did not help,
    /// either something still writes to the weights, which shows while steps are skipped; or the
    /// data have changed, and not so badly that the loss spikes.
    fn of_a_relapse(&self) -> Option<Need<'a>> {
        if !self.seen.is_harmful(Detector::LossRelapse) {
            return None;
        }
        let Some(at) = self.ladder.phase.latest_return() else {
            return Some(self.back_for_losses());
        };
        let worse = [Detector::LossSpike, Detector::NonFinite];
        if worse.iter().any(|other| self.seen.is_harmful(*other)) {
            return None;
        }
        // All bad losses since the return count: a better one among them does not make the data
        // good.
        let waited = at.level.seen();
        let stands = at.level.stands(waited, self.config.level_patience);
        Some(if stands { Need::NewLevel } else { Need::Skip })
    }

    /// Spikes of the loss, batch after batch, show that the weights are damaged.
    fn of_lasting_spikes(&self) -> Option<Need<'a>> {
        let lasting = self.ladder.streak.loss_spikes > self.config.loss_patience;
        (lasting && !self.has_returned()).then(|| self.back_for_losses())
    }

    /// A rise of norm and loss without a jump: the weights move in the wrong direction.
    fn of_growth(&self) -> Option<Need<'a>> {
        let jumps = [Detector::NormSpike, Detector::NonFinite];
        let jumped = jumps.iter().any(|jump| self.seen.is_harmful(*jump));
        if jumped || !self.seen.is_harmful(Detector::NormGrowth) {
            return None;
        }
        Some(if self.ladder.has_lowered(self.config) {
            Need::ROLLBACK
        } else {
            Need::Lower
        })
    }

    /// Harmful readings in a row, more than are skipped.
    fn of_many_in_a_row(&self) -> Option<Need<'a>> {
        let most = self.config.max_consecutive_errors;
        let streak = &self.ladder.streak;
        if streak.harmful <= most {
            return None;
        }
        if let Some(jump) = self.seen.harmful(Detector::LearningRateJump) {
            // One bad loss among many is not the rise's doing.
            let hurt = 2 * streak.bad_losses > streak.harmful;
            let back = self.trained_jump().filter(|_| hurt);
            // The rate is meant to stay: warm up to it, from where it was.
            return Some(back.unwrap_or(Need::WarmUp(Jump::of(jump))));
        }
        if self.has_returned() {
            return Some(self.after_a_return());
        }
        if streak.harmful == most + 1 {
            return Some(Need::Lower);
        }
        (streak.harmful > 2 * most).then_some(Need::ROLLBACK)
    }

    /// The weights are good, so the data are bad, and may stay bad for a while.
    fn after_a_return(&self) -> Need<'a> {
        if self.seen.is_harmful(Detector::NonFinite) {
            return Need::ROLLBACK;
        }
        let waited = self.ladder.streak.harmful;
        let patience = self.config.level_patience;
        let back = self.ladder.phase.latest_return();
        if back.is_some_and(|at| at.level.stands(waited, patience)) {
            Need::NewLevel
        } else {
            Need::Skip
        }
    }

    /// Harmful readings now and then.
    fn of_many_in_a_window(&self) -> Need<'a> {
        let often = self.ladder.recent_skips(self.config) >= self.config.max_skips;
        if often && !self.ladder.has_lowered(self.config) {
            Need::Lower
        } else {
            Need::Skip
        }
    }
}
