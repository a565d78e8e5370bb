use std::ops::RangeInclusive;

/// What a key may hold.
#[derive(Debug, Clone)]
pub(crate) enum Allowed {
    Integer(RangeInclusive<i64>),
    /// Above the first bound, up to the second.
    Float {
        above: f64,
        up_to: f64,
    },
    /// From 0 up to, but not, 1.
    Share,
    Any,
    Text,
    OneOf(&'static [&'static str]),
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Allowed::Integer(range) => write!(
                f,
                "a whole number from {} to {}",
                range.start(),
                range.end()
            ),
            Allowed::Float { above, up_to } => {
                write!(f, "a number above {above} and up to {up_to}")
            }
            Allowed::Share => f.write_str("a number from 0 up to, but not, 1"),
            Allowed::Any => f.write_str("a finite number"),
            Allowed::Text => f.write_str("a text that is not empty"),
            Allowed::OneOf(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) allowed: Allowed,
    pub(crate) comment: &'static str,
}

pub(crate) const POSITIVE: Allowed = Allowed::Float {
    above: 0.0,
    up_to: 1e9,
};

/// How a study writes a remedy: one key for each of its parameters.
#[derive(Debug, Clone)]
pub(crate) struct StudyForm {
    /// The remedy's `kind` in JSON.
    pub(crate) kind: &'static str,
    /// The subjects that it works on.
    pub(crate) scope: Scope,
    /// Its parameters. A study has the remedy if it has the first one's key.
    pub(crate) fields: &'static [Field],
}

/// Which subjects a remedy works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All subjects.
    Every,
    /// Subjects with matrices between their layers, which kernels are not.
    Matrices,
    /// Recurrent subjects.
    TimeSteps,
}

/// One parameter of a remedy.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// Its value where a study leaves the key out; `None` for the first parameter.
    pub(crate) default: Option<f64>,
    /// Its key in a study.
    pub(crate) key: Key,
}
