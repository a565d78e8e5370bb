//! Run directories: what is written reads back, whatever the values and however the writer ended.

use std::fs;
use std::path::Path;

use steadygrad::Place;
use steadygrad::detect::{Detection, Detector, Severity};
use steadygrad::record::{
    Manifest, RecordError, RunDir, RunStatus, StepRecord, StepTable, read_incidents, read_steps,
    write_atomic,
};
use tempfile::{TempDir, tempdir};

/// Every kind of number a broken run brings, and some that need all 17 digits.
const ODD: [f64; 13] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    0.1 + 0.2,
    0.011_264_042_820_413_501,
    -1.0 / 3.0,
    1.0,
];

fn manifest(parameters: usize) -> Manifest {
    Manifest {
        format: 1,
        name: "baseline".into(),
        subject: "a test".into(),
        seed: u64::MAX,
        steps: 10,
        parameters: (0..parameters)
            .map(|index| format!("hidden.{index}.weight"))
            .collect(),
        status: RunStatus::Running,
    }
}

fn row(step: usize, parameters: usize) -> StepRecord {
    let odd = |offset: usize| ODD[(step + offset) % ODD.len()];
    StepRecord {
        step: step as u64,
        loss: odd(0),
        learning_rate: odd(1),
        grad_norm: odd(2),
        grad_norm_clipped: odd(3),
        non_finite: if step == 0 { u64::MAX } else { step as u64 },
        subnormal: 0,
        decision: ["keep", "", "größer"][step % 3].into(),
        tensor_norms: (4..4 + parameters).map(odd).collect(),
    }
}

fn rows(count: usize, parameters: usize) -> Vec<StepRecord> {
    (0..count).map(|step| row(step, parameters)).collect()
}

/// The rows as text: a NaN equals itself in it, and -0 does not equal 0.
fn text(rows: &[StepRecord]) -> String {
    format!("{rows:?}")
}

fn write(folder: &Path, rows: &[StepRecord], parameters: usize) -> RunDir {
    let mut run = RunDir::create(folder, manifest(parameters)).unwrap();
    for row in rows {
        run.push_step(row.clone()).unwrap();
    }
    run
}

fn read(folder: &Path) -> StepTable {
    read_steps(&folder.join("steps.arrow")).unwrap()
}

#[test]
fn any_number_of_odd_rows_reads_back_equal() {
    for count in [0, 1, 63, 64, 65, 128, 1000] {
        for parameters in [0, 1, 3] {
            let folder = tempdir().unwrap();
            let written = rows(count, parameters);
            let run = write(folder.path(), &written, parameters);
            run.finish(RunStatus::Ended).unwrap();
            let table = read(folder.path());
            assert_eq!(table.parameters, manifest(parameters).parameters);
            assert_eq!(
                text(&table.rows),
                text(&written),
                "{count} rows, {parameters} parameters"
            );
        }
    }
}

#[test]
fn the_manifest_says_how_the_run_ended() {
    for status in [RunStatus::Ended, RunStatus::Interrupted] {
        let folder = tempdir().unwrap();
        let run = write(folder.path(), &rows(3, 2), 2);
        let read = || -> Manifest {
            serde_json::from_slice(&fs::read(folder.path().join("run.json")).unwrap()).unwrap()
        };
        assert_eq!(read(), manifest(2));
        run.finish(status).unwrap();
        assert_eq!(
            read(),
            Manifest {
                status,
                ..manifest(2)
            }
        );
    }
}

#[test]
fn missing_tensor_norms_are_nan_and_surplus_ones_are_left_out() {
    let folder = tempdir().unwrap();
    let with = |tensor_norms: Vec<f64>| StepRecord {
        tensor_norms,
        ..row(11, 0)
    };
    let written = [
        with(vec![]),
        with(vec![1.0]),
        with(vec![1.0, 2.0, 3.0]),
        with(vec![1.0, 2.0, 3.0, 4.0]),
    ];
    write(folder.path(), &written, 3)
        .finish(RunStatus::Ended)
        .unwrap();
    let gap = f64::NAN;
    let expected = [
        with(vec![gap; 3]),
        with(vec![1.0, gap, gap]),
        with(vec![1.0, 2.0, 3.0]),
        with(vec![1.0, 2.0, 3.0]),
    ];
    assert_eq!(text(&read(folder.path()).rows), text(&expected));
}

