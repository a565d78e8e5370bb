use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Meta};

/// Returns whether one of `attributes` keeps the item for tests: `#[test]`, `#[cfg(test)]`, or a
/// `#[cfg(all(...))]` that has `test` in it. `not(test)` does not.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && needs_test(list.tokens.clone()),
        Meta::NameValue(_) => false,
    })
}

/// Whether the condition names `test` outside of `not` and `any`.
fn needs_test(condition: TokenStream) -> bool {
    let mut last = String::new();
    for token in condition {
        match token {
            TokenTree::Ident(ident) => {
                last = ident.to_string();
                if last == "test" {
                    return true;
                }
            }
            TokenTree::Group(group) if last == "all" && needs_test(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tests_alone_compile_is_for_tests() {
        for (text, expected) in [
            ("#[cfg(test)] mod a;", true),
            ("#[test] fn a() {}", true),
            ("#[cfg(all(test, feature = \"flex\"))] mod a;", true),
            ("#[cfg(not(test))] mod a;", false),
            ("#[cfg(any(test, feature = \"flex\"))] mod a;", false),
            ("#[cfg(feature = \"test\")] mod a;", false),
            ("#[inline] fn a() {}", false),
            ("fn a() {}", false),
        ] {
            let attributes = match syn::parse_str(text).unwrap() {
                syn::Item::Mod(item) => item.attrs,
                syn::Item::Fn(item) => item.attrs,
                _ => unreachable!(),
            };
            assert_eq!(is_for_tests(&attributes), expected, "{text}");
        }
    }
}
