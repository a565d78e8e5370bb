//! The order in which parameters are measured and changed.

use std::collections::HashSet;

use burn::module::ParamId;
use steadygrad::stats::Units;

/// A way through a module that comes to each parameter once, without those that are exempt. Every
/// list of one entry a parameter is in its order.
pub(crate) struct Walk<'a> {
    names: Vec<String>,
    types: Vec<String>,
    exempt: &'a [String],
    seen: HashSet<ParamId>,
}

impl<'a> Walk<'a> {
    /// `exempt` are dotted paths.
    pub(crate) fn new(exempt: &'a [String]) -> Self {
        Self {
            names: Vec::new(),
            types: Vec::new(),
            exempt,
            seen: HashSet::new(),
        }
    }

    pub(crate) fn enter(&mut self, name: &str, container_type: &str) {
        self.names.push(name.to_owned());
        self.types.push(container_type.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.types.pop();
    }

    /// The dotted path of the parameter that is here, unless it is exempt or was come to before:
    /// a module may hold one in two places.
    pub(crate) fn arrive(&mut self, id: ParamId) -> Option<String> {
        let name = self.names.join(".");
        (!self.exempt.contains(&name) && self.seen.insert(id)).then_some(name)
    }

    /// Where the output units of the parameter that is here lie: Burn's matrices are `[in, out]`,
    /// embeddings `[row, features]`, convolutions `[out, in, ...]`.
    pub(crate) fn units(&self, dims: &[usize]) -> Units {
        let embedding = self.types.iter().any(|name| name.ends_with(":Embedding"));
        match *dims {
            [_, columns] if !embedding && columns > 0 => Units::Columns(columns),
            [rows, _, ..] if rows > 0 => Units::Rows(rows),
            _ => Units::One,
        }
    }
}
