//! The workspace's folders, and the files in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The Python package, from the workspace's root.
pub const PYTHON_PACKAGE: &str = "python/steadygrad";

/// Returns the workspace's root: the parent of this crate's folder.
///
/// Cargo says at run time where this crate lies: two checkouts with one build folder may share the
/// program.
///
/// # Errors
/// When cargo did not start the program.
pub fn root() -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR");
    let folder =
        PathBuf::from(folder.context("cargo did not start xtask; type `cargo xtask TASK`")?);
    let root = folder.parent().context("xtask's folder has no parent")?;
    Ok(root.to_owned())
}

/// Returns the folder of every workspace crate: each one in `crates`, and `xtask`.
///
/// # Errors
/// When a folder cannot be read.
pub fn crates(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<_> = entries(&root.join("crates"))?
        .into_iter()
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    found.push(root.join("xtask"));
    Ok(found)
}

/// Returns every file below `folder` whose name ends in one of `extensions`, sorted.
///
/// Hidden folders and Python's caches are left out. A folder that does not exist has no files.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "__pycache__" {
                found.extend(files(&path, extensions)?);
            }
        } else if path
            .extension()
            .is_some_and(|extension| extensions.iter().any(|known| extension == *known))
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Reads a file; an error names it.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

/// Returns `path` as seen from `root`, with `/` between its parts on every system.
pub fn shown(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let parts = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    let mut found = list().with_context(|| format!("could not read {}", folder.display()))?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        let root = root().unwrap();
        assert!(root.join("Cargo.lock").is_file());
        let crates = crates(&root).unwrap();
        assert!(
            crates.contains(&root.join("crates/steadygrad"))
                && crates.contains(&root.join("xtask"))
        );
    }
}
