use steadygrad::probe::ProbeReport;

use super::Section;
use crate::number;

/// What to try first; `None` when nothing is wrong.
pub(crate) fn remedy(report: &ProbeReport) -> Option<Section> {
    let section = Section::new("Try first");
    let Some(first) = &report.first_remedy else {
        let cause = report.findings.first()?;
        let reason = format!(
            "none: no family has a parameter that answers {}",
            cause.code
        );
        return Some(section.row("remedy", reason));
    };
    let measured: Vec<String> = first
        .derivation
        .measured
        .iter()
        .map(|evidence| format!("{} {}", evidence.name, number::short(evidence.value)))
        .collect();
    let mut section = section
        .row("remedy", format!("{}: {}", first.family, first.remedy))
        .row("answers", &first.answers)
        .row("computed as", &first.derivation.formula);
    if !measured.is_empty() {
        section = section.row("from", measured.join(", "));
    }
    Some(section.note(match report.subject.training_samples {
        0 => "Computed from what was measured; not tried yet.",
        _ => "Not tried yet: `steadygrad cure` runs it beside the other families.",
    }))
}
