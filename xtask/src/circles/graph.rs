use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Which file uses which items of which other file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Graph {
    edges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// Two files that import each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// Each file, with the items of the other that it uses.
    pub files: [(String, Vec<String>); 2],
}

impl Graph {
    /// Notes that `from` uses `item`, which `to` defines. A file's own items are no imports.
    pub fn add(&mut self, from: &str, to: &str, item: &str) {
        if from != to {
            let edges = self.edges.entry(from.to_owned()).or_default();
            edges
                .entry(to.to_owned())
                .or_default()
                .insert(item.to_owned());
        }
    }

    /// Returns the items of `to` that `from` uses.
    pub fn items(&self, from: &str, to: &str) -> Vec<String> {
        let items = self.edges.get(from).and_then(|edges| edges.get(to));
        items.into_iter().flatten().cloned().collect()
    }

    /// Returns every pair of files that import each other, each pair once.
    pub fn circles(&self) -> Vec<Circle> {
        let mut found = Vec::new();
        for (from, edges) in &self.edges {
            for to in edges.keys().filter(|to| from < *to) {
                let back = self.items(to, from);
                if !back.is_empty() {
                    let files = [(from.clone(), self.items(from, to)), (to.clone(), back)];
                    found.push(Circle { files });
                }
            }
        }
        found
    }

    /// Returns every group of files in which each one leads to each other one, over any number of
    /// imports. A file on its own is no group.
    pub fn components(&self) -> Vec<BTreeSet<String>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self
            .edges
            .keys()
            .map(|file| (file.as_str(), self.reached(file)))
            .collect();
        let mut found = BTreeSet::new();
        for (file, reachable) in &reached {
            let leads_back = |other: &&&str| reached.get(**other).is_some_and(|r| r.contains(file));
            let group: BTreeSet<String> = reachable
                .iter()
                .filter(leads_back)
                .map(|other| (*other).to_owned())
                .collect();
            if group.len() > 1 {
                found.insert(group);
            }
        }
        found.into_iter().collect()
    }

    fn reached(&self, file: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![file];
        while let Some(next) = open.pop() {
            for (to, _) in self.edges.get(next).into_iter().flatten() {
                if seen.insert(to.as_str()) {
                    open.push(to);
                }
            }
        }
        seen
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(a, a_uses), (b, b_uses)] = &self.files;
        let (a_uses, b_uses) = (a_uses.join(", "), b_uses.join(", "));
        write!(f, "{a} <-> {b}: {a} uses {a_uses}; {b} uses {b_uses}")
    }
}
