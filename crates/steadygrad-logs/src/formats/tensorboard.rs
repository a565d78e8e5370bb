//! TensorBoard's event files: records with checksums (TFRecord), each an `Event` in protobuf.
//!
//! A record is its length (8 bytes), that length's checksum (4), the data, and the data's checksum
//! (4); a checksum is a masked CRC-32C. Field numbers are those of TensorFlow's `event.proto`,
//! `summary.proto` and `tensor.proto`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use prost::Message;
use steadygrad::Trace;

use crate::format::{Format, Place};
use crate::names::{is_held_out, words};
use crate::own_steps::{self, is_read};
use crate::{Columns, LogError, name_of};

pub(super) const FORMAT: Format = Format {
    name: "TensorBoard event file",
    // An event file begins with a record.
    recognise: |head| length(head.bytes()).is_some(),
    endings: &[],
    place,
    read: |files, columns| read(files, columns).map(|trace| vec![trace]),
};

/// Event files have any ending; `tfevents` is in their name. All files of one folder are one run.
fn place(path: &Path) -> Place {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.contains("tfevents") {
        true => Place::Part(run_of(path)),
        false => Place::Unknown,
    }
}

/// The words for a folder of the training's own events.
const TRAIN: [&str; 2] = ["train", "training"];

/// The folder of a run, or a name for it that no other run has.
///
/// Keras writes `train` and `validation` side by side, TensorFlow's estimator `eval` in the run's
/// folder, and PyTorch's `add_scalars` `loss_train` and `loss_val`.
fn run_of(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    let Some(above) = folder.parent().filter(|_| folder.file_name().is_some()) else {
        return folder.to_owned();
    };
    let stem = |folder: &Path, is_wanted: &dyn Fn(&str) -> bool| {
        let mut words = words(&folder.file_name()?.to_string_lossy());
        let is_last = words.last().is_some_and(|word| is_wanted(word));
        is_last.then(|| words.pop())?;
        Some(words.join("_"))
    };
    let is_train = |word: &str| TRAIN.contains(&word);
    let of_train = stem(folder, &is_train);
    let of_held_out = stem(folder, &is_held_out);
    let has_sibling = |wanted: &str, kind: &dyn Fn(&str) -> bool| {
        let entries = std::fs::read_dir(above).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .any(|path| path.is_dir() && stem(&path, kind).as_deref() == Some(wanted))
    };
    match (of_train, of_held_out) {
        (Some(stem), _) if has_sibling(&stem, &is_held_out) => above.join(stem),
        (_, Some(stem)) if has_sibling(&stem, &is_train) => above.join(stem),
        (_, Some(stem)) if stem.is_empty() && has_events(above) => above.to_owned(),
        _ => folder.to_owned(),
    }
}

fn has_events(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .into_iter()
        .any(|name| name.to_string_lossy().contains("tfevents"))
}

/// Bytes before a record's data.
const HEADER: usize = 12;

/// Bytes after a record's data.
const FOOTER: usize = 4;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(bytes = "vec", tag = "4")]
    tensor_content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    double_val: Vec<f64>,
}

/// TensorFlow's `DT_FLOAT` and `DT_DOUBLE`.
const FLOAT: i32 = 1;
const DOUBLE: i32 = 2;

impl Value {
    /// The scalar in either encoding. `None` for images, histograms and texts.
    fn scalar(&self) -> Option<f64> {
        if let Some(value) = self.simple_value {
            return Some(f64::from(value));
        }
        let tensor = self.tensor.as_ref()?;
        match (tensor.dtype, tensor.tensor_content.as_slice()) {
            (FLOAT, []) => single(&tensor.float_val).map(f64::from),
            (DOUBLE, []) => single(&tensor.double_val),
            (FLOAT, bytes) => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
            (DOUBLE, bytes) => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
            _ => None,
        }
    }
}

fn single<T: Copy>(values: &[T]) -> Option<T> {
    match values {
        [value] => Some(*value),
        _ => None,
    }
}

/// The checksum of TFRecord.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The length of a record. `None` if the header is damaged.
fn length(header: &[u8]) -> Option<u64> {
    let (length, sum) = header.get(..HEADER)?.split_at(8);
    let expected = u32::from_le_bytes(sum.try_into().ok()?);
    (masked_crc(length) == expected)
        .then(|| u64::from_le_bytes(length.try_into().unwrap_or_default()))
}

/// The values of all tags, with their steps.
#[derive(Default)]
struct Tags {
    places: HashMap<String, usize>,
    names: Vec<String>,
    columns: Vec<(Vec<u64>, Vec<f64>)>,
    /// Whether a tag may be read. A run may have thousands of tags that no rule uses.
    wanted: Vec<bool>,
    notes: Vec<String>,
    /// Whether the file is about held-out data.
    is_held_out: bool,
}

