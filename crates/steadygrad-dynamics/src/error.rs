/// Why a growth rate could not be measured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DynamicsError {
    /// The state, or a tangent vector, stopped being finite.
    #[error(
        "the {what} is not finite after step {step}: there is no growth rate beyond it; start from a smaller state or shorten the run"
    )]
    NonFinite {
        /// `state` or `tangent`.
        what: &'static str,
        /// Number of steps done, counted from the start of the transient.
        step: usize,
    },
    /// The tangent vectors became linearly dependent: a Jacobian has a smaller rank than asked for.
    #[error(
        "the Jacobian has rank {rank} at step {step}, but {vectors} exponents were asked for; ask for at most {rank}"
    )]
    RankDeficient {
        /// Number of steps done, counted from the start of the transient.
        step: usize,
        /// Independent columns that were left.
        rank: usize,
        /// Columns that were asked for.
        vectors: usize,
    },
    /// The tangent vectors became the same, to rounding, within several steps without a
    /// factorisation: the interval was too long, or a Jacobian on the way has too small a rank.
    #[error(
        "{interval} steps without a factorisation left the tangent vectors dependent at step {step}; measure with an interval of 1, which also tells whether a Jacobian is singular"
    )]
    DriftedApart {
        /// Number of steps done, counted from the start of the transient.
        step: usize,
        /// Steps since the last factorisation.
        interval: usize,
    },
    /// There are no steps left to measure on.
    #[error(
        "{available} steps are too few: {transient} are the transient and at least {needed} more are measured"
    )]
    TooFewSteps {
        /// Steps the system has, or that were asked for.
        available: usize,
        /// Steps of the transient.
        transient: usize,
        /// Steps that are measured at least.
        needed: usize,
    },
    /// A layer or state without units.
    #[error("step {step} has a state of width 0: a layer needs at least one unit")]
    ZeroWidth {
        /// Number of steps done.
        step: usize,
    },
    /// More, or fewer, exponents than the system can have.
    #[error(
        "{vectors} exponents were asked for, but the narrowest state has {width} units; ask for 1 to {width}"
    )]
    VectorCount {
        /// What was asked for.
        vectors: usize,
        /// Width of the narrowest state met so far.
        width: usize,
    },
    /// A model's stage was given, or made, rows or columns that do not fit.
    #[error(
        "the state after step {step} has shape {found:?}, but must have {expected:?}: give one sample (one row), and stages that keep the rows apart"
    )]
    StateShape {
        /// Number of stages done.
        step: usize,
        /// Rows and columns that it has.
        found: [usize; 2],
        /// Rows and columns that it must have.
        expected: [usize; 2],
    },
    /// A setting outside its range.
    #[error("`{field}` is {value}, but must be {allowed}")]
    Setting {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: f64,
        /// What it may hold.
        allowed: &'static str,
    },
}
