//! Kills the process, or fills the disk, at each operation of a run in turn.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::disk::fault::{Plan, under};
use crate::{
    Dtype, Dumped, ForensicRing, Manifest, NonFinite, Problem, RecordError, RingStep, RunDir,
    RunStatus, Snapshot, SnapshotError, SnapshotStore, StepRecord, Tensor, list_dumps, read_dump,
    read_incidents, read_manifest, read_steps,
};
use steadygrad::guard::{Incident, Judgement};
use steadygrad::recover::{BudgetsLeft, Rung};
use steadygrad::{Decision, GradientStats, StepReading};

fn manifest() -> Manifest {
    Manifest {
        format: 1,
        name: "baseline".into(),
        subject: "a test".into(),
        seed: 1,
        steps: 10,
        parameters: vec!["w".into()],
        status: RunStatus::Running,
    }
}

fn row(step: u64) -> StepRecord {
    let reading = StepReading::new(step, step as f64, 0.1, GradientStats::default());
    StepRecord {
        // A measured norm makes the row equal to itself. A missing norm would be NaN.
        tensor_norms: vec![1.0],
        ..StepRecord::new(&reading, &Decision::Keep)
    }
}

fn incident(step: u64) -> Incident {
    Incident {
        step,
        judgement: Judgement {
            decision: Decision::Skip {
                reason: "it grows".into(),
            },
            rung: Rung::Skip,
            learning_rate_scale: 1.0,
            detections: vec![],
            budgets_left: BudgetsLeft::default(),
        },
    }
}

fn snapshot(step: u64) -> Snapshot {
    Snapshot {
        step,
        tensors: vec![Tensor {
            name: "w".into(),
            dtype: Dtype::U8,
            shape: vec![50],
            bytes: vec![step as u8; 50],
        }],
        state: serde_json::Map::from_iter([("at".to_owned(), step.into())]),
    }
}

fn ring(step: u64) -> ForensicRing {
    let mut ring = ForensicRing::default();
    ring.push(RingStep {
        record: row(step),
        rows: vec![step],
        random_state: step.into(),
    });
    ring
}

/// The progress that the run has reported. All of it must be on disk.
#[derive(Debug, Default, Clone, Copy)]
struct Done {
    created: bool,
    rows: u64,
    incidents: usize,
    snapshot: Option<u64>,
    dump: bool,
    ended: bool,
}

const STEPS: u64 = 7;

/// Does every operation once or twice, and stops at the first failure.
fn run(folder: &Path, done: &mut Done) -> Result<(), SnapshotError> {
    let mut run = RunDir::create(folder, manifest())?;
    done.created = true;
    run = run.keep_snapshots(std::num::NonZeroUsize::MIN.saturating_add(1));
    for step in 0..STEPS {
        if step % 2 == 0 {
            run.write_snapshot(&snapshot(step), NonFinite::Refuse)?;
            (done.snapshot, done.rows) = (Some(step), step);
        }
        run.push_step(row(step))?;
        if step == 3 {
            run.push_incident(&incident(step))?;
            done.incidents = 1;
            run.dump(&ring(step), &[incident(step)], None)?;
            (done.dump, done.rows) = (true, step + 1);
        }
    }
    run.finish(RunStatus::Ended)?;
    (done.ended, done.rows) = (true, STEPS);
    Ok(())
}

