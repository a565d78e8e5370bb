//! Which files import each other.
//!
//! An import is the use of an item, and leads to the file that defines the item. A `pub use`, or an
//! `__init__.py` that imports a name without using it, hands the name on: it imports nothing, and
//! who uses the name imports the file behind it. Declaring a module imports nothing either.
//!
//! Methods are out of sight: their names say nothing about where they are defined.

mod graph;
mod python;
mod rust;

pub use graph::{Circle, Graph};
pub use python::of_python;
pub use rust::{Imports, of_crate};
