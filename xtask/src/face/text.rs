//! Source text on one line.

use proc_macro2::Span;

/// Returns the text that `span` covers, on one line.
///
/// rustfmt breaks long declarations and puts a comma before the break. This takes both back, so the
/// width of a declaration does not show in a face.
pub(super) fn of(span: Span) -> String {
    one_line(&span.source_text().unwrap_or_default())
}

/// Returns the text of `span` with `path` for the name at `name`.
pub(super) fn with_path(span: Span, name: Span, path: &str) -> String {
    let text = span.source_text().unwrap_or_default();
    let at = name
        .byte_range()
        .start
        .saturating_sub(span.byte_range().start);
    let after = at + name.byte_range().len();
    match (text.get(..at), text.get(after..)) {
        (Some(before), Some(after)) => one_line(&format!("{before}{path}{after}")),
        _ => path.to_owned(),
    }
}

/// Puts the text on one line, without comments.
pub(super) fn one_line(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    let mut line = words.join(" ");
    for (opening, closing) in [('(', ')'), ('<', '>'), ('[', ']')] {
        line = line.replace(&format!("{opening} "), &opening.to_string());
        line = line.replace(&format!(", {closing}"), &closing.to_string());
        line = line.replace(&format!(" {closing}"), &closing.to_string());
    }
    line.trim_end_matches([',', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_declaration_reads_like_a_whole_one() {
        let whole = "fn a(x: f64, y: f64) -> Result<(), Error>";
        assert_eq!(one_line(whole), whole);
        let broken = "fn a(\n    x: f64, // the first\n    y: f64,\n) -> Result<(), Error>";
        assert_eq!(one_line(broken), whole);
        assert_eq!(
            one_line("fn a()\nwhere\n    A: B,\n    C: D,"),
            "fn a() where A: B, C: D"
        );
    }

    #[test]
    fn a_path_takes_the_place_of_a_name() {
        let item: syn::ItemFn = syn::parse_str("pub fn name(name: f64) {}").unwrap();
        let span = syn::spanned::Spanned::span(&item.sig);
        let text = with_path(span, item.sig.ident.span(), "a::name");
        assert_eq!(text, "fn a::name(name: f64)");
    }
}
