//! Values in, documents out: reports as terminal text, JSON, SARIF and self-contained HTML pages.
//!
//! Every function is pure. It reads no file and no clock and prints nothing; the caller decides
//! where a document goes.
//!
//! ```text
//! CureReport --terminal::cure--> text with ANSI styles
//!            --json::cure------> every number, NaN and infinity included
//!            --html::cure------> one page that needs no network
//!
//! ProbeReport --terminal::probe, json::probe, html::probe
//! Diagnosis ----terminal, json, html and sarif::diagnosis
//! Rule ---------terminal::rule, rules::markdown
//! ```
//!
//! No document computes a result of its own: every number that a person sees is in the report, so
//! it is in the JSON too. All documents share the sentences of `facts`, so they never disagree.
//!
//! ```
//! use steadygrad::diagnose::{Diagnosis, rule};
//! use steadygrad_report::{json, terminal};
//!
//! let diagnosis = Diagnosis::of("logs/empty.csv", &[steadygrad::Trace::default()]);
//! assert!(terminal::diagnosis(&diagnosis).contains("nothing to judge"));
//! assert!(json::diagnosis(&diagnosis)?.contains("logs/empty.csv"));
//! assert!(terminal::rule(rule("SG003").unwrap()).contains("Jacobian"));
//! # Ok::<(), steadygrad_report::ReportError>(())
//! ```

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
