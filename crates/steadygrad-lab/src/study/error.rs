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
    /// A key is missing that another key or the subject needs.
    #[error("the key `{key}` is missing: {why}")]
    Missing {
        /// The key with its section.
        key: &'static str,
        /// What needs the key.
        why: String,
    },
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
