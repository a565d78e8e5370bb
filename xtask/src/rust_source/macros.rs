use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Item, ItemMacro};

use super::tree::CrateSource;

/// What the macros that one module calls may define.
///
/// A macro is not expanded. A name that stands in its rules or in its call, and that nothing else
/// defines, is taken for one that it defines.
#[derive(Debug, Default)]
pub(super) struct MacroNames {
    /// Every name that stands in the macros.
    pub(super) all: BTreeSet<String>,
    /// The names after `pub struct`, `pub enum` and so on.
    pub(super) defined: BTreeSet<String>,
    /// Whether a macro hands names on: `pub use $file::$Name`.
    pub(super) hands_on: bool,
    /// Whether it hands on all names of a module: `pub use $file::*`.
    pub(super) opens: bool,
}

impl MacroNames {
    /// Reads the macros that a module calls. A module that calls none has no such names.
    pub(super) fn of(items: &[Item], rules: &MacroRules) -> Self {
        let mut names = Self::default();
        for call in calls(items) {
            names.add(call.mac.tokens.clone());
        }
        for (_, tokens) in rules.called_by(items) {
            names.add(tokens.clone());
        }
        names
    }

    fn add(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(ident) if ident == "pub" => self.add_public(&tokens[at + 1..]),
                TokenTree::Ident(ident) => {
                    self.all.insert(ident.to_string());
                }
                TokenTree::Group(group) => self.add(group.stream()),
                _ => {}
            }
        }
    }

    /// Reads what follows a `pub`.
    fn add_public(&mut self, tokens: &[TokenTree]) {
        match tokens {
            [TokenTree::Ident(keyword), rest @ ..] if keyword == "use" => {
                let end = |token: &&TokenTree| !matches!(token, TokenTree::Punct(p) if p.as_char() == ';');
                let last = rest.iter().take_while(end).last();
                self.hands_on = true;
                self.opens |= matches!(last, Some(TokenTree::Punct(p)) if p.as_char() == '*');
            }
            [TokenTree::Ident(keyword), TokenTree::Ident(name), ..]
                if ["struct", "enum", "trait", "type", "const", "static"]
                    .iter()
                    .any(|known| keyword == known) =>
            {
                self.defined.insert(name.to_string());
            }
            _ => {}
        }
    }
}

/// The rules of every `macro_rules!` of a crate, by the macro's name. Those for tests are left out.
#[derive(Debug, Default)]
pub struct MacroRules(BTreeMap<String, Vec<TokenStream>>);

impl MacroRules {
    /// Collects the rules of a crate.
    pub fn of(source: &CrateSource) -> Self {
        let mut rules = Self::default();
        let modules = source.modules.iter().filter(|module| !module.test_only);
        for item in modules.flat_map(|module| &module.items) {
            if let Item::Macro(ItemMacro {
                ident: Some(ident),
                mac,
                ..
            }) = item
            {
                let same_name = rules.0.entry(ident.to_string()).or_default();
                same_name.push(mac.tokens.clone());
            }
        }
        rules
    }

    /// Returns the rules of every macro that a module calls, and of those that a call hands over
    /// to:
    /// `each!(declare)`.
    pub fn called_by(&self, items: &[Item]) -> Vec<(&str, &TokenStream)> {
        let mut wanted = BTreeSet::new();
        for call in calls(items) {
            wanted.extend(
                call.mac
                    .path
                    .segments
                    .last()
                    .map(|last| last.ident.to_string()),
            );
            collect_names(call.mac.tokens.clone(), &mut wanted);
        }
        let known = self.0.iter().filter(|(name, _)| wanted.contains(*name));
        known
            .flat_map(|(name, rules)| rules.iter().map(move |tokens| (name.as_str(), tokens)))
            .collect()
    }
}

/// The calls of macros among items: they stand where items stand.
pub fn calls(items: &[Item]) -> impl Iterator<Item = &ItemMacro> {
    items.iter().filter_map(|item| match item {
        Item::Macro(item) if item.ident.is_none() => Some(item),
        _ => None,
    })
}

fn collect_names(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                names.insert(ident.to_string());
            }
            TokenTree::Group(group) => collect_names(group.stream(), names),
            _ => {}
        }
    }
}
