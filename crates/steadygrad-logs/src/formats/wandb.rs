//! W&B's own file, `run-*.wandb`, in which it keeps a run offline and before an upload.
//!
//! Seven bytes come first: `:W&B`, two bytes of a magic number and one of a version. LevelDB's log
//! format follows (its `doc/log_format.md`), with a plain CRC-32 of a part's type and data as the
//! checksum. Blocks of 32 KiB, counted from the file's first byte, hold parts. A part has a header
//! of seven bytes (checksum, length, type). One or more parts make a record, a `Record` in protobuf
//! with the field numbers of `wandb_internal.proto`.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use prost::Message;
use serde_json::{Map, Value};
use steadygrad::Trace;

use crate::format::{Format, anywhere};
use crate::objects::Objects;
use crate::{Columns, LogError, lenient};

pub(super) const FORMAT: Format = Format {
    name: "W&B offline run",
    recognise: |head| head.bytes().starts_with(BEGIN),
    endings: &["wandb"],
    place: anywhere,
    read: |files, columns| read(&files[0], columns).map(|trace| vec![trace]),
};

/// The first bytes of a file; its version follows.
const BEGIN: &[u8] = b":W&B\xe1\xbe";

/// Bytes before the first part: the beginning and the version.
const FILE_HEADER: usize = BEGIN.len() + 1;

const BLOCK: usize = 1 << 15;

/// Bytes before a part's data.
const HEADER: usize = 7;

/// The largest record of several parts. Histories have a few numbers a step.
const LARGEST: usize = 1 << 26;

/// Types of parts.
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, optional, tag = "2")]
    history: Option<History>,
}

#[derive(Clone, PartialEq, Message)]
struct History {
    #[prost(message, repeated, tag = "1")]
    item: Vec<Item>,
    #[prost(message, optional, tag = "2")]
    step: Option<Step>,
}

#[derive(Clone, PartialEq, Message)]
struct Item {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, repeated, tag = "2")]
    nested_key: Vec<String>,
    #[prost(string, tag = "16")]
    value_json: String,
}

#[derive(Clone, PartialEq, Message)]
struct Step {
    #[prost(int64, tag = "1")]
    num: i64,
}

/// W&B's column of steps.
const STEP: &str = "_step";

/// Reads the rows that `run.log` wrote into one file.
fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let file = File::open(path).map_err(LogError::io(path))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut parts = Parts::default();
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        let read = reader
            .by_ref()
            .take(BLOCK as u64)
            .read_to_end(&mut block)
            .map_err(LogError::io(path))?;
        if read == 0 {
            break;
        }
        let begin = if parts.at == 0 { FILE_HEADER } else { 0 };
        parts.block(&block, begin);
    }
    let notes = parts.notes();
    parts.rows.trace(path, FORMAT.name, columns, notes)
}

/// The state of the reading.
#[derive(Default)]
struct Parts {
    rows: Objects,
    /// The parts so far of a record that is not complete.
    open: Option<Vec<u8>>,
    /// Bytes in the blocks already read.
    at: u64,
    damaged: usize,
    first_damaged: u64,
    /// Where the file was cut off within a part.
    cut: Option<u64>,
}

impl Parts {
    fn block(&mut self, block: &[u8], begin: usize) {
        let mut at = begin;
        while let Some(rest) = block.get(at..).filter(|rest| rest.len() >= HEADER) {
            let (header, data) = rest.split_at(HEADER);
            let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
            let Some(data) = data.get(..length) else {
                // Only the last block may be short: it is being written, or was cut off.
                if block.len() < BLOCK {
                    self.cut = Some(self.at + at as u64);
                } else {
                    self.damage(at);
                }
                self.open = None;
                break;
            };
            let mut sum = crc32fast::Hasher::new();
            sum.update(&header[6..]);
            sum.update(data);
            if sum.finalize().to_le_bytes() != header[..4] {
                // The length may be wrong, so reading goes on with the next block.
                self.damage(at);
                self.open = None;
                break;
            }
            self.part(header[6], data, at);
            at += HEADER + length;
        }
        // In a whole block fewer bytes than a header are padding; in a short one they were cut off.
        let short = block.len() < BLOCK && (1..HEADER).contains(&block.len().saturating_sub(at));
        if short && self.cut.is_none() {
            self.cut = Some(self.at + at as u64);
        }
        self.at += block.len() as u64;
    }

