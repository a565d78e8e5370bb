//! Files that only grow, with a checksum for each part that was appended.
//!
//! The file holds its parts only, so that any tool can read it. A second file, with `.sums` after
//! its name, has one line for each part: first byte, length, checksum, and a checksum of the line
//! itself. A part is written before its line. A reader uses no byte without a matching line.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::RecordError;
use super::disk::{Appended, ToSync};
use super::problem::{Damage, Problem};
use super::seal::hex;

fn sums_path(path: &Path) -> PathBuf {
    let mut sums = path.as_os_str().to_owned();
    sums.push(super::segments::SUMS);
    PathBuf::from(sums)
}

/// Appends parts.
pub(super) struct SummedWriter {
    data: Appended,
    sums: Appended,
    /// A write failed, and its bytes could not be removed yet.
    torn: bool,
}

impl SummedWriter {
    pub(super) fn create(path: PathBuf) -> Result<Self, RecordError> {
        let sums = Appended::create(sums_path(&path))?;
        Ok(Self {
            data: Appended::create(path)?,
            sums,
            torn: false,
        })
    }

    /// Appends one part, or leaves the file as it was.
    pub(super) fn append(&mut self, part: &[u8]) -> Result<(), RecordError> {
        if self.torn {
            self.cut_back()?;
        }
        let line = Line {
            from: self.data.length(),
            bytes: part.len() as u64,
            sum: xxh3_64(part),
        }
        .text();
        let written = self
            .data
            .append(part)
            .and_then(|()| self.sums.append(line.as_bytes()));
        match written {
            Ok(()) => {
                self.data.commit(part.len());
                self.sums.commit(line.len());
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                // If this fails too, the next append tries again.
                let _ = self.cut_back();
                Err(error)
            }
        }
    }

    fn cut_back(&mut self) -> Result<(), RecordError> {
        self.sums.cut_back()?;
        self.data.cut_back()?;
        self.torn = false;
        Ok(())
    }

    /// The entries to sync so that everything appended survives a power cut.
    pub(super) fn to_sync(&self) -> [ToSync<'_>; 2] {
        [self.data.to_sync(), self.sums.to_sync()]
    }
}

/// One line of the checksum file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    from: u64,
    bytes: u64,
    sum: u64,
}

impl Line {
    fn text(self) -> String {
        let body = self.body();
        let sum = hex(xxh3_64(body.as_bytes()));
        format!("{body} {sum}\n")
    }

    fn body(self) -> String {
        format!("{} {} {}", self.from, self.bytes, hex(self.sum))
    }

    /// Parses a line. `None` unless it equals what [`text`](Self::text) writes.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let line = Self {
            from: words.next()?.parse().ok()?,
            bytes: words.next()?.parse().ok()?,
            sum: u64::from_str_radix(words.next()?, 16).ok()?,
        };
        (line.text().as_bytes() == text).then_some(line)
    }
}

/// One part, as far as it is intact.
pub(super) struct Part {
    /// Its first byte.
    pub(super) from: u64,
    /// The range of its bytes. `None` if they were changed.
    pub(super) range: Option<Range<usize>>,
    /// The checksum of the bytes as written.
    pub(super) sum: u64,
}

/// All bytes of the file, and the parts with matching checksums, in order.
pub(super) struct Parts {
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<Part>,
    pub(super) problems: Vec<Problem>,
}

/// Reads a file that [`SummedWriter`] wrote or is writing. The size of the file decides the memory
/// taken, never a number in it.
pub(super) fn read_parts(path: &Path) -> Parts {
    let sums_path = sums_path(path);
    let mut problems = Vec::new();
    let mut read = |path: &Path| {
        fs::read(path).unwrap_or_else(|error| {
            problems.push(Problem::refused(path, &error));
            Vec::new()
        })
    };
    // Checksums are read first: a writer writes them after the parts.
    let sums = read(&sums_path);
    let bytes = read(path);
    let lines = read_lines(&sums_path, &sums, &mut problems);
    let sums_are_whole = problems.iter().all(Problem::is_torn_tail);
    let parts = verify(path, &bytes, &lines, &mut problems);
    if !sums_are_whole {
        // The bytes without checksums may be an unfinished write, or checksums may be lost.
        for problem in &mut problems {
            if let Damage::TornTail { bytes: tail } = problem.what
                && problem.path == path
            {
                let to = bytes.len() as u64;
                let from = to.saturating_sub(tail);
                problem.what = Damage::Unverified { from, to };
            }
        }
    }
    Parts {
        bytes,
        parts,
        problems,
    }
}

fn read_lines(path: &Path, text: &[u8], problems: &mut Vec<Problem>) -> Vec<Line> {
    let (mut lines, mut from) = (Vec::new(), 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let to = from + line.len();
        match (Line::parse(line), line.ends_with(b"\n")) {
            (Some(parsed), _) => lines.push(parsed),
            (None, true) => problems.push(Problem::new(
                path,
                Damage::Part {
                    from: from as u64,
                    to: to as u64,
                },
            )),
            (None, false) => problems.push(Problem::new(
                path,
                Damage::TornTail {
                    bytes: line.len() as u64,
                },
            )),
        }
        from = to;
    }
    lines
}

fn verify(path: &Path, bytes: &[u8], lines: &[Line], problems: &mut Vec<Problem>) -> Vec<Part> {
    let length = bytes.len() as u64;
    let (mut parts, mut covered) = (Vec::new(), 0u64);
    for line in lines {
        let Some(to) = line.from.checked_add(line.bytes) else {
            problems.push(Problem::malformed(
                path,
                "a checksum is for bytes beyond any file",
            ));
            continue;
        };
        if line.from < covered {
            problems.push(Problem::malformed(
                path,
                "two checksums are for the same bytes",
            ));
            continue;
        }
        if line.from > covered {
            let (from, to) = (covered, line.from);
            problems.push(Problem::new(path, Damage::Unverified { from, to }));
        }
        covered = to;
        let (Ok(start), Ok(end)) = (usize::try_from(line.from), usize::try_from(to)) else {
            continue;
        };
        let whole = bytes
            .get(start..end)
            .is_some_and(|part| xxh3_64(part) == line.sum);
        if !whole && to <= length {
            let from = line.from;
            problems.push(Problem::new(path, Damage::Part { from, to }));
        }
        parts.push(Part {
            from: line.from,
            range: whole.then_some(start..end),
            sum: line.sum,
        });
    }
    if covered > length {
        problems.push(Problem::new(
            path,
            Damage::Length {
                expected: covered,
                found: length,
            },
        ));
    } else if covered < length {
        let bytes = length - covered;
        problems.push(Problem::new(path, Damage::TornTail { bytes }));
    }
    parts
}