/// Reads the files of one run in their order.
fn read(files: &[PathBuf], columns: &Columns) -> Result<Trace, LogError> {
    let first = files.first().map(PathBuf::as_path).unwrap_or(Path::new(""));
    let folder = run_of(first);
    let run = Some(folder.as_path()).filter(|folder| folder.file_name().is_some());
    let run = run.unwrap_or(first);
    let mut tags = Tags::default();
    for file in files {
        // The tags of held-out events are those of the training's.
        let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
        let is_apart = files.iter().any(|other| other.parent() != file.parent());
        tags.is_held_out = is_apart && is_held_out(&folder.to_string_lossy());
        tags.read(file, columns)?;
    }
    let name = name_of(run);
    let steps = (tags.names, tags.columns);
    own_steps::trace(first, name, FORMAT.name, steps, columns, tags.notes)
}

impl Tags {
    fn read(&mut self, path: &Path, columns: &Columns) -> Result<(), LogError> {
        let file = File::open(path).map_err(LogError::io(path))?;
        let size = file.metadata().map_err(LogError::io(path))?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut at, mut damaged, mut first_damaged) = (0u64, 0usize, 0u64);
        let (mut header, mut record) = ([0; HEADER], Vec::new());
        let cut = loop {
            let left = size.saturating_sub(at);
            if left == 0 {
                break None;
            }
            if left < (HEADER + FOOTER) as u64 || reader.read_exact(&mut header).is_err() {
                break Some("it was cut off");
            }
            // Without the length the next record cannot be found.
            let Some(length) = length(&header) else {
                break Some("a record's length does not fit its checksum");
            };
            let whole = length
                .checked_add((HEADER + FOOTER) as u64)
                .filter(|whole| *whole <= left);
            let Some(whole) = whole else {
                break Some("it was cut off");
            };
            record.resize((whole - HEADER as u64) as usize, 0);
            if reader.read_exact(&mut record).is_err() {
                break Some("it was cut off");
            }
            let (data, sum) = record.split_at(record.len() - FOOTER);
            let fits = sum
                .try_into()
                .is_ok_and(|sum| u32::from_le_bytes(sum) == masked_crc(data));
            match fits.then(|| Event::decode(data)) {
                Some(Ok(event)) => self.push(event, columns),
                _ => {
                    damaged += 1;
                    first_damaged = if damaged == 1 { at } else { first_damaged };
                }
            }
            at += whole;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if damaged > 0 {
            self.notes.push(format!(
                "`{name}`: {damaged} damaged records were left out, the first at byte \
                 {first_damaged}"
            ));
        }
        if let Some(why) = cut {
            self.notes.push(format!(
                "`{name}`: {why} at byte {at} of {size}; everything before it was read"
            ));
        }
        Ok(())
    }

    /// Adds a tag and returns its place.
    fn add(&mut self, tag: String, columns: &Columns) -> usize {
        let asked = [&columns.loss, &columns.grad_norm, &columns.learning_rate];
        let is_asked = asked.into_iter().flatten().any(|asked| *asked == tag);
        let place = self.names.len();
        self.wanted.push(is_asked || is_read(&tag));
        self.columns.push(Default::default());
        self.names.push(tag.clone());
        self.places.insert(tag, place);
        place
    }

    fn push(&mut self, event: Event, columns: &Columns) {
        let step = u64::try_from(event.step).unwrap_or(0);
        for value in event.summary.into_iter().flat_map(|summary| summary.value) {
            let Some(scalar) = value.scalar() else {
                continue;
            };
            let tag = match self.is_held_out && !is_held_out(&value.tag) {
                true => format!("val/{}", value.tag),
                false => value.tag,
            };
            let place = match self.places.get(&tag) {
                Some(place) => *place,
                None => self.add(tag, columns),
            };
            if self.wanted[place] {
                let (steps, values) = &mut self.columns[place];
                steps.push(step);
                values.push(scalar);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::{Role, StepUnit};

    use super::*;
    use crate::format::Head;

    fn event(step: i64, tag: &str, value: f32) -> Event {
        let value = Value {
            tag: tag.into(),
            simple_value: Some(value),
            tensor: None,
        };
        Event {
            step,
            summary: Some(Summary { value: vec![value] }),
        }
    }

    fn record(event: &Event) -> Vec<u8> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(&data);
        record.extend(masked_crc(&data).to_le_bytes());
        record
    }

    fn of(bytes: &[u8]) -> Result<Trace, LogError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.1");
        std::fs::write(&path, bytes).unwrap();
        read(&[path], &Columns::default())
    }

    fn losses(trace: &Trace) -> Vec<f64> {
        trace.series(&Role::Loss).unwrap().values().to_vec()
    }

    /// The checksum against the one in TensorFlow's own test of it: 32 bytes of zero.
    #[test]
    fn the_checksum_is_tensorflow_s() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        for other in [&b"step,loss\n0,1\n"[..], &[0; 12], &[]] {
            assert!(!(FORMAT.recognise)(&Head::new(other)));
        }
    }

