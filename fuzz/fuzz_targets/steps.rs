//! Fuzzes two segments of steps and the manifest that joins them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_record::read_steps;
use steadygrad_fuzz::{Input, folder};

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let folder = folder();
    input.write_manifest(folder.path());
    input.write_segments(folder.path(), ["steps.arrow", "steps-2.arrow"]);
    // A manifest of another layout gives an error.
    if let Ok(found) = read_steps(folder.path()) {
        let table = found.value;
        let kept: usize = table.segments.iter().map(|s| s.rows - s.replaced).sum();
        assert_eq!(kept, table.rows.len());
    }
});