/// Checks that all reported progress is on disk, whatever happened afterwards.
fn check(folder: &Path, done: Done, how: &str) {
    if !done.created {
        // The run has reported nothing, so nothing can be lost.
        return;
    }
    let read = read_manifest(folder).unwrap();
    assert_eq!(read.problems, [], "{how}");
    if done.ended {
        assert_eq!(read.value.status, RunStatus::Ended, "{how}");
    }

    let steps = read_steps(folder).unwrap();
    assert!(
        steps.problems.iter().all(Problem::is_torn_tail),
        "{how}: {:?}",
        steps.problems
    );
    let rows = steps.value.rows;
    assert!(
        rows.len() as u64 >= done.rows,
        "{how}: {} rows after {done:?}",
        rows.len()
    );
    let expected: Vec<_> = (0..rows.len() as u64).map(row).collect();
    assert_eq!(rows, expected, "{how}");

    let incidents = read_incidents(folder).unwrap();
    assert!(
        incidents.problems.iter().all(Problem::is_torn_tail),
        "{how}"
    );
    assert!(incidents.value.len() >= done.incidents, "{how}");
    assert!(incidents.value.iter().all(|i| *i == incident(3)), "{how}");

    let found = SnapshotStore::new(folder).newest_good(None).unwrap();
    assert_eq!(found.problems, [], "{how}: a half-written snapshot");
    let step = found.value.as_ref().map(|found| found.step);
    assert!(
        step >= done.snapshot,
        "{how}: back to {step:?} after {done:?}"
    );
    assert_eq!(found.value, step.map(snapshot), "{how}");
    // No row before the snapshot is missing.
    assert!(rows.len() as u64 >= step.unwrap_or(0), "{how}");

    let dumps = list_dumps(folder).unwrap();
    assert!(dumps.len() >= usize::from(done.dump), "{how}");
    for number in dumps {
        let dump = read_dump(folder, number).unwrap();
        assert_eq!(dump.problems, [], "{how}");
        assert_eq!(dump.value.snapshot, Some(snapshot(2)), "{how}");
    }
}

/// Resumes from the newest snapshot and checks that the run ends like an uninterrupted one.
fn go_on(folder: &Path, how: &str) {
    let found = SnapshotStore::new(folder).newest_good(None).unwrap();
    let next = found.value.map_or(0, |found| found.step);
    let mut run = RunDir::resume(folder, next).unwrap().value;
    for step in next..STEPS {
        run.push_step(row(step)).unwrap();
        if step == 3 {
            run.push_incident(&incident(step)).unwrap();
            let dumped = run.dump(&ring(step), &[incident(step)], None).unwrap();
            let number = match dumped {
                Dumped::Written { number, .. } | Dumped::Already { number } => number,
                other => panic!("{how}: {other:?}"),
            };
            assert_eq!(number, 1, "{how}");
        }
    }
    run.write_snapshot(&snapshot(STEPS), NonFinite::Refuse)
        .unwrap();
    run.finish(RunStatus::Ended).unwrap();
    let rows = read_steps(folder).unwrap().value.rows;
    assert_eq!(rows, (0..STEPS).map(row).collect::<Vec<_>>(), "{how}");
    let incidents = read_incidents(folder).unwrap().value;
    assert_eq!(incidents, [incident(3)], "{how}");
    // No half-written file remains.
    for part in ["", "snapshots", "incidents"] {
        let Ok(entries) = fs::read_dir(folder.join(part)) else {
            continue;
        };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let half = [".partial", ".removed"]
                .iter()
                .any(|end| name.ends_with(end));
            assert!(!half || part.is_empty(), "{how}: {name}");
        }
    }
}

#[test]
fn a_crash_between_any_two_operations_leaves_what_was_done() {
    let mut struck_after = 0;
    for operations in 0.. {
        let how = format!("after {operations} operations");
        let folder = tempdir().unwrap();
        let path = folder.path().join("run");
        let mut done = Done::default();
        let (result, struck) = under(Plan::Crash(operations), || run(&path, &mut done));
        check(&path, done, &how);
        if done.created {
            go_on(&path, &how);
        }
        if !struck {
            result.unwrap();
            struck_after = operations;
            break;
        }
        // A failure after the work is done, as in removing an old snapshot, is not an error.
        if let Err(error) = result {
            assert!(!error.to_string().contains("no space"), "{error}");
        }
    }
    assert!(struck_after > 100, "only {struck_after} operations");
}

