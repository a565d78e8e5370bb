//! `steps.arrow`: one row a step.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::disk::ToSync;
use super::summed::SummedWriter;
use steadygrad::{Decision, StepReading, float};

/// Rows are written in batches of this size. A killed process loses at most one batch.
pub(super) const ROWS_PER_BATCH: usize = 64;
pub(super) const PARAMETER_PREFIX: &str = "grad_norm/";

/// One row of `steps.arrow`: one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimizer step, counted from 0.
    pub step: u64,
    /// Training loss.
    #[serde(with = "float")]
    pub loss: f64,
    /// Learning rate.
    #[serde(with = "float")]
    pub learning_rate: f64,
    /// The factor by which the guard changed the planned learning rate; 1 if it did not.
    #[serde(with = "float")]
    pub learning_rate_scale: f64,
    /// Global gradient norm before any intervention.
    #[serde(with = "float")]
    pub grad_norm: f64,
    /// Global gradient norm as applied: 0 if the step was not applied, NaN if the decision clipped
    /// single values or units and the resulting norm was not measured.
    #[serde(with = "float")]
    pub grad_norm_clipped: f64,
    /// L2 norm of the change of all weights. `None` if it was not measured.
    #[serde(with = "float::option")]
    pub update_norm: Option<f64>,
    /// L2 norm of all weights before the step. `None` if it was not measured.
    #[serde(default, with = "float::option")]
    pub weight_norm: Option<f64>,
    /// Non-finite gradient values.
    pub non_finite: u64,
    /// Subnormal gradient values.
    pub subnormal: u64,
    /// The run's number of the batch. `None` if the run does not count batches.
    pub batch: Option<u64>,
    /// The guard's decision, one word.
    pub decision: String,
    /// Gradient norm of each parameter, in the order of the table's parameters.
    #[serde(with = "float::list")]
    pub tensor_norms: Vec<f64>,
}

