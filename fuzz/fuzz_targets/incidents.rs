//! Fuzzes two segments of incidents and the manifest that joins them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_record::read_incidents;
use steadygrad_fuzz::{Input, folder};

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let folder = folder();
    input.write_manifest(folder.path());
    input.write_segments(folder.path(), ["incidents.jsonl", "incidents-2.jsonl"]);
    // A manifest of another layout gives an error.
    let _ = read_incidents(folder.path());
});
