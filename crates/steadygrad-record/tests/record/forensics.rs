//! Dumps of the forensic ring.

use std::fs;
use std::num::NonZeroUsize;

use steadygrad_record::{
    Dumped, ForensicRing, NonFinite, RecordError, RunDir, list_dumps, read_dump,
};
use tempfile::tempdir;

use crate::common::{incident, manifest, snapshot};
use crate::damage::ring;

fn create(folder: &std::path::Path) -> RunDir {
    RunDir::create(folder, manifest(2)).unwrap()
}

#[test]
fn the_ring_keeps_the_last_steps_and_survives_json() {
    let steps =
        |ring: &ForensicRing| -> Vec<u64> { ring.steps().map(|step| step.record.step).collect() };
    let mut full = ring(0, 40);
    assert_eq!(steps(&full), (8..40).collect::<Vec<_>>());
    let text = serde_json::to_string(&full).unwrap();
    let mut back: ForensicRing = serde_json::from_str(&text).unwrap();
    // A ring with NaN does not equal itself, but its text does.
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    let next = ring(40, 1).steps().next().cloned().unwrap();
    full.push(next.clone());
    back.push(next);
    assert_eq!(format!("{full:?}"), format!("{back:?}"));
    full.clear();
    assert!(steps(&full).is_empty());
    let mut one = ForensicRing::new(NonZeroUsize::MIN);
    for step in ring(0, 3).steps() {
        one.push(step.clone());
    }
    assert_eq!(steps(&one), [2]);
}

#[test]
fn the_snapshot_is_the_newest_before_the_ring() {
    let folder = tempdir().unwrap();
    let mut run = create(folder.path());
    for step in [0, 10, 20] {
        run.write_snapshot(&snapshot(step), NonFinite::Refuse)
            .unwrap();
    }
    let mut dump = |first, in_memory: Option<u64>| {
        let held = in_memory.map(snapshot);
        let fired = [incident(first as u64 + 2, 1.0, 1.0)];
        match run.dump(&ring(first, 3), &fired, held.as_ref()).unwrap() {
            Dumped::Written {
                number,
                snapshot_step,
                problems,
                ..
            } => {
                assert_eq!(problems, []);
                let found = read_dump(folder.path(), number).unwrap();
                assert_eq!(found.problems, []);
                assert_eq!(found.value.snapshot, snapshot_step.map(snapshot));
                assert_eq!(found.value.incidents, fired);
                let steps: Vec<_> = ring(first, 3).steps().cloned().collect();
                assert_eq!(format!("{:?}", found.value.steps), format!("{steps:?}"));
                snapshot_step
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(dump(15, None), Some(10));
    assert_eq!(dump(20, None), Some(20));
    assert_eq!(dump(25, Some(22)), Some(22), "newer than on disk");
    assert_eq!(dump(26, Some(27)), Some(20), "later than the ring");
    assert_eq!(dump(27, Some(20)), Some(20));
    assert_eq!(list_dumps(folder.path()).unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn without_any_snapshot_the_steps_are_kept_all_the_same() {
    let folder = tempdir().unwrap();
    let mut run = create(folder.path());
    for (empty, held, expected) in [(3, None, None), (0, Some(4), Some(4))] {
        let held = held.map(snapshot);
        let dumped = run.dump(&ring(1, empty), &[], held.as_ref()).unwrap();
        let Dumped::Written { number, .. } = dumped else {
            panic!("{dumped:?}")
        };
        let found = read_dump(folder.path(), number).unwrap();
        assert_eq!(found.problems, []);
        assert_eq!(found.value.steps.len(), empty);
        assert_eq!(found.value.snapshot, expected.map(snapshot));
    }
}

#[test]
fn a_dump_outlives_the_snapshot_it_was_made_from() {
    let folder = tempdir().unwrap();
    let mut run = create(folder.path());
    run.write_snapshot(&snapshot(1), NonFinite::Refuse).unwrap();
    run.dump(&ring(2, 1), &[], None).unwrap();
    fs::remove_dir_all(folder.path().join("snapshots")).unwrap();
    let found = read_dump(folder.path(), 1).unwrap();
    assert_eq!(
        (found.value.snapshot, found.problems),
        (Some(snapshot(1)), vec![])
    );
}

#[test]
fn the_same_incident_met_again_is_not_dumped_again() {
    let folder = tempdir().unwrap();
    let mut run = create(folder.path());
    let fired = [incident(2, f64::NAN, 1.0)];
    run.dump(&ring(0, 3), &fired, None).unwrap();
    drop(run);
    let mut run = RunDir::resume(folder.path(), 0).unwrap().value;
    let again = run.dump(&ring(0, 3), &fired, None).unwrap();
    assert_eq!(again, Dumped::Already { number: 1 });
    let other = run.dump(&ring(1, 2), &fired, None).unwrap();
    assert!(matches!(other, Dumped::Written { number: 2, .. }));
}

#[test]
fn dumping_stops_at_the_limit_and_says_so() {
    let folder = tempdir().unwrap();
    let mut run = create(folder.path());
    for number in 1..=16 {
        let dumped = run.dump(&ring(number as usize, 1), &[], None).unwrap();
        assert!(matches!(dumped, Dumped::Written { number: n, .. } if n == number));
    }
    let refused = run.dump(&ring(17, 1), &[], None).unwrap();
    assert_eq!(refused, Dumped::LimitReached { limit: 16 });
    assert_eq!(list_dumps(folder.path()).unwrap().len(), 16);
}

#[test]
fn a_dump_that_is_not_there_is_named() {
    let folder = tempdir().unwrap();
    create(folder.path());
    assert_eq!(list_dumps(folder.path()).unwrap(), [0u32; 0]);
    let error = read_dump(folder.path(), 1).unwrap_err();
    assert!(matches!(error, RecordError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("0001"), "{error}");
}
