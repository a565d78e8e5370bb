//! The documents of four reports: a cure, an interrupted job, no cure, and nothing but NaN.

mod fixture;
mod html;
mod json;
mod terminal;
