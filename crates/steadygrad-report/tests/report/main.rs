//! The documents of four reports: a cure, an interrupted job, no cure, and nothing but NaN;
//! those of a probe, of a diagnosis and of the rules.

mod diagnosis;
mod fixture;
mod html;
mod json;
mod probe;
mod probe_fixture;
mod rules;
mod terminal;
