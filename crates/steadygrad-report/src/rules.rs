//! The rules' own pages, made from their text in the code.

use steadygrad::diagnose::{Example, Finding, History, RULES, Rule};
use steadygrad::trace::StepUnit;

use crate::{facts, number, terminal};

/// A heading of a rule's page, and the text below it.
type RuleText = (&'static str, fn(&Rule) -> &'static str);

/// The texts, in reading order.
pub(crate) const TEXTS: [RuleText; 6] = [
    ("What it means", |rule| rule.what),
    ("Why that is bad", |rule| rule.why),
    ("What it needs", |rule| rule.evidence),
    ("What it cannot see", |rule| rule.blind),
    ("What to do", |rule| rule.remedy),
    ("What that may break", |rule| rule.fix_safety),
];

/// What the rule finds in its own log; `None` for a rule that logs do not feed.
pub(crate) fn example(rule: &Rule) -> Option<Finding> {
    match rule.example {
        Example::Logs { fires, .. } => rule.check_run(&History::of(&fires())),
        _ => None,
    }
}

/// The rule's examples in words; empty for a rule with a log as example.
pub(crate) fn example_in_words(rule: &Rule) -> Vec<String> {
    match rule.example {
        Example::Measured { fires, silent } => vec![
            format!("It fires when {}.", fires.text),
            format!("It is silent when {}.", silent.text),
        ],
        _ => Vec::new(),
    }
}

/// Returns all rules in the order of their codes.
pub(crate) fn by_code() -> Vec<&'static Rule> {
    let mut rules: Vec<&Rule> = RULES.iter().collect();
    rules.sort_by_key(|rule| rule.code);
    rules
}

/// Returns one rule's page as Markdown.
pub fn markdown(rule: &Rule) -> String {
    let mut out = format!("# {}: {}\n", rule.code, rule.name);
    for (title, text) in TEXTS {
        out.push_str(&format!("\n## {title}\n\n{}\n", text(rule)));
    }
    out.push_str("\n## Example\n\n");
    for sentence in example_in_words(rule) {
        out.push_str(&format!("{sentence}\n"));
    }
    if let Some(finding) = example(rule) {
        out.push_str(&code_block(&finding));
    }
    out.push_str("\n## Sources\n\n");
    for source in rule.references {
        out.push_str(&format!("- {source}\n"));
    }
    out
}

/// A finding as the terminal shows it, in a block of code.
fn code_block(finding: &Finding) -> String {
    let mut out = format!(
        "```text\n{}[{}]: {}\n  --> {}\n",
        finding.level.name(),
        finding.code,
        finding.title,
        facts::place(finding, StepUnit::Step)
    );
    if let Some(chart) = &finding.chart {
        out.push_str(&terminal::plain_chart(chart));
    }
    for evidence in &finding.evidence {
        out.push_str(&format!(
            "   = {}: {}\n",
            evidence.name,
            number::short(evidence.value)
        ));
    }
    out.push_str(&format!("   = help: {}\n", finding.help));
    for note in &finding.notes {
        out.push_str(&format!("   = note: {note}\n"));
    }
    out + "```\n"
}

/// Returns the list of all rules as Markdown, by code.
pub fn index() -> String {
    let mut out = String::from(
        "# Rules\n\nThe faults that `steadygrad probe`, `cure` and `diagnose` find, by code. \
         `cargo xtask rules` writes\nthese pages from the code; `steadygrad explain SG003` prints \
         one.\n\n| code | name | what it means |\n|---|---|---|\n",
    );
    for rule in by_code() {
        let what = rule.what.replace('|', "\\|");
        out.push_str(&format!(
            "| [{0}]({0}.md) | {1} | {what} |\n",
            rule.code, rule.name
        ));
    }
    out
}
