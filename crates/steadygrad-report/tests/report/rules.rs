//! Tests that the pages in `docs/rules` match the code.

use std::path::Path;

use steadygrad::diagnose::{RULES, rule};
use steadygrad_report::{rules, terminal};

#[test]
fn every_rule_has_its_page_and_no_page_is_stale() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    for rule in RULES {
        let name = format!("{}.md", rule.code);
        let same = read(&name) == rules::markdown(rule);
        assert!(same, "docs/rules/{name} is stale: run `cargo xtask rules`");
    }
    assert!(
        read("README.md") == rules::index(),
        "run `cargo xtask rules`"
    );
    let pages = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(pages, RULES.len() + 1, "a page without a rule");
}

#[test]
fn a_rule_is_explained_with_all_of_its_text() {
    let text = terminal::rule(rule("sg014").unwrap());
    let plain = anstyle_free(&text);
    for part in [
        "SG014: schedule-jump",
        "What it cannot see",
        "Example",
        "error[SG014]",
    ] {
        assert!(plain.contains(part), "{part}\n{plain}");
    }
    assert!(plain.lines().all(|line| line.chars().count() <= 100));
    let measured = anstyle_free(&terminal::rule(rule("SG013").unwrap()));
    assert!(measured.contains("It is silent when one value in a hundred is."));
    assert!(rule("SG999").is_none());
}

/// Removes escape sequences.
fn anstyle_free(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(|letter| *letter == 'm');
        } else {
            plain.push(letter);
        }
    }
    plain
}
