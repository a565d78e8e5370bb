//! Snapshots read back equal, and readers skip damaged ones.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use proptest::prelude::*;
use steadygrad_record::{
    Damage, Dtype, NonFinite, RunDir, RunStatus, Snapshot, SnapshotError, SnapshotStore, Tensor,
};
use tempfile::tempdir;

use crate::common::{manifest, rows, snapshot};

const DTYPES: [Dtype; 13] = [
    Dtype::Bool,
    Dtype::U8,
    Dtype::I8,
    Dtype::U16,
    Dtype::I16,
    Dtype::F16,
    Dtype::Bf16,
    Dtype::U32,
    Dtype::I32,
    Dtype::F32,
    Dtype::U64,
    Dtype::I64,
    Dtype::F64,
];

fn keep(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn any_tensor() -> impl Strategy<Value = (Dtype, Vec<usize>, Vec<u8>)> {
    let shape = prop::collection::vec(0usize..4, 0..4);
    (prop::sample::select(&DTYPES[..]), shape).prop_flat_map(|(dtype, shape)| {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        (
            Just(dtype),
            Just(shape),
            prop::collection::vec(any::<u8>(), bytes),
        )
    })
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        // JSON has no NaN and no infinity.
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let tensors = prop::collection::hash_map(any::<String>(), any_tensor(), 0..6);
    let state = prop::collection::hash_map(any::<String>(), any_json(), 0..4);
    (any::<u64>(), tensors, state).prop_map(|(step, tensors, state)| Snapshot {
        step,
        // The tensors are unsorted, and sometimes two adjacent ones are empty.
        tensors: tensors
            .into_iter()
            .map(|(name, (dtype, shape, bytes))| Tensor {
                name,
                dtype,
                shape,
                bytes,
            })
            .collect(),
        state: state.into_iter().collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_written_reads_back_equal(snapshot in any_snapshot()) {
        let folder = tempdir().unwrap();
        let store = SnapshotStore::new(folder.path());
        let entry = store.write(&snapshot, NonFinite::Allow).unwrap();
        let back = store.read(&entry).unwrap();
        // The text compares the floats of the state bit for bit, including -0.
        prop_assert_eq!(format!("{:?}", back), format!("{:?}", snapshot));
        prop_assert_eq!(back, snapshot);
    }

    #[test]
    fn other_tools_read_the_tensors(snapshot in any_snapshot()) {
        let folder = tempdir().unwrap();
        let store = SnapshotStore::new(folder.path());
        let entry = store.write(&snapshot, NonFinite::Allow).unwrap();
        let bytes = fs::read(entry.path.join("tensors.safetensors")).unwrap();
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(read.len(), snapshot.tensors.len());
        for tensor in &snapshot.tensors {
            let view = read.tensor(&tensor.name).unwrap();
            prop_assert_eq!(view.shape(), &tensor.shape[..]);
            prop_assert_eq!(view.data(), &tensor.bytes[..]);
            let begin = view.data().as_ptr().addr() - bytes.as_ptr().addr();
            prop_assert!(begin.is_multiple_of(tensor.dtype.size()), "not aligned");
        }
    }
}

#[test]
fn nothing_at_all_is_a_snapshot_too() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path());
    assert_eq!(store.newest_good(None).unwrap().value, None);
    assert_eq!(store.list().unwrap(), []);
    let empty = Snapshot::default();
    store.write(&empty, NonFinite::Refuse).unwrap();
    let found = store.newest_good(None).unwrap();
    assert_eq!((found.value, found.problems), (Some(empty), vec![]));
}

#[test]
fn broken_weights_are_refused_and_never_gone_back_to() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path());
    store.write(&snapshot(1), NonFinite::Refuse).unwrap();
    let mut broken = snapshot(2);
    broken.tensors[0].bytes[..8].copy_from_slice(&[0xff; 8]);
    match store.write(&broken, NonFinite::Refuse) {
        Err(SnapshotError::NonFinite { tensor, count }) => {
            assert_eq!((tensor.as_str(), count), ("größe.weight", 2));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.list().unwrap().len(), 1, "nothing was written");
    let entry = store.write(&broken, NonFinite::Allow).unwrap();
    assert_eq!(store.read(&entry), Ok(broken));
    let found = store.newest_good(None).unwrap();
    assert_eq!(found.value, Some(snapshot(1)));
    let [problem] = &found.problems[..] else {
        panic!("{:?}", found.problems)
    };
    assert_eq!(problem.path, entry.path);
    assert_eq!(problem.what, Damage::NonFinite { count: 2 });
}

