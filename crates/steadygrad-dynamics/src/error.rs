/// A growth rate that could not be measured, with the reason.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DynamicsError {
    /// The state, or a tangent vector, stopped being finite.
    #[error(
        "the {what} is not finite after step {step}, so there is no growth rate beyond it; \
         start from a smaller state or shorten the run"
    )]
    NonFinite {
        /// `state` or `tangent`.
        what: &'static str,
        /// The number of steps done, counted from the start of the transient.
        step: usize,
    },
    /// The tangent vectors became linearly dependent: a Jacobian has a smaller rank than their
    /// number.
    #[error(
        "the Jacobian at step {step} has rank {rank}, but {vectors} exponents were asked for; \
         ask for at most {rank}"
    )]
    RankDeficient {
        /// The number of steps done, counted from the start of the transient.
        step: usize,
        /// The number of independent columns.
        rank: usize,
        /// The number of columns.
        vectors: usize,
    },
    /// The tangent vectors became the same, to rounding, within several steps without a
    /// factorisation. Either the interval is too long, or a Jacobian has too small a rank.
    #[error(
        "after {interval} steps without a factorisation the tangent vectors at step {step} are \
         linearly dependent; measure with an interval of 1, which also finds a singular Jacobian"
    )]
    DriftedApart {
        /// The number of steps done, counted from the start of the transient.
        step: usize,
        /// The number of steps since the last factorisation.
        interval: usize,
    },
    /// The system has too few steps to measure on.
    #[error(
        "{available} steps are too few: the transient takes {transient}, and {needed} more are \
         measured"
    )]
    TooFewSteps {
        /// The number of steps that the system has, or that were asked for.
        available: usize,
        /// The number of steps of the transient.
        transient: usize,
        /// The least number of steps that are measured.
        needed: usize,
    },
    /// A layer or a state has no units.
    #[error("the state after step {step} has width 0; give every layer at least one unit")]
    ZeroWidth {
        /// The number of steps done.
        step: usize,
    },
    /// The number of vectors is 0, or larger than the system's width.
    #[error(
        "{vectors} exponents were asked for, but the narrowest state has {width} units; \
         ask for 1 to {width}"
    )]
    VectorCount {
        /// The number that was asked for.
        vectors: usize,
        /// The width of the narrowest state so far.
        width: usize,
    },
    /// A model's stage was given, or made, rows or columns that do not fit.
    #[error(
        "the state after step {step} has shape {found:?}, but must have {expected:?}; give one \
         sample (one row), and stages that keep the rows apart"
    )]
    StateShape {
        /// The number of stages done.
        step: usize,
        /// The rows and columns that it has.
        found: [usize; 2],
        /// The rows and columns that it must have.
        expected: [usize; 2],
    },
    /// A setting is outside its range.
    #[error("`{field}` is {value}, but must be {allowed}")]
    Setting {
        /// The field's name.
        field: &'static str,
        /// The value that it holds.
        value: f64,
        /// The values that it may hold.
        allowed: &'static str,
    },
}
