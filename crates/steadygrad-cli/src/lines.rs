use std::fmt::Write as _;

/// Lines of text with a label in front.
#[derive(Default)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds a line. A line without a label continues the one before.
    pub(crate) fn add(&mut self, label: &str, text: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{label:<14} {text}");
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}
