use crate::unguarded::UnguardedRun;

/// A loss above this multiple of the untrained model's is a spike. No healthy run has one.
const SPIKE: f64 = 3.0;

/// A run has learnt something if its loss is below this share of the loss at chance.
const LEARNT: f64 = 0.7;

/// The final state of a run. It depends on the last model's validation and on the losses, and on no
/// rule or detector of steadygrad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FinalState {
    /// All values are finite, no loss is above three times the first one, and the last model is
    /// better than at the start and than chance.
    Healthy,
    /// Like a healthy run, but the last model is not better than chance and no loss was far below
    /// chance's. Most of these runs have too small a learning rate; in some it is too large from
    /// the first step.
    Unlearnt,
    /// A loss was above three times the first one, and the run recovered from it.
    Recovered,
    /// The run ended worse than it began, or it lost what it had learnt: the last model is not
    /// better than chance, after a loss above three times the first one or below 0.7 times
    /// chance's.
    Diverged,
    /// A loss or a gradient was NaN or infinite.
    NonFinite,
}

impl FinalState {
    pub(super) fn of(run: &UnguardedRun, chance: f64) -> Self {
        if run.first_non_finite.is_some() {
            return Self::NonFinite;
        }
        let first = run.losses.first().copied().unwrap_or(f64::NAN);
        let tenth = (run.losses.len() / 10).max(1);
        let end = &run.losses[run.losses.len() - tenth.min(run.losses.len())..];
        let end = end.iter().sum::<f64>() / end.len() as f64;
        let largest = run.losses.iter().copied().fold(f64::MIN, f64::max);
        let jumped = largest > SPIKE * first;
        // The metric must be a tenth of the way from chance to 1.
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
