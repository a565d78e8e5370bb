//! The documents of four reports: a cure, an interrupted job, no cure, and nothing but NaN;
//! and those of a probe.

mod fixture;
mod html;
mod json;
mod probe;
mod probe_fixture;
mod terminal;
