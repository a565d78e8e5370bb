use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, ItemMacro, Visibility};

use super::macros::{MacroNames, MacroRules};
use super::tests_only::is_for_tests;
use super::tree::CrateSource;
use super::uses::flatten;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A module of the crate, by its place in [`CrateSource::modules`].
    Module(usize),
    /// An item of the crate, with the module that defines it.
    Item {
        /// The module.
        module: usize,
        /// The item's name.
        name: String,
    },
    /// Another crate, or a name that the language knows.
    Outside,
}

/// The names that each module of a crate defines or imports. Code for tests is left out.
pub struct Names<'a> {
    source: &'a CrateSource,
    scopes: Vec<Scope>,
}

#[derive(Default)]
struct Scope {
    named: BTreeMap<String, Vec<Binding>>,
    /// What `use path::*` opens.
    opened: Vec<Binding>,
    /// What the module's macros may define.
    macros: MacroNames,
}

struct Binding {
    /// Whether only the module itself and those below it see the name.
    private: bool,
    meaning: Meaning,
}

enum Meaning {
    Module(usize),
    Item { variants: Vec<String> },
    Import(Vec<String>),
}

/// The imports that are followed right now: the module, the name, and the import's place. Meeting
/// one again leads nowhere.
type Pending = BTreeSet<(usize, String, usize)>;

impl<'a> Names<'a> {
    /// Collects the names of every module.
    pub fn new(source: &'a CrateSource) -> Self {
        let rules = MacroRules::of(source);
        let mut scopes: Vec<_> = source.modules.iter().map(|_| Scope::default()).collect();
        for (index, module) in source.modules.iter().enumerate() {
            if module.test_only {
                continue;
            }
            scopes[index].macros = MacroNames::of(&module.items, &rules);
            for item in &module.items {
                scopes[index].add(item);
            }
            if let Some(parent) = module.parent {
                let mut declared = source.modules[parent].items.iter();
                let private = declared.any(|item| match item {
                    Item::Mod(item) => item.ident == module.name && is_private(&item.vis),
                    _ => false,
                });
                let meaning = Meaning::Module(index);
                scopes[parent].bind(&module.name, Binding { private, meaning });
            }
        }
        Self { source, scopes }
    }

    /// Follows a path that is written in `module`, through `use` declarations, to what it names.
    ///
    /// A name may be several things at once: a module and a function, for example. The answer is
    /// empty when the path starts in this crate and leads nowhere.
    pub fn resolve(&self, module: usize, path: &[String]) -> BTreeSet<Target> {
        self.follow(module, path, &mut Pending::new())
    }

    /// Lists the names that `use path::*` in `module` brings into scope, when it opens a module of
    /// this crate.
    pub fn opened_by(&self, module: usize, path: &[String]) -> Vec<(usize, String)> {
        let targets = self.resolve(module, path);
        let modules = targets.into_iter().filter_map(|target| match target {
            Target::Module(opened) => Some(opened),
            _ => None,
        });
        modules
            .flat_map(|opened| self.public_names(opened))
            .collect()
    }

    /// Lists the names that others may take from a module, each with the module.
    fn public_names(&self, module: usize) -> Vec<(usize, String)> {
        let Scope { named, macros, .. } = &self.scopes[module];
        let is_public = |(_, bindings): &(_, &Vec<Binding>)| bindings.iter().any(|b| !b.private);
        let public = named.iter().filter(is_public).map(|(name, _)| name);
        let mut names: BTreeSet<_> = public.chain(&macros.defined).collect();
        if macros.hands_on {
            for other in self.named_by_macros(module) {
                let others = self.scopes[other].named.iter().filter(is_public);
                let others = others.map(|(name, _)| name);
                names.extend(others.filter(|name| macros.opens || macros.all.contains(*name)));
            }
        }
        names
            .into_iter()
            .map(|name| (module, name.clone()))
            .collect()
    }

