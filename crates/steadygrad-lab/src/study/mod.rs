//! A study: a subject, how it is trained and which remedies it has. It is read from and written as
//! commented TOML.
//!
//! `config` has the values and the defaults, `memory` what they need, `load` makes the subject. `keys` lists the keys with
//! their ranges and comments (`key` has their types), for `read` and `write`. The keys of remedies
//! are in the files of `remedies`.

mod config;
mod error;
pub(crate) mod key;
mod keys;
mod load;
mod memory;
mod read;
mod write;

pub use config::{SUBJECTS, Study, SubjectConfig, TableSource};
pub use error::StudyError;
pub use load::LoadedSubject;
pub use memory::Work;
pub use read::parse;