#[test]
fn a_run_that_goes_on_shows_its_whole_batches() {
    let folder = tempdir().unwrap();
    let written = rows(200, 2);
    let mut run = write(folder.path(), &[], 2);
    for (done, row) in written.iter().enumerate() {
        let whole = done / 64 * 64;
        assert_eq!(text(&read(folder.path()).rows), text(&written[..whole]));
        run.push_step(row.clone()).unwrap();
    }
    // The process is killed here: the last batches were never finished.
    drop(run);
    assert_eq!(text(&read(folder.path()).rows), text(&written[..192]));
}

#[test]
fn a_step_file_cut_anywhere_gives_its_whole_batches_or_an_error() {
    let folder = tempdir().unwrap();
    let written = rows(300, 3);
    write(folder.path(), &written, 3)
        .finish(RunStatus::Ended)
        .unwrap();
    let whole = fs::read(folder.path().join("steps.arrow")).unwrap();
    let cut = folder.path().join("cut.arrow");
    let mut seen: Vec<usize> = Vec::new();
    for length in (0..whole.len()).step_by(97) {
        fs::write(&cut, &whole[..length]).unwrap();
        match read_steps(&cut) {
            Ok(table) => {
                let count = table.rows.len();
                assert!(
                    count % 64 == 0 || count == 300,
                    "{count} rows of {length} bytes"
                );
                assert_eq!(text(&table.rows), text(&written[..count]));
                assert!(seen.last() <= Some(&count), "a longer file has fewer rows");
                seen.push(count);
            }
            Err(RecordError::Arrow { path, .. }) => {
                assert_eq!(path, cut);
                assert!(seen.is_empty(), "a longer file is not readable");
            }
            Err(other) => panic!("{other}"),
        }
    }
    seen.dedup();
    assert_eq!(seen, [0, 64, 128, 192, 256, 300]);
}

#[test]
fn a_file_of_another_kind_is_an_error_that_names_it() {
    let folder = tempdir().unwrap();
    let other = folder.path().join("steps.arrow");
    for bytes in [&b""[..], b"step,loss\n0,1.0\n", &[0xff; 4096], &[0; 4096]] {
        fs::write(&other, bytes).unwrap();
        let error = read_steps(&other).unwrap_err();
        assert!(matches!(error, RecordError::Arrow { .. }), "{error}");
        assert!(error.to_string().contains("steps.arrow"), "{error}");
    }
    let missing = read_steps(&folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, RecordError::Io { .. }), "{missing}");
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn a_foreign_arrow_file_is_an_error_that_names_the_column() {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch};
    use std::sync::Arc;

    let folder = tempdir().unwrap();
    let path = folder.path().join("foreign.arrow");
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let batch = RecordBatch::try_from_iter([("step", column)]).unwrap();
    let file = fs::File::create(&path).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    match read_steps(&path) {
        Err(RecordError::Column { column, .. }) => assert_eq!(column, "step"),
        other => panic!("{other:?}"),
    }
}

fn incident(value: f64, threshold: f64) -> Detection {
    Detection {
        detector: Detector::NonFinite,
        severity: Severity::Harmful,
        step: 3,
        place: Place::Parameter("größe.weight".into()),
        value,
        threshold,
        message: "one\nline".into(),
    }
}

#[test]
fn incidents_read_back_equal() {
    let folder = tempdir().unwrap();
    let mut run = write(folder.path(), &[], 0);
    let path = folder.path().join("incidents.jsonl");
    assert_eq!(read_incidents(&path).unwrap(), []);
    let written: Vec<Detection> = ODD
        .iter()
        .zip(ODD.iter().rev())
        .map(|(value, threshold)| incident(*value, *threshold))
        .collect();
    for incident in &written {
        run.push_incident(incident).unwrap();
    }
    // While the run still goes on.
    assert_eq!(
        format!("{:?}", read_incidents(&path).unwrap()),
        format!("{written:?}")
    );
}

