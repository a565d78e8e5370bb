//! The order in which parameters are measured and changed.

use std::collections::HashSet;

use burn::module::ParamId;
use steadygrad::stats::Units;

/// So many parameters are made room for at first: growing again and again costs a small network more
/// than looking at them.
pub(crate) const PARAMETERS: usize = 32;

/// A way through a module that comes to each parameter once, without those that are exempt. Every
/// list of one entry a parameter is in its order.
pub(crate) struct Walk<'a> {
    /// The dotted path of where it is.
    path: String,
    /// The path's length before each module on it, and whether that is an embedding.
    modules: Vec<(usize, bool)>,
    exempt: &'a [String],
    seen: HashSet<ParamId>,
}

impl<'a> Walk<'a> {
    /// `exempt` are dotted paths.
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

    /// The dotted path of the parameter that is here, unless it is exempt or was come to before:
    /// a module may hold one in two places.
    pub(crate) fn arrive(&mut self, id: ParamId) -> Option<&str> {
        let exempt = self.exempt.contains(&self.path);
        (!exempt && self.seen.insert(id)).then_some(&self.path)
    }

    /// Where the output units of the parameter that is here lie: Burn's matrices are `[in, out]`,
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
