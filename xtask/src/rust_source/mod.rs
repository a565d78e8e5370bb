//! What a crate's Rust files say, as `syn` reads them.
//!
//! | file | job |
//! |---|---|
//! | `tree` | follows `mod` declarations from `lib.rs` or `main.rs` to every file |
//! | `names` | follows a path such as `crate::clip::Policy` to the module that defines it |
//! | `uses` | lists the paths that a module's code writes |
//! | `tests_only` | recognises what is compiled for tests alone |
//!
//! The compiler is not asked: types and macros are not expanded. A name that no module defines is
//! given to the module's macros, if it calls any.

mod names;
mod tests_only;
mod tree;
mod uses;

pub use names::{Names, Target};
pub use tests_only::is_for_tests;
pub use tree::{CrateSource, Module, SourceFile};
pub use uses::{UsedPath, flatten, used_paths};