    fn part(&mut self, kind: u8, data: &[u8], at: usize) {
        match (kind, self.open.take()) {
            (WHOLE, open) => {
                self.damage_if(open.is_some(), at);
                self.record(data, at);
            }
            (FIRST, open) => {
                self.damage_if(open.is_some(), at);
                self.open = Some(data.to_vec());
            }
            (MIDDLE | LAST, Some(mut open)) if open.len() + data.len() <= LARGEST => {
                open.extend(data);
                if kind == LAST {
                    self.record(&open, at);
                } else {
                    self.open = Some(open);
                }
            }
            _ => self.damage(at),
        }
    }

    fn record(&mut self, data: &[u8], at: usize) {
        match Record::decode(data) {
            Ok(Record {
                history: Some(history),
            }) => self.rows.push(&row(history)),
            Ok(_) => {}
            Err(_) => self.damage(at),
        }
    }

    fn damage_if(&mut self, damaged: bool, at: usize) {
        if damaged {
            self.damage(at);
        }
    }

    fn damage(&mut self, at: usize) {
        if self.damaged == 0 {
            self.first_damaged = self.at + at as u64;
        }
        self.damaged += 1;
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.damaged > 0 {
            notes.push(format!(
                "{} damaged places were left out, each up to the next block of 32 KiB, the first at \
                 byte {}",
                self.damaged, self.first_damaged
            ));
        }
        match (self.cut, &self.open) {
            (Some(at), _) => notes.push(format!(
                "it was cut off, or is being written, at byte {at}; everything before it was read"
            )),
            (None, Some(_)) => notes.push(
                "it ends within a record: it was cut off, or is being written; everything before it \
                 was read"
                    .into(),
            ),
            _ => {}
        }
        notes
    }
}

