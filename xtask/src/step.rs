//! One command: it is printed, run and timed, and an error names it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// A command with its arguments and its environment variables.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    program: OsString,
    /// The name that is printed for `program`.
    shown: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Step {
    pub(crate) fn new<I: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = I>,
    ) -> Self {
        let program = program.as_ref().to_owned();
        Self {
            shown: program.clone(),
            program,
            arguments: arguments.into_iter().map(|a| a.as_ref().into()).collect(),
            environment: Vec::new(),
        }
    }

    /// Calls the cargo that started this program, so that all steps use one toolchain.
    pub(crate) fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Self {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self {
            shown: "cargo".into(),
            ..Self::new(program, arguments)
        }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Prints the command and runs it in `folder`.
    ///
    /// # Errors
    /// When the command does not start or fails; the message names it.
    pub(crate) fn run(&self, folder: &Path) -> Result<()> {
        eprintln!("$ {self}");
        let start = Instant::now();
        let status = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .status()
            .with_context(|| format!("could not start `{self}`; is it installed?"))?;
        eprintln!("took {:.0} s", start.elapsed().as_secs_f64());
        self.judge(status)
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => bail!("`{self}` failed with exit code {code}"),
            None => bail!("a signal stopped `{self}` ({status})"),
        }
    }
}

/// The command as a person types it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}=\"{}\" ", value.display())?;
        }
        write!(f, "{}", self.shown.display())?;
        for argument in &self.arguments {
            write!(f, " {}", argument.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new(".")
    }

    #[test]
    fn success_passes() {
        Step::cargo(["--version"]).run(here()).unwrap();
    }

    #[test]
    fn a_failure_names_the_command_and_its_exit_code() {
        let step = Step::cargo(["no-such-command"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            step.run(here()).unwrap_err().to_string(),
            "`RUSTDOCFLAGS=\"-D warnings\" cargo no-such-command` failed with exit code 101"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Step::new("no-such-program", ["-x"]).run(here());
        assert_eq!(
            error.unwrap_err().to_string(),
            "could not start `no-such-program -x`; is it installed?"
        );
    }
}
