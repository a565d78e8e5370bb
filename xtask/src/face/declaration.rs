//! One item, as the lines of a face.

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Fields, ImplItem, Item, ItemEnum, ItemImpl, ItemStruct, ItemTrait, Meta, TraitItem,
    Visibility,
};

use super::text;
use crate::rust_source::{MacroRules, calls};

/// One line of a face; lines are sorted by path first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) path: String,
    pub(super) text: String,
}

/// Attributes that change what a caller may write.
const TOLD: [&str; 4] = ["cfg", "deprecated", "must_use", "non_exhaustive"];

/// The item's attributes, and its visibility if it has one of its own.
pub(super) fn head(item: &Item) -> (&[Attribute], Option<&Visibility>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.vis)),
        Item::Enum(item) => (&item.attrs, Some(&item.vis)),
        Item::Fn(item) => (&item.attrs, Some(&item.vis)),
        Item::Macro(item) => (&item.attrs, None),
        Item::Mod(item) => (&item.attrs, Some(&item.vis)),
        Item::Static(item) => (&item.attrs, Some(&item.vis)),
        Item::Struct(item) => (&item.attrs, Some(&item.vis)),
        Item::Trait(item) => (&item.attrs, Some(&item.vis)),
        Item::Type(item) => (&item.attrs, Some(&item.vis)),
        Item::Union(item) => (&item.attrs, Some(&item.vis)),
        Item::Use(item) => (&item.attrs, Some(&item.vis)),
        _ => (&[], None),
    }
}

/// The name of an item that can be declared.
pub(super) fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Declares an item and its members under `path`.
pub(super) fn lines(item: &Item, path: &str) -> Vec<Line> {
    let (attributes, _) = head(item);
    let one = |text: String| vec![line(path, attributes, &text)];
    match item {
        Item::Const(item) => one(format!("pub const {path}: {}", text::of(item.ty.span()))),
        Item::Static(item) => one(format!("pub static {path}: {}", text::of(item.ty.span()))),
        Item::Fn(item) => {
            let declared = text::with_path(item.sig.span(), item.sig.ident.span(), path);
            one(format!("pub {declared}"))
        }
        Item::Type(item) => {
            let span = join(item.type_token.span, item.ty.span());
            one(format!(
                "pub {}",
                text::with_path(span, item.ident.span(), path)
            ))
        }
        Item::Macro(_) => one(format!("pub macro {path}!")),
        Item::Struct(item) => struct_lines(item, path),
        Item::Enum(item) => enum_lines(item, path),
        Item::Trait(item) => trait_lines(item, path),
        _ => Vec::new(),
    }
}

fn struct_lines(item: &ItemStruct, path: &str) -> Vec<Line> {
    let mut span = join(item.struct_token.span, item.ident.span());
    if item.generics.lt_token.is_some() {
        span = join(span, item.generics.span());
    }
    let mut header = format!("pub {}", text::with_path(span, item.ident.span(), path));
    let mut found = Vec::new();
    let is_tuple = matches!(item.fields, Fields::Unnamed(_));
    for (index, field) in item.fields.iter().enumerate() {
        if !matches!(field.vis, Visibility::Public(_)) {
            continue;
        }
        let name = field
            .ident
            .as_ref()
            .map_or(index.to_string(), ToString::to_string);
        let text = format!("pub {path}::{name}: {}", text::of(field.ty.span()));
        found.push(line(&format!("{path}::{name}"), &field.attrs, &text));
    }
    if found.len() < item.fields.len() {
        header += if is_tuple { "(..)" } else { " { .. }" };
    }
    if let Some(clause) = &item.generics.where_clause {
        header = format!("{header} {}", text::of(clause.span()));
    }
    found.push(line(path, &item.attrs, &header));
    found
}

fn enum_lines(item: &ItemEnum, path: &str) -> Vec<Line> {
    let mut span = join(item.enum_token.span, item.ident.span());
    if item.generics.lt_token.is_some() {
        span = join(span, item.generics.span());
    }
    let header = format!("pub {}", text::with_path(span, item.ident.span(), path));
    let mut found = vec![line(path, &item.attrs, &header)];
    for variant in &item.variants {
        let path = format!("{path}::{}", variant.ident);
        let fields: Vec<_> = variant
            .fields
            .iter()
            .map(|field| match &field.ident {
                Some(name) => format!("{name}: {}", text::of(field.ty.span())),
                None => text::of(field.ty.span()),
            })
            .collect();
        let fields = match &variant.fields {
            Fields::Named(_) => format!(" {{ {} }}", fields.join(", ")),
            Fields::Unnamed(_) => format!("({})", fields.join(", ")),
            Fields::Unit => String::new(),
        };
        found.push(line(&path, &variant.attrs, &format!("{path}{fields}")));
    }
    found
}

