use crate::nearest::nearest;

/// Why a study cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The text is not TOML.
    #[error(
        "the study is not valid TOML{}: {message}",
        line.map_or(String::new(), |line| format!(", line {line}"))
    )]
    Syntax {
        /// The line, counted from 1.
        line: Option<usize>,
        /// The parser's message.
        message: String,
    },
    /// Studies of this subject do not have this key.
    #[error(
        "unknown key `{key}`{}; `steadygrad study --subject {subject}` prints all keys",
        nearest.as_ref().map_or(String::new(), |near| format!(" (did you mean `{near}`?)"))
    )]
    UnknownKey {
        /// The key with its section.
        key: String,
        /// The study's subject.
        subject: &'static str,
        /// The valid key with the most similar name.
        nearest: Option<String>,
    },
    /// A value has the wrong type or is out of range.
    #[error("`{key}` is {value}; give {allowed}")]
    Value {
        /// The key with its section.
        key: String,
        /// The value.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The machine has too little memory for the study.
    #[error(
        "`{key}` is {value}: the study needs at least {} of memory, more than is free; {}",
        bytes(*needed),
        most.map_or(
            "make the model and the batch smaller".into(),
            |most| format!("give at most {most}")
        )
    )]
    Memory {
        /// The key whose value makes it large.
        key: &'static str,
        /// The value.
        value: i64,
        /// Bytes that the study needs at least.
        needed: u64,
        /// The largest value of this key that fits, if any does.
        most: Option<i64>,
    },
    /// A key is missing that another key or the subject needs.
    #[error("the key `{key}` is missing: {why}")]
    Missing {
        /// The key with its section.
        key: &'static str,
        /// What needs the key.
        why: String,
    },
}

/// A size to its second digit: `1.6 PB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = count as f64;
    let mut units = UNITS.into_iter();
    let mut unit = units.next();
    while size >= 999.5
        && let Some(next) = units.next()
    {
        size /= 1000.0;
        unit = Some(next);
    }
    let decimals = usize::from(size < 9.95);
    format!("{size:.decimals$} {}", unit.unwrap_or_default())
}

impl StudyError {
    /// The error for a key that is not among the `known` ones.
    pub(super) fn unknown_key(key: &str, subject: &'static str, known: &[&str]) -> Self {
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        // A key in the wrong section is most similar to the key of the same name elsewhere.
        let elsewhere = known.iter().find(|known| last(known) == last(key));
        Self::UnknownKey {
            key: key.to_owned(),
            subject,
            nearest: elsewhere
                .map(|known| (*known).to_owned())
                .or_else(|| nearest(key, known.iter().copied())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits() {
        for (count, text) in [
            (0, "0.0 B"),
            (512, "512 B"),
            (1_700_000_000_000_000, "1.7 PB"),
            (20_480_000_000, "20 GB"),
            (999_600, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
