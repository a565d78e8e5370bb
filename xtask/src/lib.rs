//! The checks of the house: how the sources are shaped, and what they show to the outside.
//!
//! | module | answers |
//! |---|---|
//! | [`circles`] | which two files import each other |
//! | [`sizes`] | which files, functions and lines are too long |
//! | [`face`] | what each library crate makes public |
//! | [`rust_source`], [`python_source`] | what the sources say; the three above read it |
//!
//! The tests of this crate hold the workspace to them. `cargo xtask sizes` and `cargo xtask face`
//! print and write the same answers.

pub mod circles;
pub mod face;
pub mod folders;
pub mod python_source;
pub mod rust_source;
pub mod sizes;
