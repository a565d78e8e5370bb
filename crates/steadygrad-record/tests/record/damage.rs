//! Cuts every file of a small run at every byte, and flips bits in it. The readers always notice
//! the damage and never return damaged data.

use std::fs;
use std::path::{Path, PathBuf};

use steadygrad::guard::Incident;
use steadygrad_record::{
    Dumped, ForensicRing, Manifest, NonFinite, Problem, RingStep, RunDir, RunStatus, Snapshot,
    SnapshotStore, StepRecord, list_dumps, read_dump, read_incidents, read_manifest, read_steps,
};
use tempfile::{TempDir, tempdir};

use crate::common::{incident, manifest, row, rows, snapshot};

const PARAMETERS: usize = 2;

pub(crate) fn ring(first: usize, count: usize) -> ForensicRing {
    let mut ring = ForensicRing::default();
    for step in first..first + count {
        ring.push(RingStep {
            record: row(step, PARAMETERS),
            rows: vec![step as u64, u64::MAX],
            random_state: serde_json::json!({"word": step, "key": [1, 2, u64::MAX]}),
        });
    }
    ring
}

/// Writes a run with two segments, two snapshots, a dump, and a regular end.
fn small_run() -> TempDir {
    let folder = tempdir().unwrap();
    let mut run = RunDir::create(folder.path(), manifest(PARAMETERS)).unwrap();
    for row in rows(7, PARAMETERS) {
        let step = row.step;
        run.push_step(row).unwrap();
        if step == 2 || step == 5 {
            run.write_snapshot(&snapshot(step + 1), NonFinite::Refuse)
                .unwrap();
        }
    }
    run.push_incident(&incident(6, f64::NAN, 1.0)).unwrap();
    drop(run);
    let mut run = RunDir::resume(folder.path(), 6).unwrap().value;
    for row in &rows(9, PARAMETERS)[6..] {
        run.push_step(row.clone()).unwrap();
    }
    run.push_incident(&incident(6, f64::NAN, 1.0)).unwrap();
    run.push_incident(&incident(8, 2.0, 1.0)).unwrap();
    let dumped = run
        .dump(&ring(6, 3), &[incident(8, 2.0, 1.0)], None)
        .unwrap();
    assert!(matches!(
        dumped,
        Dumped::Written {
            number: 1,
            snapshot_step: Some(6),
            ..
        }
    ));
    run.finish(RunStatus::Ended).unwrap();
    folder
}

/// Everything that the readers return for a run.
struct Seen {
    manifest: Option<Manifest>,
    rows: Vec<StepRecord>,
    incidents: Vec<Incident>,
    snapshot: Option<Snapshot>,
    dump: Option<(Vec<RingStep>, Option<Snapshot>)>,
    problems: Vec<Problem>,
}

