//! The project's chores: `cargo xtask test` is everything that CI runs.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

mod python;
mod step;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use step::Step;

const USAGE: &str = "\
usage: cargo xtask <task>

  test   format, lints, tests, documentation and Python's tests; stops at the first failure
  test-older   Python's tests with the oldest PyTorch that the package is held to
  wheel   the Python package to hand out, in target/dist, for machines like this one; tried
  wheels   the same for all whom PyTorch ships wheels to, on Linux with rustup and MinGW-w64: Linux (x86-64, ARM), macOS (ARM), Windows (x86-64)
  docs   the documentation, where a warning is an error
  rules  docs/rules, from the rules' text in the code

  bench clip   gradient statistics and clipping beside a plain sum, Burn and PyTorch (about 5 minutes)
  bench dynamics   Lyapunov spectra beside NumPy and PyTorch (about 3 minutes)
  bench record   snapshots, rows and dumps on this machine's disk (a few seconds)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["test"] => test(&root()?),
        ["test-older"] => python::test_older(&root()?),
        ["wheel"] => wheel::for_here(&root()?),
        ["wheels"] => wheel::for_all(&root()?),
        ["docs"] => docs(&root()?),
        ["rules"] => rules(&root()?),
        ["bench", "clip"] => bench_clip(&root()?),
        ["bench", "dynamics"] => bench_dynamics(&root()?),
        ["bench", "record"] => bench_record(&root()?),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [] => bail!("no task was named\n\n{USAGE}"),
        other => bail!("no such task: `{}`\n\n{USAGE}", other.join(" ")),
    }
}

/// The workspace's root: the parent of this crate's folder. Asked of cargo at run time: two checkouts
/// that build into one folder may share the program.
fn root() -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR");
    let folder =
        PathBuf::from(folder.context("xtask was not started by cargo; use `cargo xtask`")?);
    let root = folder.parent().context("xtask's folder has no parent")?;
    Ok(root.to_owned())
}

fn test(root: &Path) -> Result<()> {
    Step::cargo(["fmt", "--all", "--check"]).run(root)?;
    Step::cargo("clippy --workspace --all-targets --release -- -D warnings".split(' '))
        .run(root)?;
    // Examples are not tested; the lints have seen that they compile.
    Step::cargo("test --workspace --release --lib --bins --tests".split(' ')).run(root)?;
    Step::cargo("test --workspace --release --doc".split(' ')).run(root)?;
    burn_train(root)?;
    docs(root)?;
    python::test(root)
}

/// The example in `burn-train`'s learner, which is a workspace of its own with another build of Burn. Not
/// optimized: to compile that takes many times as long as to run it.
fn burn_train(root: &Path) -> Result<()> {
    Step::cargo("test --manifest-path examples/burn-train/Cargo.toml".split(' '))
        .env("CARGO_TARGET_DIR", "target/burn-train")
        .run(root)
}

/// In the lints' profile, whose dependencies are checked already.
fn docs(root: &Path) -> Result<()> {
    Step::cargo("doc --workspace --no-deps --release".split(' '))
        .env("RUSTDOCFLAGS", "-D warnings")
        .run(root)
}

/// The rules' pages, which a test holds to the code.
fn rules(root: &Path) -> Result<()> {
    let command = "run --release --package steadygrad-report --example write_rules -- docs/rules";
    Step::cargo(command.split(' ')).run(root)
}

// Benches are built with the whole workspace's features: with one crate's, all below it is built anew.

/// Every side-by-side measurement of statistics and clipping, as JSON lines.
fn bench_clip(root: &Path) -> Result<()> {
    Step::cargo("bench --workspace --bench kernel".split(' ')).run(root)?;
    Step::cargo("bench --workspace --bench clip".split(' ')).run(root)?;
    python::script(root, "benches/peers/clip_torch.py")
}

/// Spectra beside the same algorithm in NumPy and PyTorch.
fn bench_dynamics(root: &Path) -> Result<()> {
    Step::cargo("bench --workspace --bench dynamics --no-run".split(' ')).run(root)?;
    python::script(root, "benches/peers/dynamics.py")
}

/// What keeping a run costs.
fn bench_record(root: &Path) -> Result<()> {
    Step::cargo("bench --workspace --bench record".split(' ')).run(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_task_is_named() {
        let error = run(&["tset"]).unwrap_err().to_string();
        assert!(error.contains("`tset`") && error.contains("usage"));
        assert!(run(&[]).unwrap_err().to_string().contains("usage"));
        assert!(run(&["test", "extra"]).is_err());
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().unwrap().join("Cargo.lock").is_file());
    }
}