    #[test]
    fn scalars_of_both_styles_by_tag() {
        let tensor = |tensor: TensorProto| Event {
            step: 1,
            summary: Some(Summary {
                value: vec![Value {
                    tag: "train/loss".into(),
                    simple_value: None,
                    tensor: Some(tensor),
                }],
            }),
        };
        let events = [
            Event::default(),
            event(0, "train/loss", 2.5),
            event(0, "images", 1.0),
            tensor(TensorProto {
                dtype: FLOAT,
                tensor_content: 1.5f32.to_le_bytes().into(),
                ..TensorProto::default()
            }),
            tensor(TensorProto {
                dtype: FLOAT,
                float_val: vec![f32::NAN],
                ..TensorProto::default()
            }),
            tensor(TensorProto {
                dtype: DOUBLE,
                double_val: vec![1e300],
                ..TensorProto::default()
            }),
            tensor(TensorProto {
                dtype: FLOAT,
                float_val: vec![1.0, 2.0],
                ..TensorProto::default()
            }),
            tensor(TensorProto {
                dtype: 7,
                ..TensorProto::default()
            }),
            event(2, "lr", 0.125),
        ];
        let trace = of(&events.iter().flat_map(record).collect::<Vec<u8>>()).unwrap();
        let loss = losses(&trace);
        assert_eq!(
            (loss.len(), loss[0], loss[1], loss[3]),
            (4, 2.5, 1.5, 1e300)
        );
        assert!(loss[2].is_nan());
        assert_eq!(trace.series(&Role::LearningRate).unwrap().values(), [0.125]);
        assert_eq!(trace.unmatched, ["images"]);
    }

    #[test]
    fn cut_anywhere_the_records_before_are_read() {
        let records: Vec<Vec<u8>> = (1..7)
            .map(|step| record(&event(step, "loss", step as f32)))
            .collect();
        let whole = records.concat();
        for cut in records[0].len()..whole.len() {
            let trace = of(&whole[..cut]).unwrap();
            let read = losses(&trace);
            assert_eq!(read.len(), cut / records[0].len(), "cut at {cut}");
            let clean = cut % records[0].len() == 0;
            assert_eq!(trace.notes.is_empty(), clean, "{:?}", trace.notes);
        }
        assert!(of(&whole[..5]).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let records: Vec<Vec<u8>> = (0..4)
            .map(|step| record(&event(step, "loss", step as f32)))
            .collect();
        let whole = records.concat();
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[byte] ^= 1 << bit;
                let Ok(trace) = of(&bytes) else { continue };
                assert!(!trace.notes.is_empty(), "byte {byte}");
                // What is left are values that were there.
                assert!(
                    losses(&trace)
                        .iter()
                        .all(|loss| [0.0, 1.0, 2.0, 3.0].contains(loss))
                );
            }
        }
    }

    #[test]
    fn events_of_held_out_data_belong_to_the_run_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |run: &str, tag: &str, value: f32| {
            let run = folder.path().join(run);
            std::fs::create_dir_all(&run).unwrap();
            let events: Vec<u8> = (0..3)
                .flat_map(|step| record(&event(step, tag, value)))
                .collect();
            std::fs::write(run.join("events.out.tfevents.1"), events).unwrap();
        };
        write("keras/train", "epoch_loss", 1.0);
        write("keras/validation", "epoch_loss", 2.0);
        write("estimator", "loss", 1.0);
        write("estimator/eval", "loss", 2.0);
        write("torch/loss_train", "loss", 1.0);
        write("torch/loss_val", "loss", 2.0);
        write("alone/test", "loss", 1.0);
        let traces = crate::read(folder.path(), &Columns::default()).unwrap();
        let of = |trace: &Trace, role: Role| trace.series(&role).map(|series| series.values()[0]);
        let found: Vec<_> = traces
            .iter()
            .map(|trace| {
                let (loss, held_out) = (of(trace, Role::Loss), of(trace, Role::ValidationLoss));
                (trace.name.as_str(), loss, held_out)
            })
            .collect();
        let both = (Some(1.0), Some(2.0));
        let expected = [("estimator", both), ("keras", both), ("loss", both)];
        let expected = expected.map(|(name, (loss, held_out))| (name, loss, held_out));
        assert_eq!(found[..3], expected);
        assert_eq!(found[3], ("test", Some(1.0), None));
        assert_eq!(traces[1].unit, StepUnit::Epoch);
    }
}
