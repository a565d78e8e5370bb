//! Fuzzes a dump of the forensic ring with its snapshot.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use steadygrad_record::{list_dumps, read_dump};
use steadygrad_fuzz::{Input, folder, seal_value, sum};

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let folder = folder();
    let dump = folder.path().join("incidents/0001");
    let snapshot = input.write_snapshot(&dump.join("snapshot"), 2);
    let ring = input.part(1);
    fs::write(dump.join("ring.json"), ring).unwrap();
    let manifest = if input.fits {
        let manifest = json!({"format": 1, "ring": sum(ring), "snapshot": sum(&snapshot)});
        seal_value(&manifest)
    } else {
        input.part(0).to_vec()
    };
    fs::write(dump.join("manifest.json"), manifest).unwrap();
    assert_eq!(list_dumps(folder.path()).unwrap(), [1]);
    if let Ok(found) = read_dump(folder.path(), 1) {
        // An empty run has no other snapshot to fall back on.
        assert_eq!(
            found.value.snapshot.is_some(),
            found.problems.is_empty() && input_has(&dump)
        );
    }
});

/// Whether the dump's manifest names a snapshot.
fn input_has(dump: &std::path::Path) -> bool {
    let text = fs::read(dump.join("manifest.json")).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&text)
        .is_ok_and(|manifest| !manifest["snapshot"].is_null())
}
