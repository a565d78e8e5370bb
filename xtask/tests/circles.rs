//! No two files import each other: in no crate, and not in the Python package.
#![allow(
    clippy::print_stdout,
    reason = "longer ways round are reported and do not fail"
)]

mod made_up;

use xtask::circles::{Graph, Imports, of_crate, of_python};
use xtask::folders;
use xtask::rust_source::CrateSource;

#[test]
fn no_two_files_of_a_crate_import_each_other() {
    let root = folders::root().unwrap();
    let mut found = Vec::new();
    let mut lost = Vec::new();
    for folder in folders::crates(&root).unwrap() {
        let name = folders::shown(&folder, &root);
        for source in CrateSource::read_all(&folder).unwrap() {
            let imports = of_crate(&source);
            found.extend(listed(&imports.graph, &name));
            lost.extend(
                imports
                    .lost
                    .into_iter()
                    .map(|path| format!("{name}: {path}")),
            );
        }
    }
    assert!(found.is_empty(), "{ADVICE}\n{}", found.join("\n"));
    assert!(
        lost.is_empty(),
        "these paths lead nowhere, so circles may be missing:\n{}",
        lost.join("\n")
    );
}

#[test]
fn no_two_files_of_the_python_package_import_each_other() {
    let root = folders::root().unwrap();
    let graph = of_python(&root.join(folders::PYTHON_PACKAGE)).unwrap();
    let found = listed(&graph, folders::PYTHON_PACKAGE);
    assert!(found.is_empty(), "{ADVICE}\n{}", found.join("\n"));
}

const ADVICE: &str = "these files import each other; move what both need into a file of its own:";

/// The circles, and for the reader's use the larger groups that they are part of.
fn listed(graph: &Graph, name: &str) -> Vec<String> {
    for group in graph
        .components()
        .into_iter()
        .filter(|group| group.len() > 2)
    {
        let files = group.into_iter().collect::<Vec<_>>().join(", ");
        println!("{name}: each of these leads to each other: {files}");
    }
    let circles = graph.circles();
    circles
        .iter()
        .map(|circle| format!("{name}: {circle}"))
        .collect()
}

/// The circles of a made-up crate, and the paths that lead nowhere.
fn of(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let folder = made_up::folder(files);
    let source = CrateSource::read(&folder.path().join("lib.rs")).unwrap();
    let Imports { graph, lost } = of_crate(&source);
    (
        graph.circles().iter().map(ToString::to_string).collect(),
        lost,
    )
}

fn of_package(files: &[(&str, &str)]) -> Vec<String> {
    let folder = made_up::folder(files);
    let graph = of_python(&folder.path().join("package")).unwrap();
    graph.circles().iter().map(ToString::to_string).collect()
}

const LIB: (&str, &str) = ("lib.rs", "mod a;\nmod b;\n");

#[test]
fn two_files_that_import_each_other_are_reported() {
    let expected = "a.rs <-> b.rs: a.rs uses B; b.rs uses A";
    for (a, b) in [
        (
            "use crate::b::B; pub struct A(B);",
            "use crate::a::A; pub struct B(A);",
        ),
        (
            "use super::b::B; pub struct A(B);",
            "pub struct B(crate::a::A);",
        ),
        (
            "use crate::b; pub struct A(b::B);",
            "use crate::a::{self as other}; pub struct B(other::A);",
        ),
        (
            "pub struct A; fn f() { use crate::b as c; c::B::new(); }",
            "use crate::a::*; pub struct B(A);",
        ),
        (
            "pub struct A; fn f() { assert!(crate::b::B::new()); }",
            "use crate::a::A as C; pub struct B(C);",
        ),
        (
            "use crate::b::B::C; pub struct A;",
            "pub enum B { C(crate::a::A) }",
        ),
        (
            "#[x(with = \"crate::b::B\")] pub struct A;",
            "mod c { pub use crate::a::A; } pub struct B(c::A);",
        ),
    ] {
        assert_eq!(
            of(&[LIB, ("a.rs", a), ("b.rs", b)]),
            (vec![expected.to_owned()], vec![]),
            "{a}"
        );
    }
}

