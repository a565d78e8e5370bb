use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, Ident, ImplItem, ImplItemFn, Item, ItemFn, ItemMacro, ItemMod, ItemUse,
    Macro, PatIdent, Path, Stmt, TraitItem, UseTree, Visibility,
};

use super::tests_only::is_for_tests;
use super::tree::Module;

/// A path that a module's code writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedPath {
    /// Its segments, without generic arguments: `["crate", "clip", "Policy"]`.
    pub segments: Vec<String>,
    /// Whether a `pub use` hands it on. Such a path is no use of the name by the module's own code.
    pub hands_on: bool,
}

/// Lists every path in the module's code: `use` declarations, types, expressions, patterns,
/// attributes, and the tokens of macros.
///
/// Code for tests is left out, and so is a lone name that the function binds itself.
pub fn used_paths(module: &Module) -> BTreeSet<UsedPath> {
    let mut collector = Collector::default();
    for item in &module.items {
        collector.visit_item(item);
    }
    collector.found
}

/// Lists what a `use` declaration brings into scope: each name with its path. A glob has the name
/// `*` and the path of what it opens; `_` names nothing.
pub fn flatten(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    flatten_below(tree, &mut Vec::new(), &mut found);
    found
}

fn flatten_below(tree: &UseTree, prefix: &mut Vec<String>, found: &mut Vec<(String, Vec<String>)>) {
    let full = |prefix: &[String], name: &Ident| {
        let mut path = prefix.to_vec();
        if name != "self" || path.is_empty() {
            path.push(name.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(part) => {
            prefix.push(part.ident.to_string());
            flatten_below(&part.tree, prefix, found);
            prefix.pop();
        }
        UseTree::Name(part) => {
            let path = full(prefix, &part.ident);
            found.push((path[path.len() - 1].clone(), path));
        }
        UseTree::Rename(part) => {
            found.push((part.rename.to_string(), full(prefix, &part.ident)));
        }
        UseTree::Glob(_) => found.push(("*".to_owned(), prefix.clone())),
        UseTree::Group(group) => {
            for part in &group.items {
                flatten_below(part, prefix, found);
            }
        }
    }
}

#[derive(Default)]
struct Collector {
    found: BTreeSet<UsedPath>,
    /// What `use` declarations inside of the blocks around bring into scope.
    imported: Vec<BTreeMap<String, Vec<String>>>,
    /// The variables and arguments of the functions around.
    bound: Vec<BTreeSet<String>>,
}

impl Collector {
    fn add(&mut self, segments: Vec<String>) {
        let bound = |name| self.bound.iter().any(|names| names.contains(name));
        if segments.is_empty() || segments.len() == 1 && bound(&segments[0]) {
            return;
        }
        let imported = self
            .imported
            .iter()
            .rev()
            .find_map(|scope| scope.get(&segments[0]));
        let segments = match imported {
            Some(path) => path.iter().chain(&segments[1..]).cloned().collect(),
            None => segments,
        };
        self.found.insert(UsedPath {
            segments,
            hands_on: false,
        });
    }

    fn add_use(&mut self, item: &ItemUse) {
        if item.leading_colon.is_some() {
            return;
        }
        let hands_on = !matches!(item.vis, Visibility::Inherited);
        for (_, segments) in flatten(&item.tree) {
            self.found.insert(UsedPath { segments, hands_on });
        }
    }

    /// Finds paths among tokens that no parser knows. What follows a `.` or a `$` is no path, but
    /// for `$crate`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut path = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(ident) if !is_no_start(&tokens, at) => {
                    path.push(ident.to_string());
                    at += 1;
                    while let Some(ident) = next_segment(&tokens, at) {
                        path.push(ident.to_string());
                        at += 3;
                    }
                    self.add(std::mem::take(&mut path));
                    continue;
                }
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }

    fn visit_function(&mut self, bound: BTreeSet<String>, visit: impl FnOnce(&mut Self)) {
        self.bound.push(bound);
        visit(self);
        self.bound.pop();
    }
}

