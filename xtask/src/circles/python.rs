use std::path::Path;

use anyhow::Result;

use super::graph::Graph;
use crate::python_source::PythonSource;

/// Collects the imports of a Python package: what a function imports when it runs, and what only a
/// type checker imports, counts too.
///
/// # Errors
/// When Python does not start, or a file cannot be parsed.
pub fn of_python(package: &Path) -> Result<Graph> {
    let mut graph = Graph::default();
    for import in PythonSource::read(package)?.imports {
        graph.add(&import.from, &import.to, &import.name);
    }
    Ok(graph)
}
