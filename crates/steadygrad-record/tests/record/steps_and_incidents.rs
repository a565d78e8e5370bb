//! Steps and incidents read back equal, whatever the values and however the run ended.

use std::fs;
use std::path::Path;

use steadygrad::guard::Incident;
use steadygrad_record::{
    Damage, Manifest, Problem, RecordError, RunDir, RunStatus, StepRecord, StepTable,
    read_incidents, read_manifest, read_steps,
};
use tempfile::tempdir;

use crate::common::{ODD, incident, manifest, row, rows, sum_up, text};

fn write(folder: &Path, rows: &[StepRecord], parameters: usize) -> RunDir {
    let mut run = RunDir::create(folder, manifest(parameters)).unwrap();
    for row in rows {
        run.push_step(row.clone()).unwrap();
    }
    run
}

fn read(folder: &Path) -> StepTable {
    let found = read_steps(folder).unwrap();
    assert_eq!(found.problems, []);
    found.value
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
            let found = read_manifest(folder.path()).unwrap();
            assert_eq!(found.problems, []);
            let path = folder.path().join("run.json");
            // Any other reader sees plain JSON.
            let json: Manifest = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            assert_eq!(json, found.value);
            found.value
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
fn a_step_file_cut_anywhere_gives_its_whole_batches_and_says_so() {
    let folder = tempdir().unwrap();
    let written = rows(300, 3);
    write(folder.path(), &written, 3)
        .finish(RunStatus::Ended)
        .unwrap();
    let path = folder.path().join("steps.arrow");
    let whole = fs::read(&path).unwrap();
    let mut seen: Vec<usize> = Vec::new();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let found = read_steps(folder.path()).unwrap();
        let count = found.value.rows.len();
        assert!(
            count.is_multiple_of(64) || count == 300,
            "{count} rows of {length} bytes"
        );
        assert_eq!(text(&found.value.rows), text(&written[..count]));
        assert!(seen.last() <= Some(&count), "a longer file has fewer rows");
        assert_eq!(found.value.parameters, manifest(3).parameters);
        let what = Damage::Length {
            expected: whole.len() as u64,
            found: length as u64,
        };
        let path = path.clone();
        assert_eq!(found.problems, [Problem { path, what }]);
        seen.push(count);
    }
    seen.dedup();
    assert_eq!(seen, [0, 64, 128, 192, 256, 300]);
}

#[test]
fn a_file_of_another_kind_is_named_and_has_no_rows() {
    for bytes in [&b""[..], b"step,loss\n0,1.0\n", &[0xff; 4096], &[0; 4096]] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("steps.arrow");
        fs::write(&path, bytes).unwrap();
        let found = read_steps(folder.path()).unwrap();
        assert_eq!(found.value.rows, []);
        let named: Vec<_> = found.problems.iter().map(|problem| &problem.path).collect();
        assert!(named.contains(&&folder.path().join("run.json")));
        assert!(named.contains(&&folder.path().join("steps.arrow.sums")));
        // With valid checksums the bytes are intact, but they are still no step file.
        sum_up(&path, &[bytes]);
        let found = read_steps(folder.path()).unwrap();
        assert_eq!(found.value.rows, []);
    }
    let folder = tempdir().unwrap();
    let missing = read_steps(&folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, RecordError::Io { .. }), "{missing}");
    assert!(missing.to_string().contains("none"), "{missing}");
    let empty = read_steps(folder.path()).unwrap_err();
    assert!(empty.to_string().contains("steps.arrow"), "{empty}");
}

#[test]
fn a_foreign_arrow_file_is_named_with_the_column_it_lacks() {
    use arrow_array::{ArrayRef, Float64Array, RecordBatch};
    use std::sync::Arc;

    let folder = tempdir().unwrap();
    write(folder.path(), &[], 0);
    let path = folder.path().join("steps.arrow");
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let batch = RecordBatch::try_from_iter([("step", column)]).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    let header = writer.get_ref().clone();
    writer.write(&batch).unwrap();
    sum_up(&path, &[&header, &writer.get_ref()[header.len()..]]);
    let found = read_steps(folder.path()).unwrap();
    assert_eq!(found.value.rows, []);
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems)
    };
    assert_eq!(problem.path, path);
    assert!(problem.to_string().contains("`step`"), "{problem}");
}

