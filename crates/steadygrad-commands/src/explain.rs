use steadygrad::diagnose::{RULES, rule};

use crate::error::CommandError;
use crate::output;

/// Runs `steadygrad explain`.
pub(crate) fn run(code: &str) -> Result<u8, CommandError> {
    let rule = rule(code).ok_or_else(|| {
        let mut codes: Vec<&str> = RULES.iter().map(|rule| rule.code).collect();
        codes.sort_unstable();
        CommandError::NoRule {
            code: code.to_owned(),
            codes: codes.join(", "),
        }
    })?;
    output::print(&steadygrad_report::terminal::rule(rule))?;
    Ok(0)
}