/// One row by name. Nested values carry the names of all levels, `outer/inner`.
fn row(history: History) -> Map<String, Value> {
    let mut row = Map::new();
    for item in history.item {
        let name = if item.nested_key.is_empty() {
            item.key
        } else {
            item.nested_key.join("/")
        };
        if let Ok(value) = lenient::parse(item.value_json.as_bytes()) {
            row.insert(name, value);
        }
    }
    if let Some(step) = history.step
        && !row.contains_key(STEP)
    {
        row.insert(STEP.into(), step.num.into());
    }
    row
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::Role;

    use super::*;

    fn part(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&[kind]);
        sum.update(data);
        let mut part = sum.finalize().to_le_bytes().to_vec();
        part.extend((data.len() as u16).to_le_bytes());
        part.push(kind);
        part.extend(data);
        part
    }

    /// Lays the records out as W&B's writer does.
    fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [BEGIN, &[0]].concat();
        for record in records {
            let (mut rest, mut first) = (record.as_slice(), true);
            loop {
                let left = BLOCK - file.len() % BLOCK;
                if left < HEADER {
                    file.resize(file.len() + left, 0);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(left - HEADER));
                file.extend(part(
                    match (first, later.is_empty()) {
                        (true, true) => WHOLE,
                        (true, false) => FIRST,
                        (false, false) => MIDDLE,
                        (false, true) => LAST,
                    },
                    now,
                ));
                (rest, first) = (later, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        file
    }

    fn record(step: i64, loss: &str, filling: usize) -> Vec<u8> {
        let item = |key: &str, value: &str| Item {
            key: String::new(),
            nested_key: key.split('/').map(Into::into).collect(),
            value_json: value.into(),
        };
        let text = format!("\"{}\"", "x".repeat(filling));
        let history = History {
            item: vec![item("train/loss", loss), item("note", &text)],
            step: Some(Step { num: step }),
        };
        let history = Some(history);
        Record { history }.encode_to_vec()
    }

    fn of(bytes: &[u8]) -> Result<Trace, LogError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run-a.wandb");
        std::fs::write(&path, bytes).unwrap();
        read(&path, &Columns::default())
    }

    fn losses(trace: &Trace) -> Vec<f64> {
        trace.series(&Role::Loss).unwrap().values().to_vec()
    }

    #[test]
    fn records_within_a_block_and_over_several() {
        // The second leaves less than a header in its block, the fourth spans three.
        let filling = BLOCK - FILE_HEADER - 3;
        let head = record(0, "2.5", 0).len() + 2 * HEADER + record(1, "1.5", 1000).len() - 1000;
        let records = [
            record(0, "2.5", 0),
            record(1, "1.5", filling - head - 1),
            record(2, "NaN", 10),
            record(3, "-Infinity", 80_000),
            record(4, "1e300", 0),
        ];
        let trace = of(&file(&records)).unwrap();
        let read = losses(&trace);
        assert_eq!((read[0], read[1], read[4]), (2.5, 1.5, 1e300));
        assert!(read[2].is_nan() && read[3] == f64::NEG_INFINITY);
        let series = trace.series(&Role::Loss).unwrap();
        assert_eq!(series.steps().to_vec(), [0, 1, 2, 3, 4]);
        assert_eq!(trace.notes.len(), 0, "{:?}", trace.notes);
    }

    #[test]
    fn cut_anywhere_what_came_before_is_read_and_told() {
        let records: Vec<Vec<u8>> = (0..6).map(|step| record(step, "0.5", 0)).collect();
        let whole = file(&records);
        let each = HEADER + records[1].len();
        let first = FILE_HEADER + HEADER + records[0].len();
        for cut in first..whole.len() {
            let trace = of(&whole[..cut]).unwrap();
            let clean = (cut - first).is_multiple_of(each);
            assert_eq!(losses(&trace).len(), 1 + (cut - first) / each, "{cut}");
            assert_eq!(trace.notes.is_empty(), clean, "{cut}: {:?}", trace.notes);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed_and_the_next_block_is_read() {
        let records: Vec<Vec<u8>> = (0..40)
            .map(|step| record(step, &format!("{step}"), 2000))
            .collect();
        let whole = file(&records);
        assert!(whole.len() > 2 * BLOCK);
        for byte in (FILE_HEADER..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << (byte % 8);
            let trace = of(&bytes).unwrap();
            // The padding at a block's end carries no meaning.
            let read = losses(&trace);
            assert!(!trace.notes.is_empty() || read.len() == 40, "byte {byte}");
            assert!(read.len() > 20, "byte {byte}: {}", read.len());
            assert!(read.iter().all(|loss| loss.fract() == 0.0 && *loss < 40.0));
        }
    }

    #[test]
    fn parts_out_of_order_are_damage() {
        let some = record(0, "1", 0);
        let stray = |kind| {
            let mut bytes = [BEGIN, &[0]].concat();
            bytes.extend(part(WHOLE, &some));
            bytes.extend(part(kind, &some));
            bytes.extend(part(WHOLE, &some));
            of(&bytes).unwrap()
        };
        for kind in [FIRST, MIDDLE, LAST, 0, 9] {
            let trace = stray(kind);
            assert_eq!(losses(&trace).len(), 2, "{kind}");
            assert!(
                trace.notes.iter().any(|note| note.contains("damaged")),
                "{kind}"
            );
        }
        let no_record = [BEGIN, &[0], &part(WHOLE, b"\xff\xff\xff")].concat();
        assert!(of(&no_record).is_err());
    }
}
