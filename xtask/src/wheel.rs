//! The Python package to hand out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::python::{program, system_python};
use crate::step::Step;

/// Where wheels to hand out are put.
const WHEELS: &str = "target/dist";

/// What makes wheels; with it comes the linker that links for other systems and older C libraries.
const MATURIN: &str = "maturin[zig]>=1.9.4,<2";

/// The C library that PyTorch's own wheels ask for.
const MANYLINUX: &str = "manylinux_2_28";

/// Whom PyTorch ships wheels to.
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-gnu",
];

/// Builds the wheel for machines like this one (on Linux, for each one that PyTorch's wheels run on) and tries it in an
/// environment that has nothing else.
pub(crate) fn for_here(root: &Path) -> Result<()> {
    let mut build = Maker::new(root)?.build(root);
    if cfg!(target_os = "linux") {
        build = build.arg("--zig").arg("--compatibility").arg(MANYLINUX);
    }
    build.run(&root.join("python"))?;
    try_out(root)
}

/// Builds the wheel for all whom PyTorch ships wheels to, on Linux. Only this machine's is tried. Windows' is linked by
/// MinGW-w64's GCC, which has to be there (`x86_64-w64-mingw32-gcc`).
pub(crate) fn for_all(root: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(
            "wheels for other systems are made on Linux; `cargo xtask wheel` makes this system's"
        );
    }
    let maker = Maker::new(root)?;
    let frameworks = frameworks(root)?;
    for target in TARGETS {
        Step::new("rustup", ["target", "add", target]).run(root)?;
        let build = maker.build(root).arg("--target").arg(target);
        let build = match target {
            // With zig, maturin asks for the module by a name with a dot in it, which is no symbol.
            _ if target.contains("windows") => build,
            _ if target.contains("apple") => build
                .arg("--zig")
                .env("CARGO_TARGET_AARCH64_APPLE_DARWIN_RUSTFLAGS", &frameworks),
            _ => build.arg("--zig").arg("--compatibility").arg(MANYLINUX),
        };
        build.run(&root.join("python"))?;
    }
    try_out(root)
}

/// The environment that makes wheels.
struct Maker(PathBuf);

impl Maker {
    fn new(root: &Path) -> Result<Self> {
        let environment = root.join("target/venv-wheel");
        Step::new(system_python(), ["-m", "venv"])
            .arg(&environment)
            .run(root)?;
        let python = program(&environment, "python");
        Step::new(&python, ["-m", "pip", "install", "--quiet", MATURIN]).run(root)?;
        Ok(Self(python))
    }

    fn build(&self, root: &Path) -> Step {
        let build = ["-m", "maturin", "build", "--release", "--out"];
        Step::new(&self.0, build)
            .arg(root.join(WHEELS))
            // Where the linker is looked for.
            .env("CARGO_ZIGBUILD_PYTHON_PATH", &self.0)
    }
}

/// A linker's flag by which it finds Apple's one framework that the package is linked to, by a stub that says where it is on
/// a Mac: `chrono`, which comes with Arrow, names it, to learn the time zone. Its functions are looked up when the package
/// is loaded.
fn frameworks(root: &Path) -> Result<String> {
    let frameworks = root.join("target/frameworks");
    let folder = frameworks.join("CoreFoundation.framework");
    let stub = folder.join("CoreFoundation.tbd");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&stub, CORE_FOUNDATION))
        .with_context(|| format!("could not write {}", stub.display()))?;
    Ok(format!("-C link-arg=-F{}", frameworks.display()))
}

const CORE_FOUNDATION: &str = "\
--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: /System/Library/Frameworks/CoreFoundation.framework/Versions/A/CoreFoundation
...
";

/// Installs this machine's wheel and calls it.
fn try_out(root: &Path) -> Result<()> {
    let trial = root.join("target/venv-trial");
    Step::new(system_python(), ["-m", "venv", "--clear"])
        .arg(&trial)
        .run(root)?;
    let python = program(&trial, "python");
    let install = "-m pip install --quiet --no-index --find-links".split(' ');
    Step::new(&python, install)
        .arg(WHEELS)
        .arg("steadygrad")
        .run(root)?;
    let import = "import steadygrad; print(steadygrad.__version__)";
    Step::new(&python, ["-c", import]).run(root)?;
    Step::new(program(&trial, "steadygrad"), ["explain", "SG001"]).run(root)
}
