//! The rules' own pages, made from their text in the code.

use steadygrad::diagnose::{Example, Finding, History, RULES, Rule};

use crate::{facts, number, terminal};

/// A section of a rule's page: its title and its text.
type Section = (&'static str, fn(&Rule) -> &'static str);

/// The sections, in the order that they are read in.
pub(crate) const SECTIONS: [Section; 6] = [
    ("What it means", |rule| rule.what),
    ("Why that is bad", |rule| rule.why),
    ("What it needs", |rule| rule.evidence),
    ("What it cannot see", |rule| rule.blind),
    ("What to do", |rule| rule.remedy),
    ("What that may break", |rule| rule.fix_safety),
];

/// What the rule finds in its own example.
pub(crate) fn example(rule: &Rule) -> Option<Finding> {
    match rule.example {
        Example::Logs { fires, .. } => rule.check_run(&History::of(&fires())),
        Example::Measured { .. } => None,
    }
}

/// One rule as Markdown.
pub fn markdown(rule: &Rule) -> String {
    let mut out = format!("# {}: {}\n", rule.code, rule.name);
    for (title, text) in SECTIONS {
        out.push_str(&format!("\n## {title}\n\n{}\n", text(rule)));
    }
    out.push_str("\n## Example\n\n");
    match rule.example {
        Example::Measured { fires, silent } => {
            out.push_str(&format!(
                "It speaks when {}.\nIt is silent when {}.\n",
                fires.text, silent.text
            ));
        }
        Example::Logs { .. } => {
            if let Some(finding) = example(rule) {
                out.push_str(&format!(
                    "```text\n{}[{}]: {}\n  --> {}\n",
                    finding.level.name(),
                    finding.code,
                    finding.title,
                    facts::place(&finding)
                ));
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
                out.push_str("```\n");
            }
        }
    }
    out.push_str("\n## Sources\n\n");
    for source in rule.references {
        out.push_str(&format!("- {source}\n"));
    }
    out
}

/// The list of all rules as Markdown, by code.
pub fn index() -> String {
    let mut rules: Vec<&Rule> = RULES.iter().collect();
    rules.sort_by_key(|rule| rule.code);
    let mut out = String::from(
        "# Rules\n\nWhat `steadygrad probe`, `cure` and `diagnose` find, by code. Made from the code by \
         `cargo xtask rules`;\n`steadygrad explain SG003` prints one.\n\n| code | name | what it means |\n|---|---|---|\n",
    );
    for rule in rules {
        let what = rule.what.replace('|', "\\|");
        out.push_str(&format!(
            "| [{0}]({0}.md) | {1} | {what} |\n",
            rule.code, rule.name
        ));
    }
    out
}
