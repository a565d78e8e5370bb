//! The public face of each library crate is the accepted one, in `docs/face`.

mod made_up;

use xtask::face::{FOLDER, Face, accept};
use xtask::folders;
use xtask::rust_source::CrateSource;

#[test]
fn the_public_face_is_the_accepted_one() {
    let root = folders::root().unwrap();
    let faces = Face::all(&root).unwrap();
    let mut changes = String::new();
    for face in &faces {
        let difference = face.difference(&root).unwrap();
        if !difference.is_empty() {
            changes += &format!("{}:\n{}", face.name, shortened(&difference));
        }
    }
    assert!(
        changes.is_empty(),
        "the public API changed; to accept it, type `cargo xtask face`\n{changes}"
    );
    let files = folders::files(&root.join(FOLDER), &["txt"]).unwrap();
    let names: Vec<_> = faces.iter().map(|face| face.path(&root)).collect();
    let gone: Vec<_> = files.iter().filter(|file| !names.contains(file)).collect();
    assert!(
        gone.is_empty(),
        "no crate has these faces; type `cargo xtask face`: {gone:?}"
    );
}

/// The first 40 lines.
fn shortened(difference: &str) -> String {
    let number = difference.lines().count();
    let lines = difference.lines().take(40).flat_map(|line| [line, "\n"]);
    let mut text: String = lines.collect();
    if number > 40 {
        text += &format!("and {} more lines\n", number - 40);
    }
    text
}

/// The face of a made-up crate.
fn of(files: &[(&str, &str)]) -> String {
    let folder = made_up::folder(files);
    Face::of(
        &CrateSource::read(&folder.path().join("lib.rs")).unwrap(),
        "a",
    )
}