#[test]
fn incidents_read_back_equal() {
    let folder = tempdir().unwrap();
    let mut run = write(folder.path(), &[], 0);
    let read = || {
        let found = read_incidents(folder.path()).unwrap();
        assert_eq!(found.problems, []);
        found.value
    };
    assert_eq!(read(), []);
    let written: Vec<Incident> = ODD
        .iter()
        .zip(ODD.iter().rev())
        .map(|(value, threshold)| incident(3, *value, *threshold))
        .collect();
    for incident in &written {
        run.push_incident(incident).unwrap();
    }
    // The run is still active.
    assert_eq!(format!("{:?}", read()), format!("{written:?}"));
    let lines = fs::read_to_string(folder.path().join("incidents.jsonl")).unwrap();
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_torn_last_incident_is_left_out_wherever_it_is_torn() {
    let folder = tempdir().unwrap();
    let mut run = write(folder.path(), &[], 0);
    for step in 0..2 {
        run.push_incident(&incident(step, f64::NAN, 1.0)).unwrap();
    }
    let path = folder.path().join("incidents.jsonl");
    let sums = folder.path().join("incidents.jsonl.sums");
    let whole = fs::read(&path).unwrap();
    let whole_sums = fs::read_to_string(&sums).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let first_sum = whole_sums.find('\n').unwrap() + 1;
    // The process died while it wrote the second line, or between the line and its checksum.
    fs::write(&sums, &whole_sums[..first_sum]).unwrap();
    for length in first_line..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let found = read_incidents(folder.path()).unwrap();
        assert_eq!(found.value.len(), 1, "{length} bytes");
        let torn = usize::from(length > first_line);
        assert_eq!(found.problems.len(), torn, "{:?}", found.problems);
        assert!(found.problems.iter().all(Problem::is_torn_tail));
    }
}

#[test]
fn a_broken_line_in_the_middle_is_named_and_the_others_are_read() {
    let line = |step| {
        let mut line = serde_json::to_vec(&incident(step, 2.0, 1.0)).unwrap();
        line.push(b'\n');
        line
    };
    for broken in [&b"{}\n"[..], b"\n", b"\xff\xfe\n", b"null\n"] {
        let folder = tempdir().unwrap();
        write(folder.path(), &[], 0);
        let path = folder.path().join("incidents.jsonl");
        sum_up(&path, &[&line(1), broken, &line(2)]);
        let found = read_incidents(folder.path()).unwrap();
        let steps: Vec<u64> = found.value.iter().map(|incident| incident.step).collect();
        assert_eq!(steps, [1, 2]);
        let [problem] = &found.problems[..] else {
            panic!("{:?}", found.problems)
        };
        assert_eq!(problem.path, path);
        assert!(problem.to_string().contains("incidents.jsonl"), "{problem}");
    }
}

#[test]
fn an_incident_flushes_the_rows_before_it_but_not_each_time() {
    let folder = tempdir().unwrap();
    let mut run = write(folder.path(), &[], 2);
    let mut counts = Vec::new();
    for row in rows(200, 2) {
        let step = row.step;
        run.push_step(row).unwrap();
        run.push_incident(&incident(step, 2.0, 1.0)).unwrap();
        counts.push(read(folder.path()).rows.len());
    }
    assert_eq!(counts[0], 1, "the first is written at once");
    // The file is at most one batch behind. Incidents cause at most three more batches.
    for (index, count) in counts.iter().enumerate() {
        assert!(index + 1 - count < 64, "{count} of {}", index + 1);
    }
    counts.dedup();
    assert!(counts.len() <= 200 / 64 * 2 + 1, "{counts:?}");
}