#[test]
fn a_disk_that_fills_up_at_any_write_is_named_and_leaves_what_was_done() {
    let mut struck_after = 0;
    for writes in 0.. {
        let how = format!("after {writes} writes");
        let folder = tempdir().unwrap();
        let path = folder.path().join("run");
        let mut done = Done::default();
        let (result, struck) = under(Plan::Full(writes), || run(&path, &mut done));
        check(&path, done, &how);
        if done.created {
            // The disk has room again.
            go_on(&path, &how);
        }
        if !struck {
            result.unwrap();
            struck_after = writes;
            break;
        }
        let error = result.unwrap_err();
        let SnapshotError::Record(RecordError::Full { last_good, .. }) = &error else {
            panic!("{how}: {error:?}")
        };
        let good = last_good.as_ref().map(|good| good.step);
        assert_eq!(good, done.snapshot, "{how}");
        assert!(
            error.to_string().starts_with("no space left to "),
            "{error}"
        );
    }
    assert!(struck_after > 20, "only {struck_after} writes");
}

#[test]
fn a_run_whose_creation_was_cut_short_can_be_resumed_or_begun_anew() {
    let mut resumed = 0;
    for operations in 0.. {
        let folder = tempdir().unwrap();
        let path = folder.path().join("run");
        let create = || RunDir::create(&path, manifest()).map(|_| ());
        let (result, struck) = under(Plan::Crash(operations), create);
        match RunDir::resume(&path, 0) {
            Ok(found) => {
                resumed += 1;
                found.value.finish(RunStatus::Ended).unwrap();
                assert_eq!(read_steps(&path).unwrap().value.rows, []);
            }
            // Nothing can be resumed, so a new run may use the folder.
            Err(error) => {
                assert!(error.to_string().contains("run"), "{error}");
                RunDir::create(&path, manifest()).unwrap();
            }
        }
        if !struck {
            result.unwrap();
            break;
        }
    }
    assert!(resumed > 1);
}

#[test]
fn a_resumption_that_is_cut_short_can_be_resumed() {
    for operations in 0.. {
        let folder = tempdir().unwrap();
        let path = folder.path().join("run");
        let mut run = RunDir::create(&path, manifest()).unwrap();
        (0..4).for_each(|step| run.push_step(row(step)).unwrap());
        run.flush().unwrap();
        drop(run);
        let resume = || RunDir::resume(&path, 2).map(|_| ());
        let (result, struck) = under(Plan::Crash(operations), resume);
        let mut run = RunDir::resume(&path, 3).unwrap().value;
        (3..5).for_each(|step| run.push_step(row(step)).unwrap());
        run.finish(RunStatus::Ended).unwrap();
        let rows = read_steps(&path).unwrap().value.rows;
        let steps: Vec<u64> = rows.iter().map(|row| row.step).collect();
        // The second resumption starts at step 3. Step 2 is missing if the first resumption was
        // recorded.
        assert!(
            steps == [0, 1, 2, 3, 4] || steps == [0, 1, 3, 4],
            "{steps:?}"
        );
        if !struck {
            result.unwrap();
            break;
        }
    }
}

#[test]
fn after_a_failed_write_the_rows_are_written_with_the_next() {
    for writes in 0..4 {
        let folder = tempdir().unwrap();
        let path = folder.path().join("run");
        let mut run = RunDir::create(&path, manifest()).unwrap();
        (0..63).for_each(|step| run.push_step(row(step)).unwrap());
        let ((), _) = under(Plan::Full(writes), || {
            let _ = run.push_step(row(63));
            let _ = run.push_incident(&incident(63));
        });
        run.push_step(row(64)).unwrap();
        run.flush().unwrap();
        let found = read_steps(&path).unwrap();
        assert_eq!(found.problems, []);
        assert_eq!(found.value.rows, (0..65).map(row).collect::<Vec<_>>());
        assert_eq!(read_incidents(&path).unwrap().problems, []);
    }
}