    fn follow(&self, module: usize, path: &[String], pending: &mut Pending) -> BTreeSet<Target> {
        let mut rest = path.iter();
        let mut at = BTreeSet::new();
        let Some(first) = rest.next() else { return at };
        match first.as_str() {
            "crate" => at.insert(Target::Module(0)),
            "self" => at.insert(Target::Module(module)),
            "super" => at.insert(Target::Module(self.parent(module))),
            "Self" => at.insert(Target::Outside),
            name => {
                at = self.look_up(module, module, name, pending);
                at.is_empty() && at.insert(self.macro_around(module, name))
            }
        };
        for name in rest {
            // A function may have the name of a module, and nothing lies in a function.
            if at.iter().any(|target| matches!(target, Target::Module(_))) {
                at.retain(|target| matches!(target, Target::Module(_)));
            }
            let found = at.into_iter();
            at = found
                .flat_map(|target| self.step(module, target, name, pending))
                .collect();
        }
        at
    }

    /// Goes one segment on, as the code in `from` may. What belongs to an item leads to the item.
    fn step(
        &self,
        from: usize,
        target: Target,
        name: &str,
        pending: &mut Pending,
    ) -> BTreeSet<Target> {
        match target {
            Target::Module(module) if name == "super" => {
                BTreeSet::from([Target::Module(self.parent(module))])
            }
            Target::Module(module) => self.look_up(from, module, name, pending),
            other => BTreeSet::from([other]),
        }
    }

    /// Looks in `module` for a name that the code in `from` may use.
    fn look_up(
        &self,
        from: usize,
        module: usize,
        name: &str,
        pending: &mut Pending,
    ) -> BTreeSet<Target> {
        let scope = &self.scopes[module];
        let mut found = BTreeSet::new();
        let bindings = scope.named.get(name).into_iter().flatten().enumerate();
        for (index, binding) in bindings.filter(|(_, b)| self.is_visible(b, from, module)) {
            match &binding.meaning {
                Meaning::Module(index) => {
                    found.insert(Target::Module(*index));
                }
                Meaning::Item { .. } => {
                    found.insert(item(module, name));
                }
                Meaning::Import(path) => {
                    let key = (module, name.to_owned(), index);
                    found.extend(self.follow_import(path, key, pending));
                }
            }
        }
        if found.is_empty() {
            let opened = scope.opened.iter().enumerate();
            for (index, binding) in opened.filter(|(_, b)| self.is_visible(b, from, module)) {
                let Meaning::Import(path) = &binding.meaning else {
                    continue;
                };
                let key = (module, format!("*{name}"), index);
                for opened in self.follow_import(path, key, pending) {
                    found.extend(self.look_into(module, &opened, name, pending));
                }
            }
        }
        if found.is_empty() {
            found = self.made_by_macros(module, name, pending);
        }
        found
    }

    /// Finds a name that the module's macros define, or hand on from a module that they name.
    fn made_by_macros(&self, module: usize, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        let macros = &self.scopes[module].macros;
        let is_named = macros.all.contains(name);
        if macros.hands_on && (macros.opens || is_named) {
            for other in self.named_by_macros(module) {
                let found = self.scopes[other].named.contains_key(name);
                let found = found.then(|| self.look_up(0, other, name, pending));
                if let Some(found) = found.filter(|found| !found.is_empty()) {
                    return found;
                }
            }
        }
        BTreeSet::from_iter(is_named.then(|| item(module, name)))
    }

    /// Lists the modules in and beside this one that its macros name.
    fn named_by_macros(&self, module: usize) -> Vec<usize> {
        let names = self.scopes[module].macros.all.iter();
        let around = [module, self.parent(module)];
        let bindings = names.flat_map(|name| {
            around
                .iter()
                .filter_map(|index| self.scopes[*index].named.get(name))
                .flatten()
        });
        let modules = bindings.filter_map(|binding| match binding.meaning {
            Meaning::Module(index) if index != module => Some(index),
            _ => None,
        });
        modules.collect()
    }

    /// Follows a `use` in the key's module. A first name that no module knows is another crate's.
    fn follow_import(
        &self,
        path: &[String],
        key: (usize, String, usize),
        pending: &mut Pending,
    ) -> BTreeSet<Target> {
        let module = key.0;
        if !pending.insert(key.clone()) {
            return BTreeSet::new();
        }
        let found = self.follow(module, path, pending);
        pending.remove(&key);
        found
    }

