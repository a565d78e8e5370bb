//! Writes a page for each rule, and their list: `cargo xtask rules` puts them in `docs/rules`.

use std::path::PathBuf;

use steadygrad::diagnose::RULES;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or("docs/rules".into()));
    std::fs::create_dir_all(&folder)?;
    for rule in RULES {
        let page = steadygrad_report::rules::markdown(rule);
        std::fs::write(folder.join(format!("{}.md", rule.code)), page)?;
    }
    std::fs::write(folder.join("README.md"), steadygrad_report::rules::index())
}
