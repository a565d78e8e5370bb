//! Dependencies between the workspace's crates point one way.
//!
//! Normal and build dependencies count, optional ones too. Dev-dependencies do not: a test may use
//! any crate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

/// The core, which holds no tensors of any framework.
const CORE: &str = "steadygrad";

/// The leaf: usable by somebody who has no network at all.
const DYNAMICS: &str = "steadygrad-dynamics";

/// Each workspace crate and the workspace crates that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    (DYNAMICS, &[]),
    (CORE, &[DYNAMICS]),
    ("steadygrad-record", &[CORE]),
    ("steadygrad-burn", &[CORE, "steadygrad-record"]),
    ("steadygrad-logs", &[CORE, "steadygrad-record"]),
    ("steadygrad-report", &[CORE]),
    (
        "steadygrad-commands",
        &[
            CORE,
            "steadygrad-logs",
            "steadygrad-record",
            "steadygrad-report",
        ],
    ),
    // No Burn: what PyTorch's users install has no second framework in it.
    (
        "steadygrad-python",
        &[
            CORE,
            "steadygrad-commands",
            "steadygrad-record",
            "steadygrad-report",
        ],
    ),
    (
        "steadygrad-lab",
        &[CORE, "steadygrad-burn", "steadygrad-record"],
    ),
    (
        "steadygrad-cli",
        &[
            CORE,
            "steadygrad-burn",
            "steadygrad-commands",
            "steadygrad-lab",
            "steadygrad-record",
            "steadygrad-report",
        ],
    ),
    ("xtask", &[]),
];

/// The first letters of the names of deep-learning frameworks' crates.
const FRAMEWORKS: [&str; 4] = ["burn", "candle", "tch", "ort"];

/// Every workspace crate, with the names of its dependencies.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Lists each dependency that breaks the rule.
fn violations(edges: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    for (from, dependencies) in edges {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == from) else {
            found.push(format!("{from} is not in the table of workspace crates"));
            continue;
        };
        for to in dependencies {
            let in_workspace = edges.contains_key(to) || ALLOWED.iter().any(|(name, _)| name == to);
            if in_workspace && !allowed.contains(&to.as_str()) {
                found.push(format!("{from} may not depend on {to}"));
            }
            if from == CORE && FRAMEWORKS.iter().any(|name| to.starts_with(name)) {
                found.push(format!("{from} may not depend on the framework {to}"));
            }
        }
    }
    found
}

/// Reads the dependencies from the output of `cargo metadata --no-deps`.
fn edges(metadata: &Value) -> Edges {
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(edges_of).collect()
}

fn edges_of(package: &Value) -> (String, BTreeSet<String>) {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    let counted = dependencies.iter().filter(|d| d["kind"] != "dev");
    (name(package), counted.map(name).collect())
}

fn name(of: &Value) -> String {
    of["name"].as_str().expect("name").to_owned()
}

fn workspace() -> Edges {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    edges(&serde_json::from_slice(&output.stdout).expect("metadata is JSON"))
}

#[test]
fn dependencies_point_one_way() {
    let edges = workspace();
    assert!(edges.contains_key(CORE), "{edges:?}");
    assert_eq!(violations(&edges), [""; 0]);
}

/// Each case adds one dependency to the workspace.
#[test]
fn a_wrong_edge_is_reported() {
    for (from, to, report) in [
        (
            CORE,
            "steadygrad-burn",
            &["steadygrad may not depend on steadygrad-burn"][..],
        ),
        (
            "steadygrad-burn",
            "steadygrad-lab",
            &["steadygrad-burn may not depend on steadygrad-lab"],
        ),
        (
            "steadygrad-report",
            "steadygrad-burn",
            &["steadygrad-report may not depend on steadygrad-burn"],
        ),
        (
            "steadygrad-lab",
            "xtask",
            &["steadygrad-lab may not depend on xtask"],
        ),
        (
            CORE,
            "burn-tensor",
            &["steadygrad may not depend on the framework burn-tensor"],
        ),
        (
            CORE,
            "candle-core",
            &["steadygrad may not depend on the framework candle-core"],
        ),
        (
            "newcomer",
            "serde",
            &["newcomer is not in the table of workspace crates"],
        ),
        ("steadygrad-lab", "burn", &[]),
    ] {
        let mut edges = workspace();
        edges
            .entry(from.to_owned())
            .or_default()
            .insert(to.to_owned());
        assert_eq!(violations(&edges), report, "{from} -> {to}");
    }
}

#[test]
fn normal_and_build_dependencies_count_and_dev_ones_do_not() {
    let dependency = |name: &str, kind: Value| json!({"name": name, "kind": kind});
    let metadata = json!({"packages": [{"name": CORE, "dependencies": [
        dependency("normal", Value::Null),
        dependency("build", json!("build")),
        dependency("dev", json!("dev")),
    ]}]});
    let expected = ["build", "normal"].map(str::to_owned);
    assert_eq!(edges(&metadata)[CORE], BTreeSet::from(expected));
}