#[test]
fn imports_one_way_are_no_circle() {
    let a = ("a.rs", "use crate::b::B; pub struct A(B);");
    for b in [
        "pub struct B;",
        "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }",
        "pub struct B; #[cfg(test)] mod tests;",
        "pub struct B; #[cfg(test)] use crate::a::A;",
        "pub struct B; fn b() { #[cfg(test)] if crate::a::A::x() {} }",
        "pub struct B; fn b() { #[cfg(test)] crate::a::A::y()?; }",
        "pub use crate::a::A; pub struct B;",
        "use std::fmt; pub struct B(fmt::Error); fn a(x: u8) { m!(x.A, $x::A) }",
        "use ::a::A; pub struct B;",
    ] {
        let tests = ("b/tests.rs", "use crate::a::A;");
        assert_eq!(of(&[LIB, a, ("b.rs", b), tests]), (vec![], vec![]), "{b}");
    }
}

const FOLDER: [(&str, &str); 4] = [
    ("lib.rs", "pub mod clip;\npub mod guard;"),
    (
        "clip/mod.rs",
        "mod clipper;\nmod policy;\npub use clipper::Clipper;\npub use policy::*;",
    ),
    ("clip/policy.rs", "pub struct Policy;"),
    (
        "clip/clipper.rs",
        "use super::Policy;\npub struct Clipper(Policy);",
    ),
];

#[test]
fn a_name_that_was_handed_on_leads_to_the_file_that_defines_it() {
    let guard = (
        "guard.rs",
        "use crate::clip::Policy;\npub struct Guard(Policy);",
    );
    let mut files = [&FOLDER[..], &[guard]].concat();
    assert_eq!(of(&files), (vec![], vec![]));
    files[2].1 = "use crate::guard::Guard;\npub struct Policy(Guard);";
    let expected = "clip/policy.rs <-> guard.rs: clip/policy.rs uses Guard; guard.rs uses Policy";
    assert_eq!(of(&files), (vec![expected.to_owned()], vec![]));
}

#[test]
fn a_parent_imports_its_child_by_use_alone() {
    let mut files = vec![
        (
            "lib.rs",
            "mod child; pub use child::Child; pub struct Parent;",
        ),
        ("child.rs", "use super::Parent; pub struct Child(Parent);"),
    ];
    assert_eq!(of(&files), (vec![], vec![]));
    for lib in [
        "mod child; pub use child::Child; pub struct Parent; fn new() -> Child { loop {} }",
        "mod child; use child::Child; pub struct Parent;",
        "mod child; pub use child::Child; pub struct Parent; fn new() { child::Child::new() }",
    ] {
        files[0].1 = lib;
        let expected = "child.rs <-> lib.rs: child.rs uses Parent; lib.rs uses Child";
        assert_eq!(of(&files), (vec![expected.to_owned()], vec![]), "{lib}");
    }
    // A variable with the name of what is handed on.
    files[0].1 =
        "mod child; pub use child::child; pub struct Parent; fn f(child: u8) { m!(child); child }";
    files[1].1 = "use super::Parent; pub fn child(_: Parent) {}";
    assert_eq!(of(&files), (vec![], vec![]));
}

#[test]
fn what_a_macro_defines_belongs_to_the_file_that_calls_it() {
    let expected = "a.rs <-> b.rs: a.rs uses B, define; b.rs uses A".to_owned();
    let a = "use crate::b::{B, define}; pub struct A; define!(C, B);";
    let b = "macro_rules! define { ($a:ident) => { pub enum $a {} } } pub(crate) use define;
        define!(B); fn b() -> crate::a::A {}";
    assert_eq!(
        of(&[LIB, ("a.rs", a), ("b.rs", b)]),
        (vec![expected], vec![])
    );
}

#[test]
fn a_name_that_a_macro_hands_on_leads_to_the_file_that_defines_it() {
    let lists = [
        "macro_rules! list { ($($file:ident $Name:ident)*) => { $(pub use super::$file::$Name;)* } }
        list! { one One }",
        "macro_rules! list { ($($file:ident)*) => { $(pub use super::$file::*;)* } } list!(one);",
        "macro_rules! each { ($m:path) => { $m! { one One } } }
        macro_rules! list { ($($file:ident $N:ident)*) => { $(pub use super::$file::$N;)* } }
        each!(list);",
    ];
    for list in lists {
        let list = format!("{list} macro_rules! all {{ () => {{ pub enum All {{}} }} }} all!();");
        let files = [
            ("lib.rs", "mod one; mod list; mod user; pub use list::*;"),
            ("list.rs", &list),
            ("one.rs", "pub struct One; fn one() -> crate::user::User {}"),
            ("user.rs", "use crate::{All, One}; pub struct User;"),
        ];
        let expected = "one.rs <-> user.rs: one.rs uses User; user.rs uses One";
        assert_eq!(of(&files), (vec![expected.to_owned()], vec![]), "{list}");
    }
}

