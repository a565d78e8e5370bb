//! The Python tests, each set in its own virtual environment.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::folders::PYTHON_PACKAGE;
use xtask::python_source::interpreter;

use crate::step::Step;

const REQUIREMENTS: &str = "python/tests/requirements.txt";

/// Packs the package and its built module for pip.
const PACK: &str = include_str!("pack_wheel.py");

/// The entry point of the command `steadygrad`; `python/pyproject.toml` names it too.
const COMMAND: &str = "steadygrad = steadygrad.__main__:main";

/// A virtual environment. It lies in the build folder: git ignores it, `cargo clean` removes it.
struct Environment {
    folder: &'static str,
    /// Requirements that replace those of the same package in the list.
    replaced: &'static [&'static str],
}

const CURRENT: Environment = Environment {
    folder: "target/venv",
    replaced: &[],
};

/// The oldest PyTorch that the package supports; `python/pyproject.toml` names it too. Its Triton
/// converts arrays to numbers, which NumPy 2.4 refuses.
const OLDER: Environment = Environment {
    folder: "target/venv-older",
    replaced: &["torch==2.10.0", "numpy==2.3.5"],
};

/// The lints of all Python, and the types of the package. None of them needs the built module.
const LINTS: [&str; 3] = [
    "-m ruff check python benches xtask",
    "-m ruff format --check python benches xtask",
    "-m mypy --config-file python/pyproject.toml",
];

/// Two processes, since each test uses one thread of PyTorch. The tests of a file share their runs.
const TESTS: &str = "-m pytest -q -n 2 --dist loadfile python/tests";

/// Lints the package, builds it and runs its tests.
pub(crate) fn test(root: &Path) -> Result<()> {
    let python = CURRENT.python(root)?;
    for lint in LINTS {
        Step::new(&python, lint.split(' ')).run(root)?;
    }
    CURRENT.run(root, TESTS.split(' '))
}

/// Builds the package and runs its tests with the oldest PyTorch.
pub(crate) fn test_older(root: &Path) -> Result<()> {
    OLDER.run(root, TESTS.split(' '))
}

/// Builds the package and runs a script.
pub(crate) fn script(root: &Path, path: &str) -> Result<()> {
    CURRENT.run(root, [path])
}

impl Environment {
    /// Builds and installs the package, and calls Python.
    fn run<'a>(&self, root: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let python = self.python(root)?;
        let wheel = pack(root, &self.folder(root), &python)?;
        let install = "-m pip install --quiet --no-deps --no-index --force-reinstall".split(' ');
        Step::new(&python, install).arg(wheel).run(root)?;
        Step::new(&python, arguments).run(root)
    }

    /// Its Python. Makes the environment if it is missing, and installs changed requirements.
    fn python(&self, root: &Path) -> Result<PathBuf> {
        // `venv` writes `pip` last: without it an earlier run was interrupted.
        if !self.program(root, "pip").is_file() {
            Step::new(interpreter(), ["-m", "venv", self.folder]).run(root)?;
        }
        let python = self.program(root, "python");
        let stamp = Stamp {
            path: self.folder(root).join("requirements.stamp"),
            wanted: self.requirements(root)?,
        };
        if !stamp.is_current() {
            stamp.remove()?;
            let listed = self.folder(root).join("requirements.txt");
            write(&listed, &stamp.wanted)?;
            let install = ["-m", "pip", "install", "--quiet", "-r"];
            Step::new(&python, install).arg(&listed).run(root)?;
            write(&stamp.path, &stamp.wanted)?;
        }
        Ok(python)
    }

    /// The requirements, one a line, with the replaced ones.
    fn requirements(&self, root: &Path) -> Result<String> {
        let path = root.join(REQUIREMENTS);
        let listed = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let name = |line: &str| line.split_once("==").map(|(name, _)| name.to_owned());
        let lines = listed.lines().map(|line| {
            let other = self.replaced.iter().find(|other| name(other) == name(line));
            other.copied().unwrap_or(line)
        });
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }

    fn folder(&self, root: &Path) -> PathBuf {
        root.join(self.folder)
    }

    fn program(&self, root: &Path, name: &str) -> PathBuf {
        program(&self.folder(root), name)
    }
}

/// Builds the package's module and packs both into a wheel in `folder`.
///
/// maturin would build the module with the features that the module alone needs, and so every
/// dependency a second time. `cargo xtask wheel` tries maturin's way.
fn pack(root: &Path, folder: &Path, python: &Path) -> Result<PathBuf> {
    // With the tests, since their dependencies choose features too.
    Step::cargo("build --workspace --release --lib --tests".split(' ')).run(root)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let (prefix, suffix) = (DLL_PREFIX, DLL_SUFFIX);
    let module = root
        .join(target)
        .join(format!("release/{prefix}steadygrad_native{suffix}"));
    let name = if cfg!(windows) {
        "_native.pyd"
    } else {
        "_native.abi3.so"
    };
    let wheel = folder.join("steadygrad-0.0.0-py3-none-any.whl");
    let script = folder.join("pack_wheel.py");
    write(&script, PACK)?;
    Step::new(
        python,
        [script.as_path(), &root.join(PYTHON_PACKAGE), &module],
    )
    .arg(name)
    .arg(COMMAND)
    .arg(&wheel)
    .run(root)?;
    Ok(wheel)
}

/// Returns the path of a program in an environment.
pub(crate) fn program(environment: &Path, name: &str) -> PathBuf {
    if cfg!(windows) {
        environment.join("Scripts").join(format!("{name}.exe"))
    } else {
        environment.join("bin").join(name)
    }
}

/// A file with the requirements that an environment was last installed from.
struct Stamp {
    path: PathBuf,
    wanted: String,
}

impl Stamp {
    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|held| held == self.wanted)
    }

    /// Removed before an installation, so that an interrupted one does not count as complete.
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
    fn an_older_pytorch_replaces_the_current_one() {
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
    fn the_requirements_name_every_replaced_package() {
        let root = Path::new("..");
        let older = OLDER.requirements(root).unwrap();
        for line in OLDER.replaced {
            assert!(older.lines().any(|held| held == *line), "{line}");
        }
        let oldest = OLDER.replaced[0].replace("==", ">=").replace(".0", "");
        let pyproject = fs::read_to_string(root.join("python/pyproject.toml")).unwrap();
        assert!(
            pyproject.contains(&format!("torch = [\"{oldest}\"]")),
            "{oldest}"
        );
    }

    #[test]
    fn the_packed_command_is_that_of_the_package() {
        let (name, entry) = COMMAND.split_once(" = ").unwrap();
        let pyproject = fs::read_to_string("../python/pyproject.toml").unwrap();
        assert!(pyproject.contains(&format!("[project.scripts]\n{name} = \"{entry}\"\n")));
    }
}
