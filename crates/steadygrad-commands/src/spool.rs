//! A temporary file of what has arrived on a stream, in whole lines.

use std::fs::File;
use std::io::{ErrorKind, Read, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use steadygrad_record::RecordError;
use tempfile::NamedTempFile;

/// Most bytes that are kept. They bound the disk, and the memory that a diagnosis takes.
const MOST: u64 = 1 << 30;

/// A line that is longer is kept in pieces, so that a stream without line ends takes no memory.
const LONGEST_LINE: usize = 1 << 20;

/// Bytes of one read.
const PIECE: usize = 1 << 16;

/// A stream's bytes on the disk. A thread reads the stream to its end, whatever happens: a training
/// that writes into a pipe must not wait or fail because of its reader.
pub(crate) struct Spool {
    file: NamedTempFile,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    bytes: AtomicU64,
    has_ended: AtomicBool,
    /// Why the rest of the stream is not kept.
    dropped: Mutex<Option<String>>,
}

impl Spool {
    /// Begins to read the stream.
    pub(crate) fn start(stream: impl Read + Send + 'static) -> Result<Self, RecordError> {
        let refused = |source| RecordError::Io {
            action: "keep the standard input in",
            path: std::env::temp_dir(),
            source,
        };
        let file = NamedTempFile::with_prefix("steadygrad-").map_err(refused)?;
        let writer = file.reopen().map_err(refused)?;
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            fill(stream, writer, &shared, MOST);
            shared.has_ended.store(true, Ordering::Release);
        });
        Ok(Self { file, state })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.bytes.load(Ordering::Acquire)
    }

    /// Whether the stream has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.has_ended.load(Ordering::Acquire)
    }

    /// A note if a part of the stream is not in the file.
    pub(crate) fn note(&self) -> Option<String> {
        let dropped = self.state.dropped.lock();
        let reason = dropped
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()?;
        Some(format!(
            "only the first {} bytes of the standard input are judged: {reason}",
            self.bytes()
        ))
    }
}

/// Writes the stream's whole lines into the file, and at the stream's end the rest. A line without
/// its end may hold half a number.
fn fill(mut stream: impl Read, mut file: File, state: &State, most: u64) {
    let (mut piece, mut pending) = (vec![0; PIECE], Vec::new());
    let mut keep = |bytes: &[u8]| {
        let mut dropped = state
            .dropped
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if dropped.is_some() || bytes.is_empty() {
            return;
        }
        let all = state.bytes.load(Ordering::Relaxed) + bytes.len() as u64;
        if all > most {
            *dropped = Some(format!("at most {most} are kept; diagnose the file itself"));
        } else if let Err(error) = file.write_all(bytes) {
            *dropped = Some(format!("the temporary file cannot be written ({error})"));
        } else {
            state.bytes.store(all, Ordering::Release);
        }
    };
    loop {
        let count = match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        pending.extend_from_slice(&piece[..count]);
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let whole = match pending.iter().rposition(is_end) {
            Some(last) => last + 1,
            None if pending.len() >= LONGEST_LINE => pending.len(),
            None => continue,
        };
        keep(&pending[..whole]);
        pending.drain(..whole);
    }
    keep(&pending);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one piece at each read, and looks at the file before it.
    struct Pieces<'a, F: FnMut()> {
        pieces: std::slice::Iter<'a, &'a str>,
        look: F,
    }

    impl<F: FnMut()> Read for Pieces<'_, F> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            (self.look)();
            let piece = self.pieces.next().copied().unwrap_or_default().as_bytes();
            into[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    /// The file's content before each read and at the end, and why a part is missing.
    fn kept(pieces: &[&str], most: u64) -> (Vec<String>, Option<String>) {
        let file = NamedTempFile::new().unwrap();
        let mut seen = Vec::new();
        let state = State::default();
        let content = || std::fs::read_to_string(file.path()).unwrap();
        let look = || seen.push(content());
        let stream = Pieces {
            pieces: pieces.iter(),
            look,
        };
        fill(stream, file.reopen().unwrap(), &state, most);
        seen.push(content());
        assert_eq!(state.bytes.load(Ordering::Relaxed), content().len() as u64);
        (seen, state.dropped.into_inner().unwrap())
    }

    #[test]
    fn half_a_number_is_never_seen() {
        let (seen, dropped) = kept(&["loss 2.5", "e9\nloss 1", "\rloss 3"], MOST);
        let whole = "loss 2.5e9\n";
        let last = "loss 2.5e9\nloss 1\r";
        assert_eq!(seen, ["", "", whole, last, "loss 2.5e9\nloss 1\rloss 3"]);
        assert_eq!(dropped, None);
    }

    #[test]
    fn a_full_spool_drops_the_rest_and_says_so() {
        let (seen, dropped) = kept(&["one\n", "two\n", "three\n", "4\n"], 9);
        assert_eq!(seen.last().unwrap(), "one\ntwo\n");
        assert!(dropped.unwrap().starts_with("at most 9 are kept"));
        assert_eq!(kept(&[], MOST), (vec![String::new(); 2], None));
    }
}
