//! What the targets share: an input is a few files, written into a run directory.
//!
//! The first byte says how. Even: the files are what a damaged disk might hold, checksums and all.
//! Odd: the checksums are made to fit, so that the readers behind them are reached, which no
//! accident does.

use std::fs;
use std::path::Path;

use serde_json::json;
use steadygrad::diagnose::{Level, RunDiagnosis};
use steadygrad_logs::{Columns, read};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

/// Stands between the files of an input.
pub const BETWEEN: &[u8] = b"\n%%%%\n";

/// What lies before, between and after each [`BETWEEN`].
pub fn split(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = rest.windows(BETWEEN.len()).position(|w| w == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

/// Reads a log with these bytes in it, and asks the rules. A file that is none is no fault.
pub fn diagnose_log(name: &str, bytes: &[u8]) {
    let folder = folder();
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary folder can be written to");
    for trace in read(&path, &Columns::default()).unwrap_or_default() {
        let found = RunDiagnosis::of(&trace);
        assert_eq!(
            found.is_healthy(),
            found.findings.iter().all(|one| one.level == Level::Note)
        );
    }
}

/// The files of an input, and whether their checksums are to fit.
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

    /// The file at `index`; empty where the input has no more.
    pub fn part(&self, index: usize) -> &'a [u8] {
        self.parts.get(index).copied().unwrap_or_default()
    }

    /// The files from `index` on.
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

    /// Writes the segments of a file that grows, from the input's other files. Where checksums are
    /// to fit each is a part, the second half of them in the second segment; else they are the
    /// segments and their checksums in turn.
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

    /// Writes the three files of a snapshot, which begin at `first`: the manifest (where checksums
    /// are to fit: the names of the tensors, a line each), the tensors, the state. Returns the
    /// manifest.
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

/// A folder in memory where there is one: the files are written a thousand times a second.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A file's entry in a manifest.
pub fn sum(bytes: &[u8]) -> serde_json::Value {
    json!({"bytes": bytes.len(), "xxh3": format!("{:016x}", xxh3_64(bytes))})
}

/// A JSON object without its closing brace, sealed.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let end = format!(",\n  \"xxh3\": \"{:016x}\"\n}}\n", xxh3_64(body));
    [body, end.as_bytes()].concat()
}

/// A JSON object, sealed.
pub fn seal_value(value: &serde_json::Value) -> Vec<u8> {
    let text = value.to_string();
    seal(text.strip_suffix('}').unwrap_or_default().as_bytes())
}

/// The checksums of a file's parts.
pub fn sums(parts: &[&[u8]]) -> String {
    let (mut lines, mut from) = (String::new(), 0);
    for part in parts {
        let line = format!("{from} {} {:016x}", part.len(), xxh3_64(part));
        lines += &format!("{line} {:016x}\n", xxh3_64(line.as_bytes()));
        from += part.len();
    }
    lines
}
