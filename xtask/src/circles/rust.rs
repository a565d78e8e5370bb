use super::graph::Graph;
use crate::rust_source::{CrateSource, Names, Target, used_paths};

/// What the files of one crate import from each other.
#[derive(Debug)]
pub struct Imports {
    /// The imports.
    pub graph: Graph,
    /// Paths that start in this crate and lead nowhere, each with its file. The compiler finds what
    /// they name, so an import is missing from the graph.
    pub lost: Vec<String>,
}

/// Collects the imports of a crate.
pub fn of_crate(source: &CrateSource) -> Imports {
    let names = Names::new(source);
    let mut imports = Imports {
        graph: Graph::default(),
        lost: Vec::new(),
    };
    for (index, module) in source.modules.iter().enumerate() {
        if module.test_only {
            continue;
        }
        let from = source.file_of(index);
        for used in used_paths(module).into_iter().filter(|used| !used.hands_on) {
            let targets = names.resolve(index, &used.segments);
            if targets.is_empty() {
                imports
                    .lost
                    .push(format!("{from}: {}", used.segments.join("::")));
            }
            for target in targets {
                if let Target::Item { module, name } = target {
                    imports.graph.add(from, source.file_of(module), &name);
                }
            }
        }
    }
    imports
}
