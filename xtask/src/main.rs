//! The project's tasks: `cargo xtask test` runs everything that CI runs.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its terminal"
)]

mod python;
mod step;
mod wheel;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use xtask::face;
use xtask::folders::root;
use xtask::sizes::Sizes;

use step::Step;

const USAGE: &str = "\
usage: cargo xtask TASK

Check
  test             run everything that CI runs; stop at the first failure
  test-older       run the Python tests with the oldest PyTorch that the package supports
  docs             build the documentation; a warning is an error
  sizes            print the longest files and functions, and the number of wide lines

Write
  rules            write docs/rules from the rules in the code
  face             write docs/face: accept the public API as it is

Release
  wheel            build and try the Python package for this system, in target/dist
  wheels           build it for Linux (x86-64, ARM), macOS (ARM) and Windows (x86-64), on Linux;
                   needs rustup and MinGW-w64

Measure
  bench clip       statistics and clipping, beside a plain sum, Burn and PyTorch (5 minutes)
  bench dynamics   Lyapunov spectra, beside NumPy and PyTorch (3 minutes)
  bench record     snapshots, rows and dumps on this machine's disk (a few seconds)
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
        ["sizes"] => {
            print!("{}", Sizes::measure(&root()?)?.summary());
            Ok(())
        }
        ["rules"] => rules(&root()?),
        ["face"] => face::accept(&root()?),
        ["bench", "clip"] => bench_clip(&root()?),
        ["bench", "dynamics"] => bench_dynamics(&root()?),
        ["bench", "record"] => bench_record(&root()?),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [] => bail!("name a task\n\n{USAGE}"),
        other => bail!("there is no task `{}`\n\n{USAGE}", other.join(" ")),
    }
}

fn test(root: &Path) -> Result<()> {
    Step::cargo(["fmt", "--all", "--check"]).run(root)?;
    Step::cargo("clippy --workspace --all-targets --release -- -D warnings".split(' '))
        .run(root)?;
    // Examples have no tests. The lints have compiled them.
    Step::cargo("test --workspace --release --tests".split(' ')).run(root)?;
    Step::cargo("test --workspace --release --doc".split(' ')).run(root)?;
    burn_train(root)?;
    docs(root)?;
    python::test(root)
}

/// Tests the example for `burn-train`, a workspace of its own that builds Burn with other features.
/// It is not optimized: compiling takes much longer than running.
fn burn_train(root: &Path) -> Result<()> {
    Step::cargo("test --manifest-path examples/burn-train/Cargo.toml".split(' '))
        .env("CARGO_TARGET_DIR", "target/burn-train")
        .run(root)
}

/// Builds the documentation in the profile of the lints, which have checked the dependencies.
fn docs(root: &Path) -> Result<()> {
    Step::cargo("doc --workspace --no-deps --release".split(' '))
        .env("RUSTDOCFLAGS", "-D warnings")
        .run(root)
}

/// Writes the rules' pages. A test compares them with the code.
fn rules(root: &Path) -> Result<()> {
    let command = "run --release --package steadygrad-report --example write_rules -- docs/rules";
    Step::cargo(command.split(' ')).run(root)
}

// `--workspace` keeps the features that the tests built: other features need other dependencies.

/// Prints statistics and clipping side by side with others, as JSON lines.
fn bench_clip(root: &Path) -> Result<()> {
    Step::cargo("bench --workspace --bench kernel".split(' ')).run(root)?;
    Step::cargo("bench --workspace --bench clip".split(' ')).run(root)?;
    python::script(root, "benches/peers/clip_torch.py")
}

/// Prints Lyapunov spectra beside the same algorithm in NumPy and PyTorch.
fn bench_dynamics(root: &Path) -> Result<()> {
    Step::cargo("bench --workspace --bench dynamics --no-run".split(' ')).run(root)?;
    python::script(root, "benches/peers/dynamics.py")
}

/// Prints what a run directory costs.
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
}
