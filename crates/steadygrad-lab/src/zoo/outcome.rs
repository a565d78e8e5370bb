use crate::faults::Unguarded;

/// Times the loss of the untrained model that no healthy run comes to: a run whose loss does is not
/// counted as one.
const TROUBLED: f64 = 3.0;

/// Of the loss at chance, so much is left where something was learnt.
const LEARNT: f64 = 0.7;

/// What became of a run. It is told from the last model's validation and from the losses, by no rule or
/// detector of steadygrad's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Became {
    /// Finite throughout, no loss above three times the first, not worse at the end than at the start, and better
    /// than chance.
    Healthy,
    /// As healthy, but it ends no better than chance and its losses were never far below chance's: neither sound nor
    /// broken. Most have a learning rate
    /// that is too small, some one that is too large from the first step on.
    Unlearnt,
    /// Its loss was above three times the first at some step, and it came back from that.
    Recovered,
    /// It ended worse than it began, or no better than chance after a loss above three times the first or
    /// below seven tenths of chance's: what it had learnt is lost.
    Diverged,
    /// A loss or gradient was NaN or infinite.
    NonFinite,
}

impl Became {
    pub(super) fn of(run: &Unguarded, chance: f64) -> Self {
        if run.first_non_finite.is_some() {
            return Self::NonFinite;
        }
        let first = run.losses.first().copied().unwrap_or(f64::NAN);
        let tenth = (run.losses.len() / 10).max(1);
        let end = &run.losses[run.losses.len() - tenth.min(run.losses.len())..];
        let end = end.iter().sum::<f64>() / end.len() as f64;
        let largest = run.losses.iter().copied().fold(f64::MIN, f64::max);
        let jumped = largest > TROUBLED * first;
        // A tenth above chance is the least that is something learnt.
        let learnt = run.validation_metric > chance + 0.1 * (1.0 - chance);
        let best = run
            .losses
            .chunks_exact(tenth)
            .map(|part| part.iter().sum::<f64>() / tenth as f64);
        // The zoo's tasks are all classification: chance has a cross-entropy of `-ln(chance)`.
        let had_learnt = best.fold(f64::MAX, f64::min) < LEARNT * -chance.ln();
        if end > 1.5 * first || ((jumped || had_learnt) && !learnt) {
            Self::Diverged
        } else if jumped {
            Self::Recovered
        } else if learnt {
            Self::Healthy
        } else {
            Self::Unlearnt
        }
    }

    /// Whether the run failed.
    pub fn failed(self) -> bool {
        matches!(self, Self::Diverged | Self::NonFinite)
    }

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unlearnt => "learnt nothing",
            Self::Recovered => "recovered",
            Self::Diverged => "diverged",
            Self::NonFinite => "non-finite",
        }
    }
}
