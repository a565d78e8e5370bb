//! Files, functions and lines are short.

mod made_up;

use std::path::Path;
use std::sync::LazyLock;

use xtask::folders;
use xtask::rust_source::CrateSource;
use xtask::sizes::{COLUMNS, FILE_LINES, FUNCTION_LINES, Size, Sizes, WIDE_LINES};

/// What three tests share: to read every file takes longer than all the rest.
static WORKSPACE: LazyLock<Sizes> =
    LazyLock::new(|| Sizes::measure(&folders::root().unwrap()).unwrap());

#[test]
fn no_file_is_too_long() {
    let long = listed(&WORKSPACE.long_files());
    assert!(
        long.is_empty(),
        "more than {FILE_LINES} lines without tests:\n{long}"
    );
}

#[test]
fn no_function_is_too_long() {
    let long = listed(&WORKSPACE.long_functions());
    assert!(long.is_empty(), "more than {FUNCTION_LINES} lines:\n{long}");
}

#[test]
fn few_lines_are_wide() {
    let wide = &WORKSPACE.wide_lines;
    let list = listed(&wide.iter().collect::<Vec<_>>());
    let number = wide.len();
    assert!(
        number <= WIDE_LINES,
        "{number} lines have more than {COLUMNS} columns; at most {WIDE_LINES} may:\n{list}"
    );
}

fn listed(sizes: &[&Size]) -> String {
    let row = |size: &&Size| format!("{:7}  {}\n", size.length, size.place);
    sizes.iter().map(row).collect()
}

type Lengths = Vec<(String, usize)>;

/// Measures a made-up crate: its files and its functions.
fn of(files: &[(&str, &str)]) -> (Lengths, Lengths) {
    let folder = made_up::folder(files);
    let source = CrateSource::read(&folder.path().join("lib.rs")).unwrap();
    let mut sizes = Sizes::default();
    sizes.add_crate(&source, folder.path()).unwrap();
    (pairs(&sizes.files), pairs(&sizes.functions))
}

fn pairs(sizes: &[Size]) -> Lengths {
    let mut pairs: Vec<_> = sizes
        .iter()
        .map(|size| (size.place.clone(), size.length))
        .collect();
    pairs.sort();
    pairs
}

fn expected<const N: usize>(pairs: [(&str, usize); N]) -> Lengths {
    pairs
        .map(|(place, length)| (place.to_owned(), length))
        .to_vec()
}

#[test]
fn tests_are_not_counted() {
    let lib = "\
//! Doc.
mod a;
#[cfg(test)]
mod tests;

/// Doc.
fn f() {
}

/// Doc.
#[cfg(test)]
#[rustfmt::skip]
mod more {
    fn in_a_test() {}
}
";
    let (files, functions) = of(&[
        ("lib.rs", lib),
        ("a.rs", "fn a() {}\n"),
        ("tests.rs", "mod deeper;\nfn in_a_test() {}\n"),
        ("tests/deeper.rs", "fn in_a_test() {}\n"),
    ]);
    assert_eq!(files, expected([("a.rs", 1), ("lib.rs", 7)]));
    assert_eq!(functions, expected([("a.rs:1 a", 1), ("lib.rs:7 f", 2)]));
}

#[test]
fn a_function_goes_from_its_signature_to_its_last_brace() {
    let lib = "\
/// Doc.
#[inline]
pub fn f(
    x: u8,
) -> u8 {
    fn inner() {
    }
    x
}
impl A<u8> {
    /// Doc.
    const fn g() {
    }
}
trait B {
    fn h();
    fn i() {
    }
}
";
    let (_, functions) = of(&[("lib.rs", lib)]);
    let wanted = [
        ("lib.rs:12 A::g", 2),
        ("lib.rs:17 B::i", 2),
        ("lib.rs:3 f", 7),
        ("lib.rs:6 inner", 2),
    ];
    assert_eq!(functions, expected(wanted));
}

#[test]
fn a_file_and_a_function_may_be_as_long_as_the_limit() {
    let lines = |number: usize| "    a();\n".repeat(number);
    for (inside, long) in [(FUNCTION_LINES - 2, 0), (FUNCTION_LINES - 1, 1)] {
        let text = format!("fn f() {{\n{}}}\n", lines(inside));
        assert_eq!(rust(&text).long_functions().len(), long, "{inside}");
    }
    for (number, long) in [(FILE_LINES, 0), (FILE_LINES + 1, 1)] {
        assert_eq!(
            rust(&"// a\n".repeat(number)).long_files().len(),
            long,
            "{number}"
        );
    }
}

fn rust(text: &str) -> Sizes {
    let folder = made_up::folder(&[("lib.rs", text)]);
    let source = CrateSource::read(&folder.path().join("lib.rs")).unwrap();
    let mut sizes = Sizes::default();
    sizes.add_crate(&source, folder.path()).unwrap();
    sizes
}

#[test]
fn a_docstring_is_not_part_of_a_python_function() {
    let text = "\
class A:
    @property
    def f(
        self,
    ):
        \"\"\"Doc.

        More.
        \"\"\"
        def inner():
            return 1
        return inner
";
    let folder = made_up::folder(&[("package/a.py", text)]);
    let mut sizes = Sizes::default();
    sizes
        .add_python(&folder.path().join("package"), folder.path())
        .unwrap();
    assert_eq!(pairs(&sizes.files), expected([("package/a.py", 12)]));
    let wanted = [("package/a.py:10 A.f.inner", 2), ("package/a.py:3 A.f", 6)];
    assert_eq!(pairs(&sizes.functions), expected(wanted));
}

#[test]
fn columns_are_characters() {
    let wide = "é".repeat(COLUMNS);
    let folder = made_up::folder(&[
        ("a.rs", &format!("{wide}\n{wide}é\n")),
        ("data.csv", &format!("{wide}{wide}\n")),
        (".cache/a.rs", &format!("{wide}{wide}\n")),
    ]);
    let mut sizes = Sizes::default();
    sizes.add_lines(folder.path(), folder.path()).unwrap();
    assert_eq!(
        pairs(&sizes.wide_lines),
        expected([("a.rs:2", COLUMNS + 1)])
    );
    sizes
        .add_lines(Path::new("no/such/folder"), folder.path())
        .unwrap();
    assert_eq!(sizes.wide_lines.len(), 1);
}
