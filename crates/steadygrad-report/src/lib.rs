//! Values in, documents out: one [`CureReport`](steadygrad::cure::CureReport) or
//! [`ProbeReport`](steadygrad::probe::ProbeReport) as terminal text, as JSON and as one HTML page.
//!
//! Every function here is pure. It reads no file and no clock and prints nothing; the caller
//! decides where a document goes.
//!
//! ```text
//! CureReport --terminal::cure--> text with ANSI styles
//!            --json::cure------> every number, NaN and infinity included
//!            --html::cure------> one page that needs no network
//!
//! ProbeReport --terminal::probe, json::probe, html::probe--> the same
//! Diagnosis ----terminal, json, html::diagnosis, sarif::diagnosis--> the same, and SARIF for CI
//! Rule ---------terminal::rule, rules::markdown--> what it means
//! ```
//!
//! No document computes a result of its own: what a person sees is in the report, so it is in
//! the JSON too. Where a sentence has to be chosen (what happened, what to try next), all
//! documents take it from the same place and cannot disagree.

mod error;
mod facts;
pub mod html;
pub mod json;
mod number;
mod probe;
pub mod rules;
pub mod sarif;
pub mod terminal;

pub use error::ReportError;