/// Whether the name at this place is a field, a method, a macro's variable, or belongs to a path
/// that starts elsewhere.
fn is_no_start(tokens: &[TokenTree], at: usize) -> bool {
    let is = |back: usize, wanted: char| {
        at >= back && matches!(&tokens[at - back], TokenTree::Punct(p) if p.as_char() == wanted)
    };
    let is_crate = matches!(&tokens[at], TokenTree::Ident(ident) if ident == "crate");
    let is_range = is(1, '.') && is(2, '.');
    is(1, '.') && !is_range || is(1, '$') && !is_crate || is(1, ':') && is(2, ':')
}

/// The name after `::` at this place.
fn next_segment(tokens: &[TokenTree], at: usize) -> Option<&Ident> {
    match tokens.get(at..at + 3)? {
        [
            TokenTree::Punct(a),
            TokenTree::Punct(b),
            TokenTree::Ident(ident),
        ] if a.as_char() == ':' && b.as_char() == ':' => Some(ident),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let for_tests = match item {
            ImplItem::Fn(item) => is_for_tests(&item.attrs),
            ImplItem::Const(item) => is_for_tests(&item.attrs),
            _ => false,
        };
        if !for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        match item {
            TraitItem::Fn(item) if is_for_tests(&item.attrs) => {}
            _ => visit::visit_trait_item(self, item),
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes = match statement {
            Stmt::Local(local) => &local.attrs[..],
            Stmt::Macro(call) => &call.attrs,
            Stmt::Expr(expression, _) => attributes_of_expression(expression),
            Stmt::Item(_) => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(item);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let bound = Bound::of(|bound| bound.visit_item_fn(item));
        self.visit_function(bound, |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        let bound = Bound::of(|bound| bound.visit_impl_item_fn(item));
        self.visit_function(bound, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let mut imported = BTreeMap::new();
        for statement in &block.stmts {
            if let Stmt::Item(Item::Use(item)) = statement {
                imported.extend(flatten(&item.tree));
            }
        }
        self.imported.push(imported);
        visit::visit_block(self, block);
        self.imported.pop();
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            self.add(segments.map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    /// A constant in a pattern looks like a variable.
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        if starts_upper(&pattern.ident) {
            self.add(vec![pattern.ident.to_string()]);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        self.add_tokens(item.mac.tokens.clone());
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    /// Attributes name paths in strings too: `#[serde(with = "crate::float")]`.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(list.tokens.clone());
            for path in quoted_paths(list.tokens.clone()) {
                self.visit_path(&path);
            }
        }
    }
}

/// The paths in the string literals among `tokens`.
fn quoted_paths(tokens: TokenStream) -> Vec<Path> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Literal(literal) => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    found.extend(text.parse::<Path>());
                }
            }
            TokenTree::Group(group) if group.delimiter() != Delimiter::None => {
                found.extend(quoted_paths(group.stream()));
            }
            _ => {}
        }
    }
    found
}

/// The names that a function binds: its arguments, its variables and those of its closures.
#[derive(Default)]
struct Bound(BTreeSet<String>);

impl Bound {
    fn of(visit: impl FnOnce(&mut Self)) -> BTreeSet<String> {
        let mut bound = Self::default();
        visit(&mut bound);
        bound.0
    }
}

impl<'ast> Visit<'ast> for Bound {
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        if !starts_upper(&pattern.ident) {
            self.0.insert(pattern.ident.to_string());
        }
        visit::visit_pat_ident(self, pattern);
    }
}

fn starts_upper(ident: &Ident) -> bool {
    ident.to_string().starts_with(char::is_uppercase)
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of the expressions that stand as statements.
fn attributes_of_expression(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Block(inner) => &inner.attrs,
        Expr::Call(inner) => &inner.attrs,
        Expr::ForLoop(inner) => &inner.attrs,
        Expr::If(inner) => &inner.attrs,
        Expr::Loop(inner) => &inner.attrs,
        Expr::Match(inner) => &inner.attrs,
        Expr::MethodCall(inner) => &inner.attrs,
        Expr::Return(inner) => &inner.attrs,
        Expr::Try(inner) => &inner.attrs,
        Expr::While(inner) => &inner.attrs,
        _ => &[],
    }
}
