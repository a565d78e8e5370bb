//! Reading `steps.arrow` and its further segments back.

use std::io::Read;
use std::path::Path;

use arrow_array::{Array, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::reader::StreamReader;
use arrow_schema::ArrowError;
use xxhash_rust::xxh3::xxh3_64;

use super::RecordError;
use super::manifest::RunFile;
use super::problem::{Found, Problem};
use super::segments::{Log, Rows, join};
use super::step_batch;
use super::steps::{PARAMETER_PREFIX, StepRecord, header, header_before_weight_norm};
use super::summed::{Parts, read_parts};

/// All rows of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTable {
    /// Parameter names of the `grad_norm/<parameter>` columns.
    pub parameters: Vec<String>,
    /// The rows.
    pub rows: Vec<StepRecord>,
    /// The segments of the rows: one for each time that the run was begun or resumed.
    pub segments: Vec<Segment>,
}

/// One segment of a run's steps, begun when the run was begun or resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its file's name.
    pub file: String,
    /// Its first step. `None` if neither the manifest nor a row holds it.
    pub first_step: Option<u64>,
    /// The number of rows that could be read.
    pub rows: usize,
    /// The number of these that the table lacks, because later segments repeated the steps.
    pub replaced: usize,
}

/// Reads the steps of a run directory, which may still be written or whose writer may be dead.
///
/// Every batch is verified. Torn or changed batches are left out and named. Where a resumed run
/// repeated steps, the table has the later rows, and [`Segment::replaced`] counts the earlier ones.
///
/// # Errors
/// [`RecordError::Io`] if the folder has no step file or cannot be listed.
pub fn read_steps(run: &Path) -> Result<Found<StepTable>, RecordError> {
    let manifest = RunFile::read_if_whole(run)?;
    let (manifest, mut problems) = (manifest.value, manifest.problems);
    let mut parameters = manifest.as_ref().map(|run| run.manifest.parameters.clone());
    let (mut segments, mut files) = (Vec::new(), Vec::new());
    for number in Log::Steps.list(run, manifest.as_ref())? {
        let path = Log::Steps.path(run, number);
        let read = read_parts(&path);
        problems.extend(read.problems.iter().cloned());
        let (named, rows) = rows(&path, &read, parameters.as_deref(), &mut problems);
        parameters = parameters.or(named);
        let first_step = manifest.as_ref().and_then(|run| run.first_step(number));
        let name = path.file_name().unwrap_or_default();
        files.push(Segment {
            file: name.to_string_lossy().into_owned(),
            first_step: first_step.or_else(|| rows.first().map(|row| row.step)),
            rows: rows.len(),
            replaced: 0,
        });
        segments.push(Rows { first_step, rows });
    }
    let (rows, replaced) = join(segments, |row: &StepRecord| row.step);
    for (file, replaced) in files.iter_mut().zip(replaced) {
        file.replaced = replaced;
    }
    let value = StepTable {
        parameters: parameters.unwrap_or_default(),
        rows,
        segments: files,
    };
    Ok(Found { value, problems })
}

/// The rows of one segment, and the parameters that its header names.
fn rows(
    path: &Path,
    read: &Parts,
    known: Option<&[String]>,
    problems: &mut Vec<Problem>,
) -> (Option<Vec<String>>, Vec<StepRecord>) {
    let (first, batches) = match read.parts.split_first() {
        Some((first, batches)) if first.from == 0 => (Some(first), batches),
        // The header's checksum is lost.
        _ => (None, &read.parts[..]),
    };
    if batches.is_empty() && first.is_none() {
        return (None, Vec::new());
    }
    // A damaged header can be rebuilt from the parameters in the manifest. Its checksum, or else
    // its bytes, show whether the result is the original.
    let is_this = |bytes: &Vec<u8>| match first {
        Some(first) => xxh3_64(bytes) == first.sum,
        None => read.bytes.starts_with(bytes),
    };
    let rebuilt = known.and_then(|parameters| {
        let all = [header(parameters), header_before_weight_norm(parameters)];
        all.into_iter().flatten().find(is_this)
    });
    let found = first
        .and_then(|first| first.range.clone())
        .and_then(|range| read.bytes.get(range))
        .filter(|header| step_batch::check_header(header).is_ok());
    let Some(header) = found.or(rebuilt.as_deref()) else {
        problems.push(Problem::malformed(
            path,
            "it does not begin with its columns, and they cannot be made out from `run.json`",
        ));
        return (None, Vec::new());
    };
    let mut rows = Vec::new();
    let mut named = None;
    for range in batches.iter().filter_map(|part| part.range.clone()) {
        let part = read.bytes.get(range).unwrap_or_default();
        if let Err(error) = decode(header, part, known, &mut named, &mut rows) {
            problems.push(Problem::malformed(path, error));
        }
    }
    if named.is_none() {
        named = StreamReader::try_new(header, None)
            .ok()
            .map(|reader| parameters(&reader));
    }
    (named, rows)
}

fn parameters<R: Read>(reader: &StreamReader<R>) -> Vec<String> {
    let schema = reader.schema();
    let names = schema.fields().iter().map(|field| field.name());
    names
        .filter_map(|name| name.strip_prefix(PARAMETER_PREFIX).map(str::to_owned))
        .collect()
}

