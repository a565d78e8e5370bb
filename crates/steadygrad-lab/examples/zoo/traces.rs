//! Writes the zoo's traces to one Arrow file. Each run is a row; its series are lists.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder};
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::ArrowError;
use steadygrad::trace::Role;
use steadygrad_lab::unstable::zoo::Run;

/// The columns that are written. Norms per parameter would need many times the space.
const COLUMNS: [Role; 4] = [
    Role::Loss,
    Role::GradNorm,
    Role::LearningRate,
    Role::WeightNorm,
];

/// `pandas.read_feather(path)` or `polars.read_ipc(path)` reads it.
pub(crate) fn write(path: &Path, runs: &[&Run]) -> Result<(), ArrowError> {
    let text = |of: &dyn Fn(&Run) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            runs.iter().map(|run| of(run)),
        ))
    };
    let mut columns = vec![
        ("name", text(&|run| run.configuration.name())),
        (
            "family",
            text(&|run| run.configuration.architecture.family().into()),
        ),
        ("became", text(&|run| run.final_state.name().into())),
        (
            "fault",
            text(&|run| {
                let fault = run.configuration.fault.as_ref();
                fault.map_or("", |fault| fault.name()).into()
            }),
        ),
    ];
    let steps: ArrayRef = Arc::new(UInt64Array::from_iter(
        runs.iter().map(|run| run.first_non_finite),
    ));
    columns.push(("first_non_finite", steps));
    let names: Vec<String> = COLUMNS.iter().map(Role::column).collect();
    for (role, name) in COLUMNS.iter().zip(&names) {
        let mut lists = ListBuilder::new(Float64Builder::new());
        for run in runs {
            let series = run.trace.series(role);
            lists.append_value(
                series
                    .into_iter()
                    .flat_map(|series| series.values().iter().map(|value| Some(*value))),
            );
        }
        columns.push((name, Arc::new(lists.finish())));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )?;
    let mut writer = FileWriter::try_new(File::create(path)?, &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()
}
