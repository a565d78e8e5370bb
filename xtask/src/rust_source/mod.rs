//! What a crate's Rust files say, as `syn` reads them.
//!
//! | file | job |
//! |---|---|
//! | `tree` | follows `mod` declarations from `lib.rs` or `main.rs` to every file |
//! | `names` | follows a path such as `crate::clip::Policy` to the module that defines it |
//! | `uses` | lists the paths that a module's code writes |
//! | `tests_only` | recognises what is compiled for tests alone |
//! | `macros` | lists the names that the macros which a module calls may define |
//!
//! The compiler is not asked: types are unknown, and macros are not expanded.

mod macros;
mod names;
mod tests_only;
mod tree;
mod uses;

pub use macros::{MacroRules, calls};
pub use names::{Names, Target};
pub use tests_only::is_for_tests;
pub use tree::{CrateSource, Module, SourceFile};
pub use uses::{UsedPath, flatten, used_paths};
