//! The command `steadygrad` of the Python package.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command with these arguments, its own name first, and gives its exit code.
#[pyfunction]
pub(crate) fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| steadygrad_commands::command(arguments))
}
