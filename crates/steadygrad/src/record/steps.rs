use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};

use super::RecordError;
use crate::{Decision, StepReading};

/// Rows are handed to the file in batches of this size: a crash loses at most so many.
const ROWS_PER_BATCH: usize = 64;
const PARAMETER_PREFIX: &str = "grad_norm/";

/// One row of `steps.arrow`.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Optimizer step, counted from 0.
    pub step: u64,
    /// Training loss.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Global gradient norm before any intervention.
    pub grad_norm: f64,
    /// Global gradient norm as applied; 0 when the step was not applied, NaN when the decision was
    /// about single values or units and the norm it left was not measured.
    pub grad_norm_clipped: f64,
    /// Non-finite gradient values.
    pub non_finite: u64,
    /// Subnormal gradient values.
    pub subnormal: u64,
    /// The guard's decision, one word.
    pub decision: String,
    /// Gradient norm of each parameter, in the order of the table's parameters.
    pub tensor_norms: Vec<f64>,
}

impl StepRecord {
    /// The row of one step: what was measured and what was decided.
    pub fn new(reading: &StepReading, decision: &Decision) -> Self {
        let grad_norm = reading.gradients.global_norm();
        Self {
            step: reading.step,
            loss: reading.loss,
            learning_rate: reading.learning_rate,
            grad_norm,
            grad_norm_clipped: decision
                .global_norm_after(&reading.gradients)
                .unwrap_or(f64::NAN),
            non_finite: reading.gradients.non_finite(),
            subnormal: reading.gradients.subnormal(),
            decision: decision.name().to_owned(),
            tensor_norms: reading
                .gradients
                .tensors
                .iter()
                .map(|tensor| tensor.stats.tensor_norm)
                .collect(),
        }
    }
}

/// All rows of a step file.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTable {
    /// Parameter names of the `grad_norm/<parameter>` columns.
    pub parameters: Vec<String>,
    /// The rows.
    pub rows: Vec<StepRecord>,
}

/// Appends rows to a step file.
pub(super) struct StepWriter {
    path: PathBuf,
    writer: StreamWriter<File>,
    schema: Arc<Schema>,
    pending: Vec<StepRecord>,
}

impl StepWriter {
    pub(super) fn create(path: PathBuf, parameters: &[String]) -> Result<Self, RecordError> {
        let float = |name: &str| Field::new(name, DataType::Float64, false);
        let count = |name: &str| Field::new(name, DataType::UInt64, false);
        let mut fields = vec![
            count("step"),
            float("loss"),
            float("learning_rate"),
            float("grad_norm"),
            float("grad_norm_clipped"),
            count("non_finite"),
            count("subnormal"),
            Field::new("decision", DataType::Utf8, false),
        ];
        fields.extend(
            parameters
                .iter()
                .map(|name| float(&format!("{PARAMETER_PREFIX}{name}"))),
        );
        let schema = Arc::new(Schema::new(fields));
        let file = File::create_new(&path).map_err(|source| RecordError::Io {
            action: "create",
            path: path.clone(),
            source,
        })?;
        let writer = StreamWriter::try_new(file, &schema).map_err(|source| RecordError::Arrow {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            writer,
            schema,
            pending: Vec::with_capacity(ROWS_PER_BATCH),
        })
    }

    pub(super) fn push(&mut self, row: StepRecord) -> Result<(), RecordError> {
        self.pending.push(row);
        if self.pending.len() >= ROWS_PER_BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.pending);
        let float = |value: &dyn Fn(&StepRecord) -> f64| -> ArrayRef {
            Arc::new(
                rows.iter()
                    .map(value)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .collect::<Float64Array>(),
            )
        };
        let count = |value: &dyn Fn(&StepRecord) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(value)))
        };
        let mut columns = vec![
            count(&|row| row.step),
            float(&|row| row.loss),
            float(&|row| row.learning_rate),
            float(&|row| row.grad_norm),
            float(&|row| row.grad_norm_clipped),
            count(&|row| row.non_finite),
            count(&|row| row.subnormal),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| &row.decision),
            )),
        ];
        let parameters = self.schema.fields().len() - columns.len();
        for parameter in 0..parameters {
            // A parameter without a gradient at this step is a recorded gap, not a crash.
            columns.push(float(&|row| {
                row.tensor_norms.get(parameter).copied().unwrap_or(f64::NAN)
            }));
        }
        RecordBatch::try_new(self.schema.clone(), columns)
            .and_then(|batch| self.writer.write(&batch))
            .map_err(|source| RecordError::Arrow {
                path: self.path.clone(),
                source,
            })
    }

    pub(super) fn finish(mut self) -> Result<(), RecordError> {
        self.flush()?;
        self.writer.finish().map_err(|source| RecordError::Arrow {
            path: self.path.clone(),
            source,
        })
    }
}

/// Reads a step file, also one whose writer has not finished or was killed: the whole batches
/// before the break are returned.
pub fn read_steps(path: &Path) -> Result<StepTable, RecordError> {
    let file = File::open(path).map_err(|source| RecordError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    let reader =
        StreamReader::try_new(BufReader::new(file), None).map_err(|source| RecordError::Arrow {
            path: path.to_owned(),
            source,
        })?;
    let parameters: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .filter_map(|field| {
            field
                .name()
                .strip_prefix(PARAMETER_PREFIX)
                .map(str::to_owned)
        })
        .collect();
    let mut table = StepTable {
        parameters,
        rows: Vec::new(),
    };
    for batch in reader {
        let Ok(batch) = batch else { break };
        append_rows(path, &batch, &mut table)?;
    }
    Ok(table)
}

fn append_rows(path: &Path, batch: &RecordBatch, table: &mut StepTable) -> Result<(), RecordError> {
    fn column<'a, T: 'static>(
        path: &Path,
        batch: &'a RecordBatch,
        name: &str,
    ) -> Result<&'a T, RecordError> {
        batch
            .column_by_name(name)
            .and_then(|column| column.as_any().downcast_ref::<T>())
            .ok_or_else(|| RecordError::Column {
                path: path.to_owned(),
                column: name.to_owned(),
            })
    }
    let float = |name: &str| column::<Float64Array>(path, batch, name);
    let count = |name: &str| column::<UInt64Array>(path, batch, name);
    let (step, non_finite, subnormal) = (count("step")?, count("non_finite")?, count("subnormal")?);
    let (loss, learning_rate) = (float("loss")?, float("learning_rate")?);
    let (grad_norm, grad_norm_clipped) = (float("grad_norm")?, float("grad_norm_clipped")?);
    let decision = column::<StringArray>(path, batch, "decision")?;
    let tensors = table
        .parameters
        .iter()
        .map(|name| float(&format!("{PARAMETER_PREFIX}{name}")))
        .collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        table.rows.push(StepRecord {
            step: step.value(row),
            loss: loss.value(row),
            learning_rate: learning_rate.value(row),
            grad_norm: grad_norm.value(row),
            grad_norm_clipped: grad_norm_clipped.value(row),
            non_finite: non_finite.value(row),
            subnormal: subnormal.value(row),
            decision: decision.value(row).to_owned(),
            tensor_norms: tensors.iter().map(|column| column.value(row)).collect(),
        });
    }
    Ok(())
}
