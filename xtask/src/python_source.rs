//! What a package's Python files say, as Python's own parser reads them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const SCRIPT: &str = include_str!("python_source.py");

/// The imports and functions of a package. Files are named from the package's folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PythonSource {
    /// What one file uses of another.
    pub imports: Vec<PythonImport>,
    /// Every function and method.
    pub functions: Vec<PythonFunction>,
}

/// A name that one file uses of another.
#[derive(Debug, PartialEq, Eq)]
pub struct PythonImport {
    /// The file that imports.
    pub from: String,
    /// The file that defines the name.
    pub to: String,
    /// The name.
    pub name: String,
}

/// One function, with its length.
#[derive(Debug, PartialEq, Eq)]
pub struct PythonFunction {
    /// Its file.
    pub file: String,
    /// Its name, after those of its classes: `Guard.step`.
    pub name: String,
    /// The line of its `def`.
    pub first_line: usize,
    /// Its lines, without decorators and docstring.
    pub lines: usize,
}

impl PythonSource {
    /// Has `python3` parse every file below `package`.
    ///
    /// # Errors
    /// When Python does not start, or a file cannot be parsed.
    pub fn read(package: &Path) -> Result<Self> {
        let output = Command::new(interpreter())
            .args(["-c", SCRIPT])
            .arg(package)
            .output()
            .with_context(|| format!("could not start {}; install Python 3.10", interpreter()))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("could not read {}: {error}", package.display());
        }
        let text = String::from_utf8(output.stdout).context("the script prints UTF-8")?;
        let mut source = Self::default();
        for line in text.lines() {
            source
                .add(line)
                .with_context(|| format!("the script printed {line:?}"))?;
        }
        Ok(source)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["import", from, to, name] => self.imports.push(PythonImport {
                from: from.to_owned(),
                to: to.to_owned(),
                name: name.to_owned(),
            }),
            ["function", file, name, first_line, lines] => self.functions.push(PythonFunction {
                file: file.to_owned(),
                name: name.to_owned(),
                first_line: first_line.parse()?,
                lines: lines.parse()?,
            }),
            _ => bail!("no import and no function"),
        }
        Ok(())
    }
}

/// The system's Python.
pub fn interpreter() -> &'static str {
    if cfg!(windows) { "python" } else { "python3" }
}
