//! Shared code of the fuzz targets. An input is a few files, which are written into a run
//! directory.
//!
//! The first byte of an input selects the mode. If it is even, files and checksums are raw, as on a
//! damaged disk. If it is odd, the checksums are recomputed, so that the parsers behind them are
//! reached.

use std::fs;
use std::path::Path;

use serde_json::json;
use steadygrad::diagnose::{FindingLevel, RunDiagnosis};
use steadygrad_logs::{Columns, read};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

/// Separates the files of an input.
pub const BETWEEN: &[u8] = b"\n%%%%\n";

/// Splits an input at each [`BETWEEN`].
pub fn split(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = rest.windows(BETWEEN.len()).position(|w| w == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// Reads these bytes as a log and applies the rules. An unreadable log is not a failure.
pub fn diagnose_log(name: &str, bytes: &[u8]) {
    let folder = folder();
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary folder can be written to");
    diagnose(&path);
}

/// Reads a folder of these files and applies the rules.
pub fn diagnose_folder(files: &[(&str, &[u8])]) {
    let folder = folder();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        let within = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(within).expect("a temporary folder can be written to");
        fs::write(&path, bytes).expect("a temporary folder can be written to");
    }
    diagnose(folder.path());
}

fn diagnose(path: &Path) {
    for trace in read(path, &Columns::default()).unwrap_or_default() {
        let found = RunDiagnosis::of(&trace);
        assert_eq!(
            found.is_healthy(),
            found.findings.iter().all(|one| one.level == FindingLevel::Note)
        );
    }
}

/// The files of an input, and whether to recompute their checksums.
pub struct Input<'a> {
    pub fits: bool,
    parts: Vec<&'a [u8]>,
}

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (mode, rest) = data.split_first()?;
        Some(Self {
            fits: mode % 2 == 1,
            parts: split(rest),
        })
    }

    /// Returns the file at `index`, which is empty if the input has fewer files.
    pub fn part(&self, index: usize) -> &'a [u8] {
        self.parts.get(index).copied().unwrap_or_default()
    }

    /// Returns the files from `index` on.
    pub fn from(&self, index: usize) -> &[&'a [u8]] {
        self.parts.get(index..).unwrap_or_default()
    }

    /// Writes `run.json`, which is the input's first file.
    pub fn write_manifest(&self, run: &Path) {
        let bytes = self.part(0);
        let bytes = if self.fits {
            seal(bytes)
        } else {
            bytes.to_vec()
        };
        fs::write(run.join("run.json"), bytes).unwrap();
    }

    /// Writes the segments of an append-only file from the input's other files. With `fits`, each
    /// input file is one part, and the second half of the parts makes the second segment. Otherwise
    /// segments and checksums alternate.
    pub fn write_segments(&self, run: &Path, names: [&str; 2]) {
        let parts = self.from(1);
        if self.fits {
            let (one, two) = parts.split_at(parts.len().div_ceil(2));
            for (name, parts) in names.into_iter().zip([one, two]) {
                fs::write(run.join(name), parts.concat()).unwrap();
                fs::write(run.join(format!("{name}.sums")), sums(parts)).unwrap();
            }
        } else {
            for (index, name) in names.into_iter().enumerate() {
                fs::write(run.join(name), self.part(1 + 2 * index)).unwrap();
                let sums = self.part(2 + 2 * index);
                fs::write(run.join(format!("{name}.sums")), sums).unwrap();
            }
        }
    }

    /// Writes the three files of a snapshot from the input's files from `first` on: manifest,
    /// tensors and state. With `fits`, the manifest input lists the names of the tensors, one per
    /// line. Returns the manifest.
    pub fn write_snapshot(&self, folder: &Path, first: usize) -> Vec<u8> {
        let (head, tensors, state) = (self.part(first), self.part(first + 1), self.part(first + 2));
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("tensors.safetensors"), tensors).unwrap();
        fs::write(folder.join("state.json"), state).unwrap();
        let manifest = if self.fits {
            let head = String::from_utf8_lossy(head);
            let names: Vec<&str> = head.lines().collect();
            let manifest = json!({
                "format": 1,
                "step": 7,
                "non_finite": 0,
                "tensors_file": sum(tensors),
                "state_file": sum(state),
                "tensors": names,
            });
            seal_value(&manifest)
        } else {
            head.to_vec()
        };
        fs::write(folder.join("manifest.json"), &manifest).unwrap();
        manifest
    }
}

/// Makes a temporary folder, in memory if possible. The targets write files a thousand times a
/// second.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Returns a file's entry in a manifest.
pub fn sum(bytes: &[u8]) -> serde_json::Value {
    json!({"bytes": bytes.len(), "xxh3": format!("{:016x}", xxh3_64(bytes))})
}

/// Seals a JSON object that lacks its closing brace: adds the checksum and the brace.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let end = format!(",\n  \"xxh3\": \"{:016x}\"\n}}\n", xxh3_64(body));
    [body, end.as_bytes()].concat()
}

/// Seals a JSON object.
pub fn seal_value(value: &serde_json::Value) -> Vec<u8> {
    let text = value.to_string();
    seal(text.strip_suffix('}').unwrap_or_default().as_bytes())
}

/// Returns the checksums of a file's parts.
pub fn sums(parts: &[&[u8]]) -> String {
    let (mut lines, mut from) = (String::new(), 0);
    for part in parts {
        let line = format!("{from} {} {:016x}", part.len(), xxh3_64(part));
        lines += &format!("{line} {:016x}\n", xxh3_64(line.as_bytes()));
        from += part.len();
    }
    lines
}
