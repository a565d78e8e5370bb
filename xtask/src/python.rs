//! Python's tests, in virtual environments of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::step::Step;

const REQUIREMENTS: &str = "python/tests/requirements.txt";

/// The package's folder.
const PACKAGE: &str = "./python";

/// One environment, below the build folder, so that it is ignored and goes when that goes.
struct Environment {
    folder: &'static str,
    /// In the place of what the requirements name.
    instead: &'static [&'static str],
}

const CURRENT: Environment = Environment {
    folder: "target/venv",
    instead: &[],
};

/// The oldest PyTorch that the package is held to: `python/pyproject.toml` names it as well. The
/// interpreter of its Triton makes numbers of arrays, which NumPy 2.4 refuses.
const OLDER: Environment = Environment {
    folder: "target/venv-older",
    instead: &["torch==2.10.0", "numpy==2.3.5"],
};

/// Runs the tests, with the package as it is now.
pub(crate) fn test(root: &Path) -> Result<()> {
    CURRENT.run(root, &["-m", "pytest", "-q", "python/tests"])
}

/// The same with an older PyTorch.
pub(crate) fn test_older(root: &Path) -> Result<()> {
    OLDER.run(root, &["-m", "pytest", "-q", "python/tests"])
}

/// Runs a script, with the package as it is now.
pub(crate) fn script(root: &Path, path: &str) -> Result<()> {
    CURRENT.run(root, &[path])
}

impl Environment {
    /// Makes the environment when it is missing, installs what changed, builds the package into it, and
    /// calls its Python.
    fn run(&self, root: &Path, arguments: &[&str]) -> Result<()> {
        // `pip` is the last thing that `venv` writes: without it the making was cut short.
        if !self.program(root, "pip").is_file() {
            Step::new(system_python(), ["-m", "venv", self.folder]).run(root)?;
        }
        let python = self.program(root, "python");
        let stamp = Stamp {
            path: root.join(self.folder).join("requirements.stamp"),
            wanted: self.requirements(root)?,
        };
        if !stamp.is_current() {
            stamp.remove()?;
            let listed = root.join(self.folder).join("requirements.txt");
            write(&listed, &stamp.wanted)?;
            let install = ["-m", "pip", "install", "--quiet", "-r"];
            Step::new(&python, install).arg(&listed).run(root)?;
            write(&stamp.path, &stamp.wanted)?;
        }
        // As a user would. Cargo's build folder is the workspace's, so only what changed is built.
        let package = ["-m", "pip", "install", "--quiet", "--no-deps", PACKAGE];
        Step::new(&python, package).run(root)?;
        Step::new(&python, arguments.iter().copied()).run(root)
    }

    /// What it holds.
    fn requirements(&self, root: &Path) -> Result<String> {
        let path = root.join(REQUIREMENTS);
        let listed = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let name = |line: &str| line.split_once("==").map(|(name, _)| name.to_owned());
        let lines = listed.lines().map(|line| {
            let other = self.instead.iter().find(|other| name(other) == name(line));
            other.copied().unwrap_or(line)
        });
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }

    fn program(&self, root: &Path, name: &str) -> PathBuf {
        program(&root.join(self.folder), name)
    }
}

/// A program of an environment.
pub(crate) fn program(environment: &Path, name: &str) -> PathBuf {
    if cfg!(windows) {
        environment.join("Scripts").join(format!("{name}.exe"))
    } else {
        environment.join("bin").join(name)
    }
}

pub(crate) fn system_python() -> &'static str {
    if cfg!(windows) { "python" } else { "python3" }
}

/// The requirements that an environment holds, word for word.
struct Stamp {
    path: PathBuf,
    wanted: String,
}

impl Stamp {
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
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_the_requirements_change() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = |wanted: &str| Stamp {
            path: folder.path().join("requirements.stamp"),
            wanted: wanted.to_owned(),
        };
        let one = stamp("pytest==1\n");
        assert!(!one.is_current());
        one.remove().unwrap();
        write(&one.path, &one.wanted).unwrap();
        assert!(one.is_current());
        let other = stamp("pytest==2\n");
        assert!(!other.is_current());
        other.remove().unwrap();
        assert!(!one.is_current());
    }

    #[test]
    fn an_older_pytorch_takes_the_place_of_the_current_one() {
        let root = tempfile::tempdir().unwrap();
        assert!(CURRENT.requirements(root.path()).is_err());
        let path = root.path().join(REQUIREMENTS);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "pytest==1\ntorch==9.9.0\nnumpy==9.9\n").unwrap();
        let held = |environment: Environment| environment.requirements(root.path()).unwrap();
        assert_eq!(held(CURRENT), "pytest==1\ntorch==9.9.0\nnumpy==9.9\n");
        assert_eq!(held(OLDER), "pytest==1\ntorch==2.10.0\nnumpy==2.3.5\n");
    }

    #[test]
    fn the_requirements_name_what_an_older_one_replaces() {
        let root = Path::new("..");
        let older = OLDER.requirements(root).unwrap();
        for line in OLDER.instead {
            assert!(older.lines().any(|held| held == *line), "{line}");
        }
        let oldest = OLDER.instead[0].replace("==", ">=").replace(".0", "");
        let pyproject = fs::read_to_string(root.join("python/pyproject.toml")).unwrap();
        assert!(
            pyproject.contains(&format!("torch = [\"{oldest}\"]")),
            "{oldest}"
        );
    }
}