#[test]
fn what_would_not_read_back_is_refused_with_its_name() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path());
    let refused = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = snapshot(1);
        change(&mut snapshot);
        let error = store.write(&snapshot, NonFinite::Allow).unwrap_err();
        assert_eq!(store.list().unwrap(), [], "{error}");
        error.to_string()
    };
    let twice = refused(&|s| s.tensors[1].name = s.tensors[0].name.clone());
    assert!(twice.contains("`größe.weight` is taken"), "{twice}");
    let reserved = refused(&|s| s.tensors[1].name = "__metadata__".into());
    assert!(reserved.contains("`__metadata__` is taken"), "{reserved}");
    for shape in [vec![], vec![2, 1], vec![0], vec![usize::MAX, 2]] {
        let error = refused(&|s| s.tensors[0].shape = shape.clone());
        assert!(error.contains("`größe.weight` has 12 bytes"), "{error}");
    }
    let mut deep = serde_json::Value::Null;
    for _ in 0..200 {
        deep = vec![deep].into();
    }
    let nested = refused(&|s| {
        s.state.insert("deep".into(), deep.clone());
    });
    assert!(nested.contains("less deeply nested"), "{nested}");
}

#[test]
fn the_ring_keeps_the_newest_and_never_drops_the_last_good_one() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path()).keep(keep(2));
    let steps = || -> Vec<u64> {
        let entries = store.list().unwrap();
        entries.iter().map(|entry| entry.step).collect()
    };
    for step in 0..5 {
        store.write(&snapshot(step), NonFinite::Refuse).unwrap();
    }
    assert_eq!(steps(), [3, 4]);
    let mut broken = snapshot(5);
    broken.tensors[0].bytes[..4].copy_from_slice(&[0xff; 4]);
    for step in 5..9 {
        broken.step = step;
        store.write(&broken, NonFinite::Allow).unwrap();
    }
    assert_eq!(
        steps(),
        [3, 4, 7, 8],
        "broken snapshots do not evict good ones"
    );
    assert_eq!(store.newest_good(None).unwrap().value, Some(snapshot(4)));
    for step in 9..11 {
        store.write(&snapshot(step), NonFinite::Refuse).unwrap();
    }
    assert_eq!(steps(), [9, 10]);
    let left = fs::read_dir(folder.path().join("snapshots"))
        .unwrap()
        .count();
    assert_eq!(left, 2, "no partly removed snapshot remains");
}

#[test]
fn after_a_rollback_what_was_undone_does_not_win() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path()).keep(keep(9));
    for step in [0, 50, 90] {
        store.write(&snapshot(step), NonFinite::Refuse).unwrap();
    }
    // The run goes back to step 50 and continues with other values.
    let mut other = snapshot(60);
    other.state.insert("way".into(), "other".into());
    store.write(&other, NonFinite::Refuse).unwrap();
    let newest = |limit| store.newest_good(limit).unwrap().value.map(|s| s.step);
    assert_eq!(newest(None), Some(60));
    assert_eq!(newest(Some(95)), Some(60));
    assert_eq!(newest(Some(59)), Some(50));
    assert_eq!(newest(Some(0)), Some(0));
    // A second snapshot of the same step is stored as well.
    store.write(&snapshot(60), NonFinite::Refuse).unwrap();
    assert_eq!(store.newest_good(None).unwrap().value, Some(snapshot(60)));
    assert_eq!(store.list().unwrap().len(), 5);
}

#[test]
fn leftovers_of_a_killed_writer_are_not_met_and_go_with_the_next_write() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path());
    store.write(&snapshot(1), NonFinite::Refuse).unwrap();
    let snapshots = folder.path().join("snapshots");
    for name in ["000002-step-2.partial", "000000-step-0.removed"] {
        fs::create_dir(snapshots.join(name)).unwrap();
        fs::write(snapshots.join(name).join("tensors.safetensors"), "half").unwrap();
    }
    fs::write(snapshots.join("notes.txt"), "mine").unwrap();
    let found = store.newest_good(None).unwrap();
    assert_eq!((found.value, found.problems), (Some(snapshot(1)), vec![]));
    store.write(&snapshot(2), NonFinite::Refuse).unwrap();
    let mut names: Vec<_> = fs::read_dir(&snapshots)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["000001-step-1", "000002-step-2", "notes.txt"]);
}

