//! Which items other crates can name, and by which paths.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syn::{Attribute, Item, ItemImpl, Type, Visibility};

use super::declaration::{self, Line};
use super::text;
use crate::rust_source::{CrateSource, MacroRules, Names, Target, flatten, is_for_tests};

/// Lists what a crate makes public, a line each, sorted by path.
pub(super) fn lines(source: &CrateSource, name: &str) -> Vec<String> {
    let mut face = Public {
        source,
        names: Names::new(source),
        rules: MacroRules::of(source),
        modules: BTreeMap::new(),
        items: BTreeMap::new(),
        open: VecDeque::new(),
        lines: BTreeSet::new(),
    };
    face.reach_module(0, name.to_owned());
    while let Some((module, path)) = face.open.pop_front() {
        face.read_module(module, &path);
    }
    face.declare_items();
    face.declare_impls();
    let mut lines: Vec<_> = face.lines.into_iter().collect();
    lines.sort();
    lines.into_iter().map(|line| line.text).collect()
}

/// An item, by the module that defines it and its name.
type Key = (usize, String);

struct Public<'a> {
    source: &'a CrateSource,
    names: Names<'a>,
    rules: MacroRules,
    /// The first path that was found for each module.
    modules: BTreeMap<usize, String>,
    /// Every path that was found for each item, the shortest first.
    items: BTreeMap<Key, BTreeSet<(usize, String)>>,
    open: VecDeque<(usize, String)>,
    lines: BTreeSet<Line>,
}