#[test]
fn a_macro_of_another_file_defines_names_where_it_is_called() {
    let files = [
        ("lib.rs", "mod list; mod all; mod user;"),
        (
            "list.rs",
            "macro_rules! list { () => { pub struct All; } } pub(crate) use list;",
        ),
        (
            "all.rs",
            "crate::list::list! {} fn all() -> crate::user::User {}",
        ),
        ("user.rs", "use crate::all::All; pub struct User;"),
    ];
    let expected = "all.rs <-> user.rs: all.rs uses User; user.rs uses All";
    assert_eq!(of(&files), (vec![expected.to_owned()], vec![]));
}

#[test]
fn a_path_that_leads_nowhere_is_named() {
    let a = "use crate::b::Missing; fn a() { super::lost() }";
    let expected = ["a.rs: crate::b::Missing", "a.rs: super::lost"].map(str::to_owned);
    assert_eq!(
        of(&[LIB, ("a.rs", a), ("b.rs", "")]),
        (vec![], expected.to_vec())
    );
}

#[test]
fn a_longer_way_round_is_a_group() {
    let mut graph = Graph::default();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("a", "a")] {
        graph.add(from, to, "X");
    }
    assert_eq!(graph.circles(), []);
    let group = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(graph.components(), [group.into()]);
}

#[test]
fn python_files_that_import_each_other_are_reported() {
    let expected = "a.py <-> b.py: a.py uses B; b.py uses A";
    for (a, b) in [
        (
            "from .b import B\nclass A: pass",
            "from .a import A\nclass B: pass",
        ),
        (
            "from package.b import B as C",
            "def b():\n    from package.a import A",
        ),
        (
            "from .b import B",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import A",
        ),
    ] {
        let found = of_package(&[
            ("package/__init__.py", ""),
            ("package/a.py", a),
            ("package/b.py", b),
        ]);
        assert_eq!(found, [expected], "{a}");
    }
}

const GUARD: &str = "from ._step import Step\n__all__ = [\"Step\"]\n";

#[test]
fn python_names_lead_through_a_folder_to_the_file_that_defines_them() {
    for (task, name) in [
        ("from ._guard import Step", "Step"),
        ("from . import _guard\n_guard.Step()", "Step"),
        ("import package._guard._step", "package._guard._step"),
    ] {
        let found = of_package(&[
            ("package/__init__.py", ""),
            ("package/task.py", task),
            ("package/_guard/__init__.py", GUARD),
            ("package/_guard/_step.py", "from ..task import Task"),
        ]);
        let circle = "_guard/_step.py <-> task.py: _guard/_step.py uses Task; task.py uses";
        assert_eq!(found, [format!("{circle} {name}")], "{task}");
    }
}

#[test]
fn python_imports_one_way_are_no_circle() {
    for (init, step) in [
        (
            GUARD,
            "import os\nfrom . import _other\nfrom torch import guard",
        ),
        (GUARD, "from ._other import Other"),
        ("from ._step import Step\nLIMIT = 1", "from . import LIMIT"),
    ] {
        let found = of_package(&[
            ("package/__init__.py", ""),
            ("package/_guard/__init__.py", init),
            ("package/_guard/_step.py", step),
            ("package/_guard/_other.py", "class Other: pass"),
        ]);
        assert_eq!(found, [""; 0], "{init}");
    }
    // A folder that uses what it hands on imports it.
    let found = of_package(&[
        (
            "package/__init__.py",
            "from .step import Step\nLIMIT = Step()",
        ),
        ("package/step.py", "from . import LIMIT"),
    ]);
    assert_eq!(
        found,
        ["__init__.py <-> step.py: __init__.py uses Step; step.py uses LIMIT"]
    );
}
