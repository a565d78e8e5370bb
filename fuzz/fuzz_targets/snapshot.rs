//! Fuzzes a snapshot's manifest, tensors and state. A readable snapshot can be written, and reads
//! back equal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_record::{NonFinite, SnapshotStore};
use steadygrad_fuzz::{Input, folder};

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let folder = folder();
    let store = SnapshotStore::new(folder.path());
    input.write_snapshot(&folder.path().join("snapshots/000001-step-7"), 0);
    let good = store.newest_good(None).unwrap();
    assert_eq!(good.value.is_none(), !good.problems.is_empty());
    let entries = store.list().unwrap();
    let Ok(snapshot) = store.read(&entries[0]) else {
        assert!(good.value.is_none());
        return;
    };
    let entry = store.write(&snapshot, NonFinite::Allow).unwrap();
    assert_eq!(store.read(&entry), Ok(snapshot));
});