    /// Looks for a name in what a glob opens: a module, or an enum with its variants.
    fn look_into(
        &self,
        from: usize,
        opened: &Target,
        name: &str,
        pending: &mut Pending,
    ) -> BTreeSet<Target> {
        match opened {
            Target::Module(module) => self.look_up(from, *module, name, pending),
            Target::Item {
                module,
                name: holder,
            } => {
                let mut bindings = self.scopes[*module].named.get(holder).into_iter().flatten();
                let has_variant = |binding: &Binding| match &binding.meaning {
                    Meaning::Item { variants } => variants.iter().any(|variant| variant == name),
                    _ => false,
                };
                BTreeSet::from_iter(bindings.any(has_variant).then(|| opened.clone()))
            }
            Target::Outside => BTreeSet::new(),
        }
    }

    fn is_visible(&self, binding: &Binding, from: usize, module: usize) -> bool {
        let mut around = Some(from);
        while let Some(index) = around {
            if index == module {
                return true;
            }
            around = self.source.modules[index].parent;
        }
        !binding.private
    }

    /// A macro is seen in the modules below the one that defines it, too.
    fn macro_around(&self, module: usize, name: &str) -> Target {
        let mut around = self.source.modules[module].parent;
        while let Some(index) = around {
            let is_macro = |item: &Item| match item {
                Item::Macro(ItemMacro { ident, .. }) => ident.as_ref().is_some_and(|i| i == name),
                _ => false,
            };
            if self.source.modules[index].items.iter().any(is_macro) {
                return item(index, name);
            }
            around = self.source.modules[index].parent;
        }
        Target::Outside
    }

    fn parent(&self, module: usize) -> usize {
        self.source.modules[module].parent.unwrap_or(module)
    }
}

fn item(module: usize, name: &str) -> Target {
    Target::Item {
        module,
        name: name.to_owned(),
    }
}

impl Scope {
    fn bind(&mut self, name: &str, binding: Binding) {
        self.named.entry(name.to_owned()).or_default().push(binding);
    }

    fn add(&mut self, item: &Item) {
        let mut variants = Vec::new();
        let (attributes, ident, visibility) = match item {
            Item::Const(item) => (&item.attrs, &item.ident, Some(&item.vis)),
            Item::Enum(item) => {
                let names = item
                    .variants
                    .iter()
                    .map(|variant| variant.ident.to_string());
                variants.extend(names);
                (&item.attrs, &item.ident, Some(&item.vis))
            }
            Item::Fn(item) => (&item.attrs, &item.sig.ident, Some(&item.vis)),
            Item::Static(item) => (&item.attrs, &item.ident, Some(&item.vis)),
            Item::Struct(item) => (&item.attrs, &item.ident, Some(&item.vis)),
            Item::Trait(item) => (&item.attrs, &item.ident, Some(&item.vis)),
            Item::Type(item) => (&item.attrs, &item.ident, Some(&item.vis)),
            Item::Union(item) => (&item.attrs, &item.ident, Some(&item.vis)),
            Item::Macro(item) => match &item.ident {
                Some(ident) => (&item.attrs, ident, None),
                None => return,
            },
            Item::Use(item) => {
                if !is_for_tests(&item.attrs) && item.leading_colon.is_none() {
                    self.import(flatten(&item.tree), is_private(&item.vis));
                }
                return;
            }
            _ => return,
        };
        if !is_for_tests(attributes) {
            // A macro is seen elsewhere by its `use` alone.
            let private = visibility.is_none_or(is_private);
            let meaning = Meaning::Item { variants };
            self.bind(&ident.to_string(), Binding { private, meaning });
        }
    }

    fn import(&mut self, names: Vec<(String, Vec<String>)>, private: bool) {
        for (name, path) in names {
            let meaning = Meaning::Import(path);
            let binding = Binding { private, meaning };
            match name.as_str() {
                "_" => {}
                "*" => self.opened.push(binding),
                _ => self.bind(&name, binding),
            }
        }
    }
}

/// Whether no `pub` of any kind is written.
fn is_private(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Inherited)
}