/// Each part is decoded alone, so that a damaged part does not hide the others.
fn decode(
    header: &[u8],
    part: &[u8],
    known: Option<&[String]>,
    named: &mut Option<Vec<String>>,
    rows: &mut Vec<StepRecord>,
) -> Result<(), ArrowError> {
    let reader = StreamReader::try_new(header.chain(part), None)?;
    let parameters = parameters(&reader);
    if known.is_some_and(|known| known != parameters) {
        let message = "its parameters are not those of the run";
        return Err(ArrowError::SchemaError(message.into()));
    }
    step_batch::check(&reader.schema(), part)?;
    for batch in reader {
        append_rows(&batch?, &parameters, rows)?;
    }
    named.get_or_insert(parameters);
    Ok(())
}

fn append_rows(
    batch: &RecordBatch,
    parameters: &[String],
    rows: &mut Vec<StepRecord>,
) -> Result<(), ArrowError> {
    fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, ArrowError> {
        batch
            .column_by_name(name)
            .and_then(|column| column.as_any().downcast_ref::<T>())
            .ok_or_else(|| {
                ArrowError::SchemaError(format!(
                    "it has no column `{name}` of the expected type; it was not written by \
                     steadygrad"
                ))
            })
    }
    let float = |name: &str| column::<Float64Array>(batch, name);
    let count = |name: &str| column::<UInt64Array>(batch, name);
    let (step, non_finite, subnormal) = (count("step")?, count("non_finite")?, count("subnormal")?);
    let (loss, learning_rate) = (float("loss")?, float("learning_rate")?);
    let learning_rate_scale = float("learning_rate_scale")?;
    let (grad_norm, grad_norm_clipped) = (float("grad_norm")?, float("grad_norm_clipped")?);
    let (update_norm, batch_id) = (float("update_norm")?, count("batch")?);
    // Runs from before this column existed lack it.
    let weight_norm = match batch.column_by_name("weight_norm") {
        Some(_) => Some(float("weight_norm")?),
        None => None,
    };
    let decision = column::<StringArray>(batch, "decision")?;
    let tensors = parameters
        .iter()
        .map(|name| float(&format!("{PARAMETER_PREFIX}{name}")))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        rows.push(StepRecord {
            step: step.value(row),
            loss: loss.value(row),
            learning_rate: learning_rate.value(row),
            learning_rate_scale: learning_rate_scale.value(row),
            grad_norm: grad_norm.value(row),
            grad_norm_clipped: grad_norm_clipped.value(row),
            update_norm: update_norm.is_valid(row).then(|| update_norm.value(row)),
            weight_norm: weight_norm
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row)),
            non_finite: non_finite.value(row),
            subnormal: subnormal.value(row),
            batch: batch_id.is_valid(row).then(|| batch_id.value(row)),
            decision: decision.value(row).to_owned(),
            tensor_norms: tensors.iter().map(|column| column.value(row)).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::StepWriter;
    use steadygrad::{Decision, StepReading};

    #[test]
    fn rows_from_before_the_weight_norm_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("steps.arrow");
        let parameters = ["a".to_owned()];
        let mut writer = StepWriter::create(path.clone(), &parameters).unwrap();
        let reading = StepReading::default().with_weight_norms(vec![3.0]);
        let row = StepRecord::new(&reading, &Decision::Keep);
        assert_eq!(row.weight_norm, Some(3.0));
        writer.push(row.clone()).unwrap();
        writer.flush().unwrap();
        let bytes = std::fs::read(path).unwrap();
        let batch = StreamReader::try_new(&bytes[..], None).unwrap().next();
        let batch = batch.unwrap().unwrap();
        let names = batch.schema();
        let older: Vec<usize> = (0..batch.num_columns())
            .filter(|column| names.field(*column).name() != "weight_norm")
            .collect();
        let older = batch.project(&older).unwrap();
        let header = header_before_weight_norm(&parameters).unwrap();
        let mut writer =
            arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &older.schema()).unwrap();
        writer.write(&older).unwrap();
        let part = writer.get_ref().strip_prefix(&header[..]).unwrap();
        let (mut named, mut rows) = (None, Vec::new());
        decode(&header, part, None, &mut named, &mut rows).unwrap();
        let expected = StepRecord {
            weight_norm: None,
            tensor_norms: vec![f64::NAN],
            ..row
        };
        assert_eq!(format!("{rows:?}"), format!("{:?}", [expected]));
    }

    /// Checksums are the first line of defence. Damage that fits its checksum must not panic
    /// either, whichever bit it changes.
    #[test]
    fn no_flipped_bit_of_a_batch_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("steps.arrow");
        let parameters = ["a".to_owned(), "b".to_owned()];
        let mut writer = StepWriter::create(path.clone(), &parameters).unwrap();
        for step in 0..3 {
            let reading = StepReading {
                step,
                ..StepReading::default()
            };
            let row = StepRecord::new(&reading, &Decision::Keep);
            writer.push(row).unwrap();
        }
        writer.flush().unwrap();
        let header = header(&parameters).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let mut part = bytes[header.len()..].to_vec();
        let read = |part: &[u8]| {
            let (mut named, mut rows) = (None, Vec::new());
            decode(&header, part, None, &mut named, &mut rows).map(|()| rows.len())
        };
        assert_eq!(read(&part).unwrap(), 3);
        let mut refused = 0;
        for bit in 0..part.len() * 8 {
            part[bit / 8] ^= 1 << (bit % 8);
            refused += u64::from(read(&part).is_err());
            part[bit / 8] ^= 1 << (bit % 8);
        }
        // Changed bits of a value change a number and nothing else.
        assert!(refused > 1000, "{refused}");
    }
}