#[test]
fn public_items_are_listed_and_private_ones_are_not() {
    let lib = "
        pub mod clip;
        mod secret {
            pub struct Hidden;
            pub fn hidden() {}
            impl super::Open { pub fn seen(&self) {} }
        }
        /// Doc.
        #[derive(Debug, Clone)]
        #[must_use]
        pub struct Open { pub x: f64, y: f64 }
        pub struct Pair<T: Copy>(pub T, u8);
        #[non_exhaustive]
        pub enum Choice { None, One(f64), Two { a: Open, b: u8 } }
        pub trait Act: Send {
            const N: usize;
            type Out: Copy;
            fn act(&self) -> Self::Out;
            fn twice(&self) {}
        }
        impl Act for Open { const N: usize = 1; type Out = u8; fn act(&self) -> u8 { 1 } }
        impl std::fmt::Display for secret::Hidden {}
        impl Act for secret::Hidden {}
        impl<T: Copy> From<T> for Pair<T> {}
        impl Open {
            pub const ONE: f64 = 1.0;
            pub fn new(x: f64) -> Self { loop {} }
            fn private() {}
            pub(crate) fn inner() {}
        }
        pub const LIMIT: usize = 40;
        pub type Many = Vec<Open>;
        pub fn measure<T>(
            x: &[T],
            y: f64,
        ) -> Result<(), Error>
        where
            T: Copy,
        {}
        pub(crate) fn inner() {}
        #[doc(hidden)] pub fn hidden() {}
        #[cfg(test)] pub fn tested() {}
        #[cfg(unix)] pub fn on_unix() {}
        #[macro_export] macro_rules! shout { () => {} }
    ";
    let face = of(&[("lib.rs", lib), ("clip.rs", "pub struct Policy;")]);
    let expected = "\
pub mod a
pub trait a::Act: Send
const a::Act::N: usize
type a::Act::Out: Copy
fn a::Act::act(&self) -> Self::Out
fn a::Act::twice(&self) { .. }
#[non_exhaustive] pub enum a::Choice
a::Choice::None
a::Choice::One(f64)
a::Choice::Two { a: Open, b: u8 }
pub const a::LIMIT: usize
pub type a::Many = Vec<Open>
#[must_use] #[derive(Clone, Debug)] pub struct a::Open { .. }
a::Open: impl Act for Open { type Out = u8 }
pub const a::Open::ONE: f64
pub fn a::Open::new(x: f64) -> Self
pub fn a::Open::seen(&self)
pub a::Open::x: f64
a::Pair: impl<T: Copy> From<T> for Pair<T>
pub struct a::Pair<T: Copy>(..)
pub a::Pair::0: T
pub mod a::clip
pub struct a::clip::Policy
pub fn a::measure<T>(x: &[T], y: f64) -> Result<(), Error> where T: Copy
#[cfg(unix)] pub fn a::on_unix()
pub macro a::shout!
";
    assert_eq!(sorted(&face), sorted(expected));
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn an_item_is_declared_under_its_shortest_path() {
    let face = of(&[
        (
            "lib.rs",
            "pub mod clip; mod inner; pub use clip::Policy; pub use inner::*;
            pub use serde::Serialize as Ser;",
        ),
        (
            "clip.rs",
            "pub struct Policy;\nimpl Policy { pub fn new() {} }",
        ),
        ("inner.rs", "pub struct Inner;\npub mod deep {}"),
    ]);
    let expected = "\
pub mod a
pub struct a::Inner
pub struct a::Policy
pub fn a::Policy::new()
pub use a::Ser = serde::Serialize
pub mod a::clip
pub use a::clip::Policy = a::Policy
pub mod a::deep
";
    assert_eq!(face, expected);
}

#[test]
fn a_module_and_an_item_may_share_a_name() {
    let face = of(&[
        ("lib.rs", "mod probe;\npub mod html;"),
        ("probe.rs", "pub struct Probe;"),
        ("html.rs", "mod probe;\npub use probe::probe;"),
        (
            "html/probe.rs",
            "use crate::probe::{self, Probe};\npub fn probe() {}",
        ),
    ]);
    assert_eq!(
        face,
        "pub mod a\npub mod a::html\npub fn a::html::probe()\n"
    );
}

#[test]
fn the_public_lines_of_a_macro_are_listed() {
    let inner = "
        macro_rules! define {
            ($name:ident) => {
                /// Doc.
                pub struct $name;
                impl $name {
                    pub fn new() -> Self {
                    }
                }
            };
        }
        define! {
            /// Doc.
            One
        }
    ";
    let face = of(&[
        ("lib.rs", "mod inner; pub use inner::One;"),
        ("inner.rs", inner),
    ]);
    let expected = "\
pub mod a
a::One, which a macro defines
a::One: define! pub fn new() -> Self
a::One: define! pub struct $name;
a::One: define! { One }
";
    assert_eq!(face, expected);
}

#[test]
fn a_glob_hands_on_what_a_macro_makes_public() {
    let list = "
        mod one;
        macro_rules! list {
            ($file:ident) => {
                pub use $file::*;
                pub enum All {}
            };
        }
        list!(one);
    ";
    let face = of(&[
        ("lib.rs", "mod list; pub use list::*;"),
        ("list.rs", list),
        ("list/one.rs", "pub struct One; struct Hidden;"),
    ]);
    let expected = "\
pub mod a
a::All, which a macro defines
a::All: list! pub enum All {}
a::All: list! pub use $file::*;
a::All: list! { one }
pub struct a::One
";
    assert_eq!(face, expected);
}

#[test]
fn a_change_shows_until_it_is_accepted() {
    let folder = made_up::folder(&[
        ("crates/one/Cargo.toml", ""),
        ("crates/one/src/lib.rs", "pub fn new() {}"),
        ("crates/program/Cargo.toml", ""),
        ("crates/program/src/main.rs", ""),
        ("docs/face/gone.txt", "pub mod gone\n"),
    ]);
    let face = || Face::all(folder.path()).unwrap().remove(0);
    let difference = || face().difference(folder.path()).unwrap();
    assert_eq!(difference(), "+ pub mod one\n+ pub fn one::new()\n");
    accept(folder.path()).unwrap();
    assert_eq!(difference(), "");
    assert!(!folder.path().join("docs/face/gone.txt").exists());
    std::fs::write(
        folder.path().join("crates/one/src/lib.rs"),
        "pub fn newer() {}",
    )
    .unwrap();
    assert_eq!(difference(), "- pub fn one::new()\n+ pub fn one::newer()\n");
    assert_eq!(Face::all(folder.path()).unwrap().len(), 1);
}
