use serde::{Deserialize, Serialize};

/// How a spectrum is measured. The default counts all exponents over all steps, without a
/// transient.
///
/// ```
/// use steadygrad_dynamics::LyapunovSettings;
///
/// let settings = LyapunovSettings::default().with_vectors(3).with_transient(1_000);
/// assert_eq!((settings.vectors, settings.steps), (Some(3), None));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LyapunovSettings {
    /// The number of leading exponents; `None` for all.
    pub vectors: Option<usize>,
    /// Steps that are not counted. In them the state finds its attractor, and the vectors find
    /// their directions.
    pub transient: usize,
    /// Steps that are counted; `None` for all that the system has after the transient.
    pub steps: Option<usize>,
    /// Steps between two factorisations. `None` chooses them on the way, so that no column loses
    /// more than six digits. Up to 16 vectors are checked after each step, and factorised once one
    /// of them has lost three digits. For more vectors such a check costs as much as the
    /// factorisation that it saves. They go on for as long as the worst rate so far allows, at most
    /// 16 steps, and fewer when a column grows or shrinks a hundredfold.
    /// [`LyapunovSpectrum::digits_lost`](crate::LyapunovSpectrum::digits_lost) has the loss.
    pub interval: Option<usize>,
    /// Seed of the first tangent vectors.
    pub seed: u64,
}

impl LyapunovSettings {
    /// Measures this number of leading exponents.
    pub fn with_vectors(self, vectors: usize) -> Self {
        Self {
            vectors: Some(vectors),
            ..self
        }
    }

    /// Leaves out this number of steps at the start.
    pub fn with_transient(self, transient: usize) -> Self {
        Self { transient, ..self }
    }

    /// Counts this number of steps.
    pub fn with_steps(self, steps: usize) -> Self {
        Self {
            steps: Some(steps),
            ..self
        }
    }

    /// Factorises after every `interval` steps.
    pub fn with_interval(self, interval: usize) -> Self {
        Self {
            interval: Some(interval),
            ..self
        }
    }

    /// Draws the first tangent vectors from this seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}
