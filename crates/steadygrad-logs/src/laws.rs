//! What holds for every log.

use proptest::prelude::*;
use steadygrad::Trace;
use steadygrad::trace::{Cadence, Role};

use crate::{Columns, read};

/// Names that have some meaning, and some that have none.
const NAMES: [&str; 14] = [
    "step",
    "epoch",
    "iter",
    "batch",
    "loss",
    "train/box_loss",
    "loss_G",
    "D_loss",
    "val_loss",
    "grad_norm",
    "lr",
    "reward",
    "mode",
    "Grad.Norm (raw)",
];

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u32..40).prop_map(|value| value.to_string()),
        3 => any::<f64>().prop_map(|value| value.to_string()),
        1 => Just(String::new()),
        1 => prop::sample::select(vec!["nan", "inf", "val", "train", "3/10", "x", "\"1", "1e400"])
            .prop_map(str::to_owned),
    ]
}

/// A table: names, and rows that may be ragged.
fn table() -> impl Strategy<Value = (Vec<String>, Vec<Vec<String>>)> {
    let names = prop::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len());
    let names = names.prop_shuffle();
    names.prop_flat_map(|names| {
        let width = names.len();
        let row = prop::collection::vec(cell(), width..=width);
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        (Just(names), prop::collection::vec(row, 0..12))
    })
}

fn csv(names: &[String], rows: &[Vec<String>]) -> Option<Trace> {
    let lines = rows.iter().map(|row| row.join(","));
    let text: Vec<String> = std::iter::once(names.join(",")).chain(lines).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    std::fs::write(&path, text.join("\n") + "\n").unwrap();
    read(&path, &Columns::default()).ok()?.pop()
}

/// What a trace says, without the order of its columns.
fn said(trace: &Trace) -> Vec<String> {
    let series = trace.series.iter().map(|series| {
        // A NaN equals itself here.
        let values: Vec<u64> = series
            .values()
            .iter()
            .map(|value| value.to_bits())
            .collect();
        format!(
            "{:?} {} {:?} {values:?}",
            series.role(),
            series.column(),
            series.steps()
        )
    });
    let mut said: Vec<String> = series.collect();
    said.sort();
    said.push(format!(
        "{:?} {:?} {:?}",
        trace.cadence, trace.unit, trace.objective
    ));
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Neither in a table nor in lines of JSON.
    #[test]
    fn no_table_makes_a_reader_panic((names, rows) in table()) {
        let _ = csv(&names, &rows);
        let lines = rows.iter().map(|row| {
            let pairs = names.iter().zip(row);
            let pairs = pairs.map(|(name, cell)| format!("{name:?}: {cell:?}"));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let _ = read(&path, &Columns::default());
    }

    #[test]
    fn the_order_of_columns_changes_nothing((names, rows) in table(), turn in 0usize..14) {
        // A quote in a cell reaches beyond it.
        prop_assume!(!rows.iter().flatten().any(|cell| cell.contains('"')));
        let turned = |cells: &[String]| {
            let mut cells = cells.to_vec();
            let turn = turn % cells.len().max(1);
            cells.rotate_left(turn);
            cells
        };
        let rows_turned: Vec<Vec<String>> = rows.iter().map(|row| turned(row)).collect();
        let (a, b) = (csv(&names, &rows), csv(&turned(&names), &rows_turned));
        prop_assert_eq!(a.as_ref().map(said), b.as_ref().map(said));
    }

    #[test]
    fn a_thinned_log_tells_its_cadence(every in 1u64..200, rows in 3u64..60, from in 0u64..3) {
        let names = ["step", "loss"].map(str::to_owned);
        let steps = (0..rows).map(|row| from + row * every);
        let rows: Vec<Vec<String>> = steps.map(|step| vec![step.to_string(), "1.5".into()]).collect();
        let trace = csv(&names, &rows).unwrap();
        let expected = match every {
            1 => Cadence::Step,
            every => Cadence::Steps(every),
        };
        prop_assert_eq!(trace.cadence, expected);
        prop_assert!(trace.series(&Role::Loss).is_some());
    }
}
