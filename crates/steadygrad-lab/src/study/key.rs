use std::ops::RangeInclusive;

/// The values that a key may have.
#[derive(Debug, Clone)]
pub(crate) enum Allowed {
    Integer(RangeInclusive<i64>),
    /// A number above the first bound and up to the second.
    Float {
        above: f64,
        up_to: f64,
    },
    /// A number from 0 up to but excluding 1.
    Share,
    /// Any finite number.
    Any,
    /// Any text that is not empty.
    Text,
    OneOf(&'static [&'static str]),
}

/// Any positive number of a usual size.
pub(crate) const POSITIVE: Allowed = Allowed::Float {
    above: 0.0,
    up_to: 1e9,
};

impl Allowed {
    /// The smallest whole number; `None` for other values.
    pub(super) fn smallest(&self) -> Option<i64> {
        match self {
            Allowed::Integer(range) => Some(*range.start()),
            _ => None,
        }
    }
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
            Allowed::Share => f.write_str("a number from 0 up to but excluding 1"),
            Allowed::Any => f.write_str("a finite number"),
            Allowed::Text => f.write_str("a text that is not empty"),
            Allowed::OneOf(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// A key of a study.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its section and name.
    pub(crate) name: &'static str,
    pub(crate) allowed: Allowed,
    pub(crate) comment: &'static str,
}

/// How a study writes a remedy: one key for each of its parameters.
#[derive(Debug, Clone)]
pub(crate) struct StudyForm {
    /// The remedy's `kind` in JSON.
    pub(crate) kind: &'static str,
    /// The subjects that it works on.
    pub(crate) scope: Scope,
    /// Its parameters. A study has the remedy if it has the key of the first one.
    pub(crate) fields: &'static [Field],
}

/// Which subjects a remedy works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All subjects.
    Every,
    /// Subjects with matrices between their layers; a CNN has kernels.
    Matrices,
    /// Recurrent subjects.
    TimeSteps,
}

/// A parameter of a remedy.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// Its value if a study does not have the key; `None` for the first parameter.
    pub(crate) default: Option<f64>,
    pub(crate) key: Key,
}
