//! The documents of four cures (one that holds, an interrupted one, none found, only NaN), of a
//! probe, of a diagnosis and of the rules.

mod diagnosis;
mod fixture;
mod html;
mod json;
mod probe;
mod probe_fixture;
mod rules;
mod terminal;