impl StepRecord {
    /// The row of one step: the measurements and the decision. The caller may add the update norm,
    /// the batch, and a learning rate other than the planned one.
    pub fn new(reading: &StepReading, decision: &Decision) -> Self {
        let grad_norm = reading.gradients.global_norm();
        Self {
            step: reading.step,
            loss: reading.loss,
            learning_rate: reading.learning_rate,
            learning_rate_scale: 1.0,
            grad_norm,
            grad_norm_clipped: decision
                .global_norm_after(&reading.gradients)
                .unwrap_or(f64::NAN),
            update_norm: None,
            weight_norm: reading.weight_norm(),
            non_finite: reading.gradients.non_finite(),
            subnormal: reading.gradients.subnormal(),
            batch: None,
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

pub(super) fn schema(parameters: &[String]) -> Schema {
    let float = |name: &str| Field::new(name, DataType::Float64, false);
    let count = |name: &str| Field::new(name, DataType::UInt64, false);
    let mut fields = vec![
        count("step"),
        float("loss"),
        float("learning_rate"),
        float("learning_rate_scale"),
        float("grad_norm"),
        float("grad_norm_clipped"),
        float("update_norm").with_nullable(true),
        float("weight_norm").with_nullable(true),
        count("non_finite"),
        count("subnormal"),
        count("batch").with_nullable(true),
        Field::new("decision", DataType::Utf8, false),
    ];
    fields.extend(
        parameters
            .iter()
            .map(|name| float(&format!("{PARAMETER_PREFIX}{name}"))),
    );
    Schema::new(fields)
}

/// The header of runs from before `weight_norm` was recorded.
pub(super) fn header_before_weight_norm(parameters: &[String]) -> Result<Vec<u8>, ArrowError> {
    let schema = schema(parameters);
    let fields = schema.fields().iter();
    let older = fields.filter(|field| field.name() != "weight_norm");
    header_of(&Schema::new(older.cloned().collect::<Vec<_>>()))
}

/// The first part of a step file, which names its columns.
pub(super) fn header(parameters: &[String]) -> Result<Vec<u8>, ArrowError> {
    header_of(&schema(parameters))
}

fn header_of(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let writer = StreamWriter::try_new(Vec::new(), schema)?;
    Ok(writer.get_ref().clone())
}

/// Appends rows to one segment. Its parts are the header, batches, and the end of the stream.
pub(super) struct StepWriter {
    path: PathBuf,
    log: SummedWriter,
    encoder: StreamWriter<Vec<u8>>,
    schema: Arc<Schema>,
    parameters: usize,
    pending: Vec<StepRecord>,
    /// The number of rows since a batch was last written before it was full.
    since_early: usize,
}

impl StepWriter {
    pub(super) fn create(path: PathBuf, parameters: &[String]) -> Result<Self, RecordError> {
        let schema = Arc::new(schema(parameters));
        let mut log = SummedWriter::create(path.clone())?;
        let mut encoder = StreamWriter::try_new(Vec::new(), &schema)
            .map_err(|source| RecordError::arrow(&path, source))?;
        log.append(encoder.get_ref())?;
        encoder.get_mut().clear();
        Ok(Self {
            path,
            log,
            encoder,
            schema,
            parameters: parameters.len(),
            pending: Vec::with_capacity(ROWS_PER_BATCH),
            since_early: ROWS_PER_BATCH,
        })
    }

    /// Adds one row. If this fails, the row is kept and written with the next.
    pub(super) fn push(&mut self, row: StepRecord) -> Result<(), RecordError> {
        self.pending.push(row);
        self.since_early = self.since_early.saturating_add(1);
        if self.pending.len() >= ROWS_PER_BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes an incomplete batch, at most once in [`ROWS_PER_BATCH`] rows: small batches are
    /// mostly overhead.
    pub(super) fn flush_early(&mut self) -> Result<(), RecordError> {
        if self.since_early < ROWS_PER_BATCH || self.pending.is_empty() {
            return Ok(());
        }
        self.since_early = 0;
        self.flush()
    }

    /// Writes all rows.
    pub(super) fn flush(&mut self) -> Result<(), RecordError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.encoder.get_mut().clear();
        let batch = batch(&self.schema, self.parameters, &self.pending);
        batch
            .and_then(|batch| self.encoder.write(&batch))
            .map_err(|source| RecordError::arrow(&self.path, source))?;
        self.log.append(self.encoder.get_ref())?;
        self.pending.clear();
        Ok(())
    }

    pub(super) fn to_sync(&self) -> [ToSync<'_>; 2] {
        self.log.to_sync()
    }

    /// Writes all rows and the end of the stream.
    pub(super) fn finish(&mut self) -> Result<(), RecordError> {
        self.flush()?;
        self.encoder.get_mut().clear();
        self.encoder
            .finish()
            .map_err(|source| RecordError::arrow(&self.path, source))?;
        self.log.append(self.encoder.get_ref())
    }
}

fn batch(
    schema: &Arc<Schema>,
    parameters: usize,
    rows: &[StepRecord],
) -> Result<RecordBatch, ArrowError> {
    let float = |value: &dyn Fn(&StepRecord) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
    };
    let count = |value: &dyn Fn(&StepRecord) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(value)))
    };
    let measured = |value: &dyn Fn(&StepRecord) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Float64Array>())
    };
    let mut columns = vec![
        count(&|row| row.step),
        float(&|row| row.loss),
        float(&|row| row.learning_rate),
        float(&|row| row.learning_rate_scale),
        float(&|row| row.grad_norm),
        float(&|row| row.grad_norm_clipped),
        measured(&|row| row.update_norm),
        measured(&|row| row.weight_norm),
        count(&|row| row.non_finite),
        count(&|row| row.subnormal),
        Arc::new(rows.iter().map(|row| row.batch).collect::<UInt64Array>()),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| &row.decision),
        )),
    ];
    for parameter in 0..parameters {
        // A parameter without a gradient at this step is a recorded gap, not a crash.
        columns.push(float(&|row| {
            row.tensor_norms.get(parameter).copied().unwrap_or(f64::NAN)
        }));
    }
    RecordBatch::try_new(schema.clone(), columns)
}
