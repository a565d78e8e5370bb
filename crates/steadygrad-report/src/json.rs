//! The report as JSON.

use steadygrad::cure::CureReport;
use steadygrad::diagnose::Diagnosis;
use steadygrad::probe::ProbeReport;

/// Every number of the report as indented JSON. NaN and infinities become the strings `"NaN"`,
/// `"Infinity"` and `"-Infinity"`, see [`steadygrad::float`].
///
/// # Errors
/// Those of `serde_json`; none is known to happen for this type.
pub fn cure(report: &CureReport) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}

/// The same for what [`crate::terminal::probe`] prints.
///
/// # Errors
/// Those of `serde_json`; none is known to happen for this type.
pub fn probe(report: &ProbeReport) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}

/// The same for what [`crate::terminal::diagnosis`] prints.
///
/// # Errors
/// Those of `serde_json`; none is known to happen for this type.
pub fn diagnosis(diagnosis: &Diagnosis) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(diagnosis)
}
