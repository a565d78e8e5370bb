/// One number of a remedy.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name in JSON.
    pub name: &'static str,
    /// The constant of the pasted code that holds it.
    pub constant: &'static str,
    /// The values with which a run can be trained.
    pub range: Range,
}

impl Parameter {
    pub(super) const fn new(name: &'static str, constant: &'static str, range: Range) -> Self {
        Self {
            name,
            constant,
            range,
        }
    }
}

/// The values that a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Range {
    /// A finite number above 0.
    Positive,
    /// A number above 0 and up to 1.
    Share,
    /// A whole number from 1 on.
    Count,
}

impl Range {
    /// Whether a value lies within it. NaN and infinity never do.
    pub fn contains(self, value: Value) -> bool {
        match (self, value) {
            (Range::Positive, Value::Number(number)) => number.is_finite() && number > 0.0,
            (Range::Share, Value::Number(number)) => number > 0.0 && number <= 1.0,
            (Range::Count, Value::Count(count)) => count > 0,
            _ => false,
        }
    }
}

/// The value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A real number.
    Number(f64),
    /// A whole number.
    Count(usize),
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Value::Count(count)
    }
}
