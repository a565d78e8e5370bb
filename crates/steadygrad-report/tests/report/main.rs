//! Tests the documents of a cure, a probe, a diagnosis and the rules. The cures are a working one,
//! an interrupted one, one without a result, and one of NaN only.

mod diagnosis;
mod fixture;
mod html;
mod json;
mod probe;
mod probe_fixture;
mod rules;
mod terminal;
