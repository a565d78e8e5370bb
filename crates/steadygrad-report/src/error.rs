use std::error::Error;

/// A document that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// JSON has no form for a value of the report. No value of steadygrad's own is known to be so.
    #[error("cannot write the report as JSON: {0}; please report this as a bug")]
    Json(#[source] Box<dyn Error + Send + Sync>),
}