fn see(run: &Path) -> Seen {
    let mut problems = Vec::new();
    let manifest = match read_manifest(run) {
        Ok(found) => {
            problems.extend(found.problems);
            Some(found.value)
        }
        Err(_) => None,
    };
    let steps = read_steps(run).unwrap();
    problems.extend(steps.problems);
    let incidents = read_incidents(run).unwrap();
    problems.extend(incidents.problems);
    let store = SnapshotStore::new(run);
    let snapshot = store.newest_good(None).unwrap();
    problems.extend(snapshot.problems);
    for entry in store.list().unwrap() {
        problems.extend(store.read(&entry).err());
    }
    let dump = match read_dump(run, 1) {
        Ok(found) => {
            problems.extend(found.problems);
            Some((found.value.steps, found.value.snapshot))
        }
        Err(steadygrad_record::RecordError::Damaged(problem)) => {
            problems.push(problem);
            None
        }
        Err(other) => panic!("{other}"),
    };
    Seen {
        manifest,
        rows: steps.value.rows,
        incidents: incidents.value,
        snapshot: snapshot.value,
        dump,
        problems,
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

/// Checks that the readers return only data that was written, and report the damage.
fn check(seen: &Seen, whole: &Seen, damaged: &Path, how: &str) {
    // Readers report missing checksums at the file with the parts.
    let of_sums = damaged.with_extension("");
    let named = |problem: &Problem| problem.path == damaged || problem.path == of_sums;
    let previous = damaged.ends_with("run.json.previous");
    assert_eq!(
        seen.problems.iter().any(named),
        !previous && !damaged.ends_with("lock"),
        "{how}: {:?}",
        seen.problems
    );
    // The fallback manifest is an older one of the same run.
    let read = seen.manifest.as_ref().expect("one of two is intact");
    let running = Manifest {
        status: RunStatus::Running,
        ..read.clone()
    };
    assert_eq!(running, manifest(PARAMETERS), "{how}");
    let written: Vec<String> = rows(9, PARAMETERS)
        .iter()
        .map(|row| format!("{row:?}"))
        .collect();
    let mut last = None;
    for row in &seen.rows {
        assert_eq!(written[row.step as usize], format!("{row:?}"), "{how}");
        assert!(last < Some(row.step), "{how}: a step appears twice");
        last = Some(row.step);
    }
    for incident in &seen.incidents {
        let text = format!("{incident:?}");
        let known = whole.incidents.iter().any(|i| format!("{i:?}") == text);
        assert!(known, "{how}: {text}");
    }
    let one_of = |found: &Option<Snapshot>| {
        let step = found.as_ref().expect("an older snapshot is intact").step;
        assert!([3, 6].contains(&step), "{how}");
        assert_eq!(found, &Some(snapshot(step)), "{how}");
    };
    one_of(&seen.snapshot);
    if let Some((steps, state)) = &seen.dump {
        assert_eq!(
            format!("{steps:?}"),
            format!("{:?}", whole.dump.as_ref().unwrap().0)
        );
        one_of(state);
    }
    // Damage to one file does not hide the others.
    let of = |name: &str| damaged.to_string_lossy().contains(name);
    if !of("steps") {
        assert_eq!(seen.rows.len(), 9, "{how}");
    }
    if !of("incidents") {
        assert_eq!(seen.incidents.len(), 2, "{how}");
    }
    if !of("snapshots") && !of("incidents/0001") {
        assert_eq!(seen.snapshot, Some(snapshot(6)), "{how}");
    }
    if !of("incidents/0001") {
        assert!(seen.dump.is_some(), "{how}");
    }
}

#[test]
fn an_undamaged_run_reads_back_without_a_problem() {
    let run = small_run();
    let seen = see(run.path());
    assert_eq!(seen.problems, []);
    let expected = rows(9, PARAMETERS);
    assert_eq!(format!("{:?}", seen.rows), format!("{expected:?}"));
    let steps: Vec<u64> = seen.incidents.iter().map(|i| i.step).collect();
    assert_eq!(steps, [6, 8]);
    assert_eq!(seen.snapshot, Some(snapshot(6)));
    assert_eq!(seen.dump.unwrap().1, Some(snapshot(6)));
    assert_eq!(list_dumps(run.path()).unwrap(), [1]);
}

#[test]
fn a_file_cut_at_any_byte_or_gone_is_noticed() {
    let run = small_run();
    let whole = see(run.path());
    let mut paths = Vec::new();
    files(run.path(), &mut paths);
    assert_eq!(paths.len(), 3 + 8 + 2 * 3 + 5, "{paths:?}");
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        // Write a new file each time, because the dump shares files with the snapshots.
        fs::remove_file(&path).unwrap();
        if !path.ends_with("lock") {
            check(
                &see(run.path()),
                &whole,
                &path,
                &format!("{} gone", path.display()),
            );
        }
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let how = format!("{} cut to {length} bytes", path.display());
            check(&see(run.path()), &whole, &path, &how);
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_any_byte_is_noticed() {
    let run = small_run();
    let whole = see(run.path());
    let mut paths = Vec::new();
    files(run.path(), &mut paths);
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for index in 0..bytes.len() {
            // Each byte gets a different flipped bit, so all eight bits are tested many times.
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            fs::write(&path, &flipped).unwrap();
            let how = format!("{} byte {index}", path.display());
            check(&see(run.path()), &whole, &path, &how);
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_damaged_header_or_its_checksum_costs_no_row() {
    for name in ["steps.arrow", "steps.arrow.sums"] {
        let run = small_run();
        let path = run.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let found = read_steps(run.path()).unwrap();
        assert!(!found.problems.is_empty());
        assert_eq!(found.value.rows.len(), 9, "{name}: {:?}", found.problems);
    }
}

#[test]
fn only_the_batch_that_was_changed_is_left_out() {
    let folder = tempdir().unwrap();
    let mut run = RunDir::create(folder.path(), manifest(PARAMETERS)).unwrap();
    let written = rows(256, PARAMETERS);
    for row in &written {
        run.push_step(row.clone()).unwrap();
    }
    run.finish(RunStatus::Ended).unwrap();
    let path = folder.path().join("steps.arrow");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 - 200;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    let found = read_steps(folder.path()).unwrap();
    assert_eq!(found.problems.len(), 1);
    let steps: Vec<u64> = found.value.rows.iter().map(|row| row.step).collect();
    let expected: Vec<u64> = (0..64).chain(128..256).collect();
    assert_eq!(steps, expected);
}
