//! The prescribed code is, byte for byte, the tested code.
//!
//! Each remedy has one file for Burn and one for PyTorch in `src/remedy/snippets`. With the values
//! in these files, a prescription equals the file. Burn's test compiles the Rust file
//! (`crates/steadygrad-burn/tests/burn/prescribed`). Python's test runs the Python file
//! (`python/tests/prescribed`).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use steadygrad::cure::Prescription;
use steadygrad::remedy::{REMEDIES, Remedy, RemedyKind};

fn crate_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn snippet(name: &str, extension: &str) -> String {
    let file = format!("src/remedy/snippets/{name}.{extension}");
    fs::read_to_string(crate_root().join(file)).unwrap()
}

/// Returns the remedy with the values in its PyTorch file.
fn tested(kind: &RemedyKind) -> Remedy {
    let text = snippet(kind.name, "py");
    let value = |constant: &str| -> Value {
        let definition = format!("{constant} = ");
        let line = text.lines().find_map(|line| line.strip_prefix(&definition));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    let parameters = kind.parameters.iter();
    let mut fields: Map<String, Value> = parameters
        .map(|parameter| (parameter.name.to_owned(), value(parameter.constant)))
        .collect();
    fields.insert("kind".into(), kind.name.into());
    serde_json::from_value(fields.into()).unwrap()
}

#[test]
fn the_prescribed_code_is_the_tested_code() {
    for kind in REMEDIES {
        let prescribed = Prescription::new("x".into(), &tested(kind), None);
        assert_eq!(prescribed.burn, snippet(kind.name, "rs"));
        assert_eq!(prescribed.pytorch, snippet(kind.name, "py"));
    }
}

#[test]
fn every_snippet_belongs_to_a_remedy_and_has_its_tests() {
    let workspace = crate_root().join("../..");
    for file in fs::read_dir(crate_root().join("src/remedy/snippets")).unwrap() {
        let path: PathBuf = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(REMEDIES.iter().any(|kind| kind.name == name), "{name}");
        for test in [
            format!("crates/steadygrad-burn/tests/burn/prescribed/{name}.rs"),
            format!("python/tests/prescribed/test_{name}.py"),
        ] {
            let text = fs::read_to_string(workspace.join(&test)).unwrap_or_default();
            assert!(text.contains(name), "{test} does not test the snippet");
        }
    }
}
