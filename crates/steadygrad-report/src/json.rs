//! The report as JSON.

use serde_json::to_string_pretty;
use steadygrad::cure::CureReport;
use steadygrad::diagnose::Diagnosis;
use steadygrad::probe::ProbeReport;

use crate::ReportError;

/// Returns every number of the report as indented JSON. NaN and infinities become the strings
/// `"NaN"`, `"Infinity"` and `"-Infinity"`, see [`steadygrad::float`].
///
/// # Errors
/// [`ReportError::Json`]; no report is known to cause it.
pub fn cure(report: &CureReport) -> Result<String, ReportError> {
    to_string_pretty(report).map_err(json_error)
}

/// Returns every number of the report as indented JSON, as [`cure`] does.
///
/// # Errors
/// [`ReportError::Json`]; no report is known to cause it.
pub fn probe(report: &ProbeReport) -> Result<String, ReportError> {
    to_string_pretty(report).map_err(json_error)
}

/// Returns every number of the diagnosis as indented JSON, as [`cure`] does.
///
/// # Errors
/// [`ReportError::Json`]; no diagnosis is known to cause it.
pub fn diagnosis(diagnosis: &Diagnosis) -> Result<String, ReportError> {
    to_string_pretty(diagnosis).map_err(json_error)
}

pub(crate) fn json_error(error: serde_json::Error) -> ReportError {
    ReportError::Json(Box::new(error))
}