impl Public<'_> {
    fn reach_module(&mut self, module: usize, path: String) {
        match self.modules.get(&module) {
            Some(first) => {
                let text = format!("pub use {path} = {first}");
                self.lines.insert(Line { path, text });
            }
            None => {
                let text = format!("pub mod {path}");
                self.lines.insert(Line {
                    path: path.clone(),
                    text,
                });
                self.modules.insert(module, path.clone());
                self.open.push_back((module, path));
            }
        }
    }

    fn reach_item(&mut self, key: Key, path: String) {
        self.items
            .entry(key)
            .or_default()
            .insert((path.len(), path));
    }

    fn read_module(&mut self, module: usize, path: &str) {
        for item in &self.source.modules[module].items {
            let (attributes, visibility) = declaration::head(item);
            if hidden(attributes) {
                continue;
            }
            match item {
                Item::Use(item) if public(&item.vis) => {
                    for (name, target) in flatten(&item.tree) {
                        self.reach_used(module, path, &name, &target);
                    }
                }
                Item::Macro(item) => {
                    let exported = |a: &Attribute| a.path().is_ident("macro_export");
                    if let Some(ident) = item
                        .ident
                        .as_ref()
                        .filter(|_| item.attrs.iter().any(exported))
                    {
                        let path = format!("{}::{ident}", self.modules[&0]);
                        self.reach_item((module, ident.to_string()), path);
                    }
                }
                _ if !visibility.is_some_and(public) => {}
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    for target in self
                        .names
                        .resolve(module, &["self".to_owned(), name.clone()])
                    {
                        if let Target::Module(child) = target {
                            self.reach_module(child, format!("{path}::{name}"));
                        }
                    }
                }
                _ => {
                    if let Some(name) = declaration::name(item) {
                        self.reach_item((module, name.clone()), format!("{path}::{name}"));
                    }
                }
            }
        }
    }

    /// Follows one name of a `pub use`.
    fn reach_used(&mut self, module: usize, path: &str, name: &str, target: &[String]) {
        if name == "*" {
            for (opened, name) in self.names.opened_by(module, target) {
                self.reach_targets(
                    opened,
                    &["self".to_owned(), name.clone()],
                    format!("{path}::{name}"),
                );
            }
        } else {
            self.reach_targets(module, target, format!("{path}::{name}"));
        }
    }

    fn reach_targets(&mut self, module: usize, target: &[String], path: String) {
        for found in self.names.resolve(module, target) {
            match found {
                Target::Module(module) => self.reach_module(module, path.clone()),
                Target::Item { module, name } => self.reach_item((module, name), path.clone()),
                Target::Outside => {
                    let text = format!("pub use {path} = {}", target.join("::"));
                    self.lines.insert(Line {
                        path: path.clone(),
                        text,
                    });
                }
            }
        }
    }

    /// Declares each item under its shortest path, and names that one under the others.
    fn declare_items(&mut self) {
        for ((module, name), paths) in &self.items {
            let mut paths = paths.iter().map(|(_, path)| path);
            let Some(path) = paths.next() else { continue };
            for other in paths {
                let text = format!("pub use {other} = {path}");
                self.lines.insert(Line {
                    path: other.clone(),
                    text,
                });
            }
            let items = self.source.modules[*module].items.iter();
            let named = |item: &&Item| declaration::name(item).as_ref() == Some(name);
            let declared: Vec<_> = items
                .filter(named)
                .flat_map(|item| declaration::lines(item, path))
                .collect();
            if declared.is_empty() {
                let text = format!("{path}, which a macro defines");
                self.lines.insert(Line {
                    path: path.clone(),
                    text,
                });
                let items = &self.source.modules[*module].items;
                let made = declaration::macro_lines(items, &self.rules, path);
                self.lines.extend(made);
            }
            self.lines.extend(declared);
        }
    }

    /// Declares the methods and traits of public types, wherever they are implemented.
    fn declare_impls(&mut self) {
        for (index, module) in self.source.modules.iter().enumerate() {
            if module.test_only {
                continue;
            }
            for item in &module.items {
                let Item::Impl(item) = item else { continue };
                if is_for_tests(&item.attrs) {
                    continue;
                }
                let holder = self.public_path(index, type_path(&item.self_ty));
                self.declare_impl(index, item, holder);
            }
        }
    }

    fn declare_impl(&mut self, module: usize, item: &ItemImpl, holder: Option<String>) {
        let Some((implemented, _)) = &item.trait_ else {
            if let Some(holder) = holder {
                self.lines.extend(declaration::methods(item, &holder));
            }
            return;
        };
        let segments = segments(implemented);
        let is_ours = self
            .names
            .resolve(module, &segments)
            .iter()
            .any(|t| matches!(t, Target::Item { .. }));
        let trait_path = self.public_path(module, Some(segments));
        let path = match (&holder, &trait_path) {
            // A trait that others cannot name.
            (_, None) if is_ours => return,
            (Some(holder), _) => holder.clone(),
            (None, Some(trait_path)) if !self.is_private(module, &item.self_ty) => {
                trait_path.clone()
            }
            (None, _) => return,
        };
        let text = declaration::impl_header(item);
        let text = format!("{path}: {text}");
        self.lines.insert(Line { path, text });
    }

    /// The shortest path of the public item that a path in `module` names.
    fn public_path(&self, module: usize, path: Option<Vec<String>>) -> Option<String> {
        self.names
            .resolve(module, &path?)
            .into_iter()
            .find_map(|target| match target {
                Target::Item { module, name } => {
                    let (_, path) = self.items.get(&(module, name))?.first()?;
                    Some(path.clone())
                }
                _ => None,
            })
    }

    /// Whether the type is this crate's, and others cannot name it.
    fn is_private(&self, module: usize, of: &Type) -> bool {
        let Some(path) = type_path(of) else {
            return false;
        };
        let targets = self.names.resolve(module, &path);
        let ours = targets
            .iter()
            .any(|target| matches!(target, Target::Item { .. }));
        ours && self.public_path(module, Some(path)).is_none()
    }
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Whether it is for tests, or the documentation leaves it out.
fn hidden(attributes: &[Attribute]) -> bool {
    let is_hidden = |attribute: &Attribute| match &attribute.meta {
        syn::Meta::List(list) => {
            list.path.is_ident("doc") && text::one_line(&list.tokens.to_string()) == "hidden"
        }
        _ => false,
    };
    is_for_tests(attributes) || attributes.iter().any(is_hidden)
}

/// The path of a named type, or of what a reference leads to.
fn type_path(of: &Type) -> Option<Vec<String>> {
    match of {
        Type::Path(path) if path.qself.is_none() => Some(segments(&path.path)),
        Type::Reference(reference) => type_path(&reference.elem),
        _ => None,
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect()
}
