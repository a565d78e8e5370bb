//! Python's tests, in a virtual environment of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::step::Step;

const REQUIREMENTS: &str = "python/tests/requirements.txt";

/// The package's folder.
const PACKAGE: &str = "./python";

/// Below the build folder, so that it is ignored and goes when that goes.
const ENVIRONMENT: &str = "target/venv";

/// Runs the tests, with the package as it is now.
pub(crate) fn test(root: &Path) -> Result<()> {
    run(root, &["-m", "pytest", "-q", "python/tests"])
}

/// Runs a script, with the package as it is now.
pub(crate) fn script(root: &Path, path: &str) -> Result<()> {
    run(root, &[path])
}

/// Makes the environment when it is missing, installs what changed, builds the package into it, and
/// calls its Python.
fn run(root: &Path, arguments: &[&str]) -> Result<()> {
    // `pip` is the last thing that `venv` writes: without it the making was cut short.
    if !program(root, "pip").is_file() {
        Step::new(system_python(), ["-m", "venv", ENVIRONMENT]).run(root)?;
    }
    let python = program(Path::new(""), "python");
    let stamp = Stamp::new(root)?;
    if !stamp.is_current() {
        stamp.remove()?;
        let install = ["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS];
        Step::new(root.join(&python), install).run(root)?;
        stamp.write()?;
    }
    // As a user would. Cargo's build folder is the workspace's, so only what changed is built.
    let package = ["-m", "pip", "install", "--quiet", "--no-deps", PACKAGE];
    Step::new(root.join(&python), package).run(root)?;
    Step::new(root.join(&python), arguments.iter().copied()).run(root)
}

fn system_python() -> &'static str {
    if cfg!(windows) { "python" } else { "python3" }
}

fn program(root: &Path, name: &str) -> PathBuf {
    let environment = root.join(ENVIRONMENT);
    if cfg!(windows) {
        environment.join("Scripts").join(format!("{name}.exe"))
    } else {
        environment.join("bin").join(name)
    }
}

/// The requirements that the environment holds, word for word.
struct Stamp {
    path: PathBuf,
    wanted: String,
}

impl Stamp {
    fn new(root: &Path) -> Result<Self> {
        let requirements = root.join(REQUIREMENTS);
        Ok(Self {
            path: root.join(ENVIRONMENT).join("requirements.stamp"),
            wanted: fs::read_to_string(&requirements)
                .with_context(|| format!("could not read {}", requirements.display()))?,
        })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|held| held == self.wanted)
    }

    /// Goes before an installation, so that one cut short is not taken for a whole one.
    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.wanted)
            .with_context(|| format!("could not write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_the_requirements_change() {
        let root = tempfile::tempdir().unwrap();
        let requirements = root.path().join(REQUIREMENTS);
        fs::create_dir_all(requirements.parent().unwrap()).unwrap();
        fs::create_dir_all(root.path().join(ENVIRONMENT)).unwrap();
        assert!(Stamp::new(root.path()).is_err());

        fs::write(&requirements, "pytest==1\n").unwrap();
        let stamp = Stamp::new(root.path()).unwrap();
        assert!(!stamp.is_current());
        stamp.remove().unwrap();
        stamp.write().unwrap();
        assert!(stamp.is_current());

        fs::write(&requirements, "pytest==2\n").unwrap();
        let stamp = Stamp::new(root.path()).unwrap();
        assert!(!stamp.is_current());
        stamp.remove().unwrap();
        assert!(!stamp.path.exists());
    }
}
