//! Builds the Python package for others, as wheels, and tries it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xtask::python_source::interpreter;

use crate::python::program;
use crate::step::Step;

/// The folder of the finished wheels.
const WHEELS: &str = "target/dist";

/// Builds wheels. `zig` links for other systems and for older C libraries.
const MATURIN: &str = "maturin[zig]>=1.9.4,<2";

/// The C library that PyTorch's own wheels need.
const MANYLINUX: &str = "manylinux_2_28";

/// The systems that PyTorch has wheels for.
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-gnu",
];

/// Builds the wheel for this system and tries it in an empty environment. On Linux it runs wherever
/// PyTorch's wheels run.
pub(crate) fn for_here(root: &Path) -> Result<()> {
    let mut build = Maturin::new(root)?.build(root);
    if cfg!(target_os = "linux") {
        build = build.arg("--zig").arg("--compatibility").arg(MANYLINUX);
    }
    build.run(&root.join("python"))?;
    try_out(root)
}

/// Builds the wheels for every system that PyTorch has wheels for. It runs on Linux, and tries this
/// machine's wheel only. Windows' wheel needs MinGW-w64's GCC (`x86_64-w64-mingw32-gcc`).
pub(crate) fn for_all(root: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(
            "only Linux builds wheels for other systems; type `cargo xtask wheel` for this system's"
        );
    }
    let maturin = Maturin::new(root)?;
    let frameworks = frameworks(root)?;
    for target in TARGETS {
        Step::new("rustup", ["target", "add", target]).run(root)?;
        let build = maturin.build(root).arg("--target").arg(target);
        let build = match target {
            // With zig, maturin exports the module under a name with a dot, which is no symbol.
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

/// The Python that has maturin.
struct Maturin(PathBuf);

impl Maturin {
    fn new(root: &Path) -> Result<Self> {
        let environment = root.join("target/venv-wheel");
        Step::new(interpreter(), ["-m", "venv"])
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
            // maturin looks for zig here.
            .env("CARGO_ZIGBUILD_PYTHON_PATH", &self.0)
    }
}

/// Returns the linker flag for a stub of Apple's CoreFoundation, and writes the stub.
///
/// Arrow's `chrono` links to this framework to read the time zone. The stub names the framework's
/// place on a Mac; the Mac looks its functions up when it loads the package.
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

/// Installs this machine's wheel into a new environment and calls it.
fn try_out(root: &Path) -> Result<()> {
    let trial = root.join("target/venv-trial");
    Step::new(interpreter(), ["-m", "venv", "--clear"])
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
