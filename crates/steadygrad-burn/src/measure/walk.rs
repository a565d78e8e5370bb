//! The order in which parameters are measured and changed.

use std::collections::HashSet;

use burn::module::ParamId;
use steadygrad::stats::Units;

/// Lists with one entry a parameter start with room for this many. For a small network, growing
/// them step by step would cost more than reading its parameters.
pub(crate) const PARAMETERS: usize = 32;

/// A walk through a module that meets each parameter once and leaves the exempt ones out.
///
/// Every list with one entry a parameter is in the order of this walk.
pub(crate) struct Walk<'a> {
    /// Dotted path of the current module.
    path: String,
    /// For each module on the path: the path's length before it, and whether it is an embedding.
    modules: Vec<(usize, bool)>,
    exempt: &'a [String],
    seen: HashSet<ParamId>,
}

impl<'a> Walk<'a> {
    /// A walk that leaves out the parameters with these dotted paths.
    pub(crate) fn new(exempt: &'a [String]) -> Self {
        Self {
            path: String::new(),
            modules: Vec::new(),
            exempt,
            seen: HashSet::with_capacity(PARAMETERS),
        }
    }

    pub(crate) fn enter(&mut self, name: &str, container_type: &str) {
        let embedding = container_type.ends_with(":Embedding");
        self.modules.push((self.path.len(), embedding));
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }

    pub(crate) fn exit(&mut self) {
        if let Some((len, _)) = self.modules.pop() {
            self.path.truncate(len);
        }
    }

    /// The dotted path of the current parameter. It is `None` for an exempt parameter and at the
    /// second visit of one that the module holds in two places.
    pub(crate) fn arrive(&mut self, id: ParamId) -> Option<&str> {
        let exempt = self.exempt.contains(&self.path);
        (!exempt && self.seen.insert(id)).then_some(&self.path)
    }

    /// The axis of the output units of the current parameter. Burn's matrices are `[in, out]`,
    /// embeddings `[row, features]`, convolutions `[out, in, ...]`.
    pub(crate) fn units(&self, dims: &[usize]) -> Units {
        let embedding = self.modules.iter().any(|(_, embedding)| *embedding);
        match *dims {
            [_, columns] if !embedding && columns > 0 => Units::Columns(columns),
            [rows, _, ..] if rows > 0 => Units::Rows(rows),
            _ => Units::One,
        }
    }
}
