/// What can be wrong with a study.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StudyError {
    /// Not TOML.
    #[error("the study is not valid TOML{}: {message}", line.map_or(String::new(), |line| format!(", line {line}")))]
    Syntax {
        /// Where, from 1.
        line: Option<usize>,
        /// What the parser says.
        message: String,
    },
    /// A key that no study of this subject has.
    #[error("unknown key `{key}`{}; `steadygrad study --subject {subject}` prints all keys", nearest.as_ref().map_or(String::new(), |near| format!(" (did you mean `{near}`?)")))]
    UnknownKey {
        /// The key, with its section.
        key: String,
        /// The subject whose keys were looked at.
        subject: &'static str,
        /// The valid key most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("`{key} = {value}` is not possible: allowed is {allowed}")]
    Value {
        /// The key, with its section.
        key: String,
        /// What was found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key without which the study makes no sense.
    #[error("the key `{key}` is missing: {why}")]
    Missing {
        /// The key, with its section.
        key: &'static str,
        /// What it is for.
        why: String,
    },
}

/// The candidate most like `name`, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    const ALIKE: f64 = 0.75;
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}
