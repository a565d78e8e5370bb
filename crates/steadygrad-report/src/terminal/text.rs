//! Styles and wrapping.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const FRAME: Style = AnsiColor::Blue.on_default().bold();
pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(super) const NOTE: Style = AnsiColor::Cyan.on_default().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const ADDED: Style = AnsiColor::Green.on_default();
pub(super) const REMOVED: Style = AnsiColor::Red.on_default();

/// Lines are wrapped at this many columns; only code and diffs to paste may be longer.
pub(super) const WIDTH: usize = 100;

/// Width of the names in front of a section's values.
const NAME: usize = 18;
/// Longest name.
const LONGEST_NAME: usize = 40;

pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Removes control characters: a name from a user's file must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

pub(super) fn heading(text: &str) -> String {
    format!("\n{}\n", paint(BOLD, text))
}

/// A name, and its value wrapped beside it.
pub(super) fn field(name: &str, value: &str) -> String {
    let first = format!("  {:NAME$} ", shortened(&clean(name)));
    let rest = " ".repeat(NAME + 3);
    wrapped(Style::new(), value, &first, &rest)
}

/// Shortens a name to leave room for its value: it keeps the end of a dotted path, which says most.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= LONGEST_NAME {
        return name.into();
    }
    let end = name.chars().skip(length + 1 - LONGEST_NAME);
    std::iter::once('…').chain(end).collect()
}

/// Wraps words at the page's width; each line has its own style and ends with a newline.
pub(super) fn wrapped(style: Style, text: &str, first_indent: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut indent_now = first_indent;
    for line in lines(text, first_indent.chars().count(), indent.chars().count()) {
        out.push_str(indent_now);
        out.push_str(&paint(style, line));
        out.push('\n');
        indent_now = indent;
    }
    out
}

fn lines(text: &str, first_indent: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut width = first_indent;
    let room = WIDTH.saturating_sub(indent).max(1);
    for word in text.split_whitespace() {
        let letters: Vec<char> = clean(word).chars().collect();
        for piece in letters.chunks(room) {
            if !line.is_empty() && width + 1 + piece.len() > WIDTH {
                lines.push(std::mem::take(&mut line));
                width = indent;
            }
            if !line.is_empty() {
                line.push(' ');
                width += 1;
            }
            line.extend(piece);
            width += piece.len();
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_the_width_and_breaks_endless_words() {
        let text = format!("{} {}", "word ".repeat(60), "x".repeat(250));
        let wrapped = wrapped(Style::new(), &text, "    ", "  ");
        assert!(wrapped.lines().count() > 4);
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(lines("", 3, 3), [""]);
    }
}
