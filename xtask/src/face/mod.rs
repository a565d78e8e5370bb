//! What each library crate makes public, as text: one line an item, sorted.
//!
//! The files in `docs/face` hold the accepted text, so a change of the public API shows in a diff.
//! The sources are read, not compiled: a derived trait stands in its `#[derive]`, types are written
//! as in the source, and of what a macro defines only the lines that start with `pub` are listed.
//! Private fields, bodies, values of constants and `#[doc(hidden)]` items are not part of the face.

mod declaration;
mod public;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::folders;
use crate::rust_source::CrateSource;

/// Where the accepted faces lie, from the workspace's root.
pub const FOLDER: &str = "docs/face";

/// What Python imports is the package, not the crate that it is built from.
const NOT_FOR_RUST: &str = "steadygrad-python";

/// The face of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// The crate's name.
    pub name: String,
    /// Its public items, a line each.
    pub text: String,
}

impl Face {
    /// Reads the face of every library crate of the workspace.
    ///
    /// # Errors
    /// When a file cannot be read or parsed.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for folder in folders::crates(root)? {
            let library = folder.join("src/lib.rs");
            let name = folders::shown(&folder, folder.parent().unwrap_or(root));
            if library.is_file() && name != NOT_FOR_RUST && name != "xtask" {
                let text = Self::of(&CrateSource::read(&library)?, &name.replace('-', "_"));
                found.push(Self { name, text });
            }
        }
        Ok(found)
    }

    /// Lists what a crate makes public; its paths start with `name`.
    pub fn of(source: &CrateSource, name: &str) -> String {
        let lines = public::lines(source, name);
        lines
            .into_iter()
            .flat_map(|line| [line, "\n".to_owned()])
            .collect()
    }

    /// Returns the lines that differ from the accepted text, `-` and `+`. Empty when none does.
    ///
    /// # Errors
    /// When there is an accepted text that cannot be read.
    pub fn difference(&self, root: &Path) -> Result<String> {
        let path = self.path(root);
        let accepted = if path.is_file() {
            folders::read(&path)?
        } else {
            String::new()
        };
        let (old, new) = (lines(&accepted), lines(&self.text));
        let removed = accepted.lines().filter(|line| !new.contains(line));
        let added = self.text.lines().filter(|line| !old.contains(line));
        let removed = removed.map(|line| format!("- {line}\n"));
        let added = added.map(|line| format!("+ {line}\n"));
        Ok(removed.chain(added).collect())
    }

    /// Returns the file with the accepted text.
    pub fn path(&self, root: &Path) -> PathBuf {
        root.join(FOLDER).join(&self.name).with_extension("txt")
    }
}

/// Accepts the faces as they are: writes them all, and removes those of crates that are gone.
///
/// # Errors
/// When a file cannot be written.
pub fn accept(root: &Path) -> Result<()> {
    let faces = Face::all(root)?;
    let kept: BTreeSet<_> = faces.iter().map(|face| face.path(root)).collect();
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("could not make {FOLDER}"))?;
    for old in folders::files(&folder, &["txt"])? {
        if !kept.contains(&old) {
            fs::remove_file(&old).with_context(|| format!("could not remove {}", old.display()))?;
        }
    }
    for face in faces {
        let path = face.path(root);
        fs::write(&path, &face.text)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}