#[test]
fn a_renamed_snapshot_is_not_taken_for_another_step() {
    let folder = tempdir().unwrap();
    let store = SnapshotStore::new(folder.path());
    let entry = store.write(&snapshot(7), NonFinite::Refuse).unwrap();
    fs::rename(&entry.path, entry.path.with_file_name("000001-step-8")).unwrap();
    let found = store.newest_good(None).unwrap();
    assert_eq!(found.value, None);
    assert!(
        found.problems[0]
            .to_string()
            .contains("its name says another")
    );
}

/// Returns a run that is resumed at step `from`. The first process writes `rows_before` rows, and
/// the second writes `rows_after` rows.
fn resumed(folder: &Path, rows_before: usize, from: usize, rows_after: usize) -> RunDir {
    let all = rows(200, 2);
    let mut run = RunDir::create(folder, manifest(2)).unwrap();
    for row in &all[..from] {
        run.push_step(row.clone()).unwrap();
    }
    run.write_snapshot(&snapshot(from as u64), NonFinite::Refuse)
        .unwrap();
    for row in &all[from..rows_before] {
        run.push_step(row.clone()).unwrap();
    }
    run.flush().unwrap();
    // The process is killed here.
    drop(run);
    let next = SnapshotStore::new(folder).newest_good(None).unwrap().value;
    let next = next.unwrap().step;
    let found = RunDir::resume(folder, next).unwrap();
    assert_eq!(found.problems, []);
    let mut run = found.value;
    for row in &all[from..from + rows_after] {
        run.push_step(row.clone()).unwrap();
    }
    run
}

#[test]
fn a_resumed_run_has_every_row_once() {
    use steadygrad_record::{read_manifest, read_steps};
    for (before, from, after) in [(130, 70, 80), (70, 70, 1), (100, 1, 150), (71, 70, 0)] {
        let folder = tempdir().unwrap();
        let first = folder.path().join("steps.arrow");
        let run = resumed(folder.path(), before, from, after);
        assert_eq!(run.manifest().status, RunStatus::Running);
        let untouched = fs::read(&first).unwrap();
        run.finish(RunStatus::Ended).unwrap();
        let found = read_steps(folder.path()).unwrap();
        assert_eq!(found.problems, []);
        let expected = rows(from + after, 2);
        assert_eq!(format!("{:?}", found.value.rows), format!("{expected:?}"));
        let [one, two] = &found.value.segments[..] else {
            panic!("{:?}", found.value.segments)
        };
        assert_eq!((one.rows, one.replaced), (before, before - from));
        assert_eq!((two.rows, two.replaced), (after, 0));
        assert_eq!(two.first_step, Some(from as u64));
        assert_eq!(two.file, "steps-2.arrow");
        assert_eq!(fs::read(&first).unwrap(), untouched);
        let manifest = read_manifest(folder.path()).unwrap().value;
        assert_eq!(manifest.status, RunStatus::Ended);
    }
}

#[test]
fn incidents_of_steps_taken_again_are_those_of_the_later_time() {
    use crate::common::incident;
    use steadygrad_record::read_incidents;
    let folder = tempdir().unwrap();
    let mut run = RunDir::create(folder.path(), manifest(0)).unwrap();
    for step in [3, 8, 9] {
        run.push_incident(&incident(step, 1.0, 1.0)).unwrap();
    }
    drop(run);
    let mut run = RunDir::resume(folder.path(), 8).unwrap().value;
    run.push_incident(&incident(8, 2.0, 1.0)).unwrap();
    let found = read_incidents(folder.path()).unwrap();
    assert_eq!(found.problems, []);
    let seen: Vec<_> = found
        .value
        .iter()
        .map(|i| (i.step, i.judgement.detections[0].value))
        .collect();
    assert_eq!(seen, [(3, 1.0), (8, 2.0)]);
}