#[test]
fn a_torn_last_incident_is_left_out_wherever_it_is_torn() {
    let folder = tempdir().unwrap();
    let mut run = write(folder.path(), &[], 0);
    for step in 0..2 {
        run.push_incident(&Detection {
            step,
            ..incident(f64::NAN, 1.0)
        })
        .unwrap();
    }
    let path = folder.path().join("incidents.jsonl");
    let whole = fs::read(&path).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let expected = if length == whole.len() {
            2
        } else {
            usize::from(length >= first_line)
        };
        assert_eq!(
            read_incidents(&path).unwrap().len(),
            expected,
            "{length} bytes"
        );
    }
}

#[test]
fn a_broken_line_in_the_middle_is_an_error_that_names_the_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("incidents.jsonl");
    for line in [&b"{}\n"[..], b"\n", b"\xff\xfe\n", b"null\n"] {
        fs::write(&path, line).unwrap();
        let error = read_incidents(&path).unwrap_err();
        assert!(matches!(error, RecordError::Json { .. }), "{error}");
        assert!(error.to_string().contains("incidents.jsonl"), "{error}");
    }
}

/// All names and contents in a folder.
fn listing(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

fn create_error(path: &Path) -> RecordError {
    match RunDir::create(path, manifest(1)) {
        Ok(_) => panic!("created {}", path.display()),
        Err(error) => error,
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_as_it_is() {
    for name in ["run.json", "steps.arrow", ".hidden"] {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join(name), "mine").unwrap();
        match create_error(folder.path()) {
            RecordError::NotEmpty { path } => assert_eq!(path, folder.path()),
            other => panic!("{other}"),
        }
        assert_eq!(listing(folder.path()), [(name.into(), b"mine".to_vec())]);
    }
}

#[test]
fn a_finished_run_is_never_overwritten() {
    let folder = tempdir().unwrap();
    write(folder.path(), &rows(2, 1), 1)
        .finish(RunStatus::Ended)
        .unwrap();
    let before = listing(folder.path());
    assert!(matches!(
        create_error(folder.path()),
        RecordError::NotEmpty { .. }
    ));
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn parents_are_created_and_an_unwritable_path_is_named() {
    let folder = tempdir().unwrap();
    let deep = folder.path().join("a/b/c");
    write(&deep, &rows(1, 1), 1)
        .finish(RunStatus::Ended)
        .unwrap();
    assert_eq!(read(&deep).rows.len(), 1);

    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("run")] {
        let error = create_error(&path);
        assert!(
            matches!(&error, RecordError::Io { path: named, .. } if *named == path),
            "{error}"
        );
        let named = path.display().to_string();
        assert!(error.to_string().contains(&named), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

fn with_old_file() -> (TempDir, std::path::PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.json");
    write_atomic(&path, b"old").unwrap();
    (folder, path)
}

#[test]
fn an_atomic_write_replaces_the_file_and_leaves_nothing_else() {
    let (folder, path) = with_old_file();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(
        listing(folder.path()),
        [("run.json".into(), b"new".to_vec())]
    );
    write_atomic(&path, b"").unwrap();
    assert_eq!(listing(folder.path()), [("run.json".into(), vec![])]);
}

#[test]
fn a_failed_atomic_write_keeps_the_old_file() {
    let (folder, path) = with_old_file();
    // The temporary file cannot be created.
    fs::create_dir(folder.path().join("run.json.partial")).unwrap();
    let error = write_atomic(&path, b"new").unwrap_err();
    assert!(
        matches!(&error, RecordError::Io { path: named, .. } if *named == path),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_failed_rename_leaves_no_temporary_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run.json");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("inside"), "mine").unwrap();
    assert!(write_atomic(&path, b"new").is_err());
    assert_eq!(listing(folder.path()), [("run.json".into(), vec![])]);
    assert_eq!(fs::read(path.join("inside")).unwrap(), b"mine");
}
