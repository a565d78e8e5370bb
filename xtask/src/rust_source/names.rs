use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, ItemMacro};

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

#[derive(Debug, Default)]
struct Scope {
    named: BTreeMap<String, Vec<Binding>>,
    /// What `use path::*` opens.
    opened: Vec<Vec<String>>,
    /// Whether a macro may define names that no one sees here.
    calls_macros: bool,
}

#[derive(Debug, Clone)]
enum Binding {
    Module(usize),
    Item { variants: Vec<String> },
    Import(Vec<String>),
}

/// The names that are looked up right now, each with its module. Meeting one again is a circle of
/// imports, which leads nowhere.
type Pending = BTreeSet<(usize, String)>;

impl<'a> Names<'a> {
    /// Collects the names of every module.
    pub fn new(source: &'a CrateSource) -> Self {
        let mut scopes: Vec<_> = source.modules.iter().map(|_| Scope::default()).collect();
        for (index, module) in source.modules.iter().enumerate() {
            if module.test_only {
                continue;
            }
            for item in &module.items {
                scopes[index].add(item);
            }
            if let Some(parent) = module.parent {
                scopes[parent].bind(&module.name, Binding::Module(index));
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
            .flat_map(|opened| {
                self.scopes[opened]
                    .named
                    .keys()
                    .map(move |name| (opened, name.clone()))
            })
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
                at = self.look_up(module, name, pending);
                at.is_empty() && at.insert(self.macro_around(module, name))
            }
        };
        for name in rest {
            at = at
                .into_iter()
                .flat_map(|target| self.step(target, name, pending))
                .collect();
        }
        at
    }

    /// Goes one segment on. What belongs to an item leads to the item.
    fn step(&self, target: Target, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        match target {
            Target::Module(module) if name == "super" => {
                BTreeSet::from([Target::Module(self.parent(module))])
            }
            Target::Module(module) => {
                let found = self.look_up(module, name, pending);
                if found.is_empty() && self.scopes[module].calls_macros {
                    return BTreeSet::from([item(module, name)]);
                }
                found
            }
            other => BTreeSet::from([other]),
        }
    }

    /// Looks for a name in one module.
    fn look_up(&self, module: usize, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        if !pending.insert((module, name.to_owned())) {
            return BTreeSet::new();
        }
        let scope = &self.scopes[module];
        let mut found = BTreeSet::new();
        for binding in scope.named.get(name).into_iter().flatten() {
            match binding {
                Binding::Module(index) => {
                    found.insert(Target::Module(*index));
                }
                Binding::Item { .. } => {
                    found.insert(item(module, name));
                }
                Binding::Import(path) => found.extend(self.follow_import(module, path, pending)),
            }
        }
        if found.is_empty() {
            for path in &scope.opened {
                for opened in self.follow_import(module, path, pending) {
                    found.extend(self.look_into(&opened, name, pending));
                }
            }
        }
        pending.remove(&(module, name.to_owned()));
        found
    }

    /// Follows a `use`: a first name that no module knows is another crate's.
    fn follow_import(
        &self,
        module: usize,
        path: &[String],
        pending: &mut Pending,
    ) -> BTreeSet<Target> {
        let found = self.follow(module, path, pending);
        let is_ours = matches!(path[0].as_str(), "crate" | "self" | "super");
        if found.is_empty() && !is_ours {
            return BTreeSet::from([Target::Outside]);
        }
        found
    }

    /// Looks for a name in what a glob opens: a module, or an enum with its variants.
    fn look_into(&self, opened: &Target, name: &str, pending: &mut Pending) -> BTreeSet<Target> {
        match opened {
            Target::Module(module) => self.look_up(*module, name, pending),
            Target::Item {
                module,
                name: holder,
            } => {
                let bindings = self.scopes[*module].named.get(holder).into_iter().flatten();
                let has_variant = |binding: &Binding| match binding {
                    Binding::Item { variants } => variants.iter().any(|variant| variant == name),
                    _ => false,
                };
                let mut bindings = bindings;
                BTreeSet::from_iter(bindings.any(has_variant).then(|| opened.clone()))
            }
            Target::Outside => BTreeSet::new(),
        }
    }

    /// A macro is seen in the modules below the one that defines it, too.
    fn macro_around(&self, module: usize, name: &str) -> Target {
        let mut around = self.source.modules[module].parent;
        while let Some(index) = around {
            let is_macro = |item: &Item| matches!(item, Item::Macro(ItemMacro { ident: Some(ident), .. }) if ident == name);
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
        let plain = || Binding::Item {
            variants: Vec::new(),
        };
        let (attributes, ident) = match item {
            Item::Const(item) => (&item.attrs, &item.ident),
            Item::Enum(item) => {
                if !is_for_tests(&item.attrs) {
                    let variants = item.variants.iter();
                    let variants = variants.map(|variant| variant.ident.to_string()).collect();
                    self.bind(&item.ident.to_string(), Binding::Item { variants });
                }
                return;
            }
            Item::Fn(item) => (&item.attrs, &item.sig.ident),
            Item::Static(item) => (&item.attrs, &item.ident),
            Item::Struct(item) => (&item.attrs, &item.ident),
            Item::Trait(item) => (&item.attrs, &item.ident),
            Item::Type(item) => (&item.attrs, &item.ident),
            Item::Union(item) => (&item.attrs, &item.ident),
            Item::Macro(item) => match &item.ident {
                Some(ident) => (&item.attrs, ident),
                None => {
                    self.calls_macros = true;
                    return;
                }
            },
            Item::Use(item) => {
                if !is_for_tests(&item.attrs) && item.leading_colon.is_none() {
                    self.import(flatten(&item.tree));
                }
                return;
            }
            _ => return,
        };
        if !is_for_tests(attributes) {
            self.bind(&ident.to_string(), plain());
        }
    }

    fn import(&mut self, names: Vec<(String, Vec<String>)>) {
        for (name, path) in names {
            match name.as_str() {
                "_" => {}
                "*" => self.opened.push(path),
                _ => self.bind(&name, Binding::Import(path)),
            }
        }
    }
}