fn trait_lines(item: &ItemTrait, path: &str) -> Vec<Line> {
    let first = item
        .unsafety
        .map_or(item.trait_token.span, |token| token.span);
    let span = join(first, end_before(item));
    let header = format!("pub {}", text::with_path(span, item.ident.span(), path));
    let mut found = vec![line(path, &item.attrs, &header)];
    for member in &item.items {
        let (attributes, name, span, provided) = match member {
            TraitItem::Const(c) => (
                &c.attrs,
                &c.ident,
                join(c.const_token.span, c.ty.span()),
                c.default.is_some(),
            ),
            TraitItem::Fn(f) => (&f.attrs, &f.sig.ident, f.sig.span(), f.default.is_some()),
            TraitItem::Type(t) => (&t.attrs, &t.ident, type_span(t), false),
            _ => continue,
        };
        let path = format!("{path}::{name}");
        let mut text = text::with_path(span, name.span(), &path);
        if provided {
            text += " { .. }";
        }
        found.push(line(&path, attributes, &text));
    }
    found
}

/// The last span before a trait's opening brace.
fn end_before(item: &ItemTrait) -> Span {
    if let Some(clause) = &item.generics.where_clause {
        return clause.span();
    }
    match item.supertraits.last() {
        Some(bound) => bound.span(),
        None if item.generics.lt_token.is_some() => item.generics.span(),
        None => item.ident.span(),
    }
}

fn type_span(item: &syn::TraitItemType) -> Span {
    let last = item.bounds.last().map_or(item.ident.span(), Spanned::span);
    join(item.type_token.span, last)
}

/// Declares the public functions and constants of an `impl` block without a trait.
pub(super) fn methods(item: &ItemImpl, path: &str) -> Vec<Line> {
    let mut found = Vec::new();
    for member in &item.items {
        let (attributes, visibility, name, span) = match member {
            ImplItem::Fn(f) => (&f.attrs, &f.vis, &f.sig.ident, f.sig.span()),
            ImplItem::Const(c) => (
                &c.attrs,
                &c.vis,
                &c.ident,
                join(c.const_token.span, c.ty.span()),
            ),
            _ => continue,
        };
        if matches!(visibility, Visibility::Public(_)) {
            let path = format!("{path}::{name}");
            let text = format!("pub {}", text::with_path(span, name.span(), &path));
            // How a function binds its own value is no concern of its callers.
            let text = text.replace("(mut self", "(self");
            found.push(line(&path, attributes, &text));
        }
    }
    found
}

/// Returns the header of an `impl` block, up to its brace.
pub(super) fn impl_header(item: &ItemImpl) -> String {
    let last = match &item.generics.where_clause {
        Some(clause) => clause.span(),
        None => item.self_ty.span(),
    };
    let first = item
        .unsafety
        .map_or(item.impl_token.span, |token| token.span);
    let header = text::of(join(first, last));
    let types = item.items.iter().filter_map(|member| match member {
        ImplItem::Type(t) => Some(text::of(join(t.type_token.span, t.ty.span()))),
        _ => None,
    });
    let types: Vec<_> = types.collect();
    if types.is_empty() {
        header
    } else {
        format!("{header} {{ {} }}", types.join("; "))
    }
}

/// Lists the macros that a module calls, and the `pub` lines of their rules: only the compiler sees
/// what they define.
pub(super) fn macro_lines(items: &[Item], rules: &MacroRules, path: &str) -> Vec<Line> {
    let told = |text: String| Line {
        path: path.to_owned(),
        text: format!("{path}: {text}"),
    };
    let source = |tokens: &TokenStream| tokens.span().source_text().unwrap_or_default();
    let mut found = Vec::new();
    for call in calls(items) {
        let name = text::of(call.mac.path.span());
        let tokens = without_docs(&source(&call.mac.tokens));
        found.push(told(format!("{name}! {{ {tokens} }}")));
    }
    for (name, tokens) in rules.called_by(items) {
        let text = source(tokens);
        let public = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("pub "));
        let public = public.map(|line| line.trim_end_matches('{').trim_end());
        found.extend(public.map(|line| told(format!("{name}! {line}"))));
    }
    found
}

fn without_docs(tokens: &str) -> String {
    let lines = tokens
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    text::one_line(&lines.collect::<Vec<_>>().join("\n"))
}

fn line(path: &str, attributes: &[Attribute], text: &str) -> Line {
    let is_told = |attribute: &Attribute| TOLD.iter().any(|name| attribute.path().is_ident(name));
    let told = attributes.iter().filter(|attribute| is_told(attribute));
    let mut before: String = told.map(|a| text::of(a.span()) + " ").collect();
    let mut derived: Vec<_> = attributes.iter().flat_map(derived).collect();
    derived.sort();
    if !derived.is_empty() {
        before += &format!("#[derive({})] ", derived.join(", "));
    }
    Line {
        path: path.to_owned(),
        text: before + text,
    }
}

fn derived(attribute: &Attribute) -> Vec<String> {
    match &attribute.meta {
        Meta::List(list) if list.path.is_ident("derive") => {
            let traits = list.tokens.span().source_text().unwrap_or_default();
            traits
                .split(',')
                .map(text::one_line)
                .filter(|t| !t.is_empty())
                .collect()
        }
        _ => Vec::new(),
    }
}

fn join(first: Span, last: Span) -> Span {
    first.join(last).unwrap_or(first)
}
