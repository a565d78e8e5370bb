//! Event files whose checksums fit, so that what is in the records is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad::diagnose::{Level, RunDiagnosis};
use steadygrad_fuzz::{BETWEEN, folder};
use steadygrad_logs::{Columns, read};

fn masked(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes).rotate_right(15);
    sum.wrapping_add(0xa282_ead8).to_le_bytes()
}

fuzz_target!(|data: &[u8]| {
    let mut file = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.windows(BETWEEN.len()).position(|w| w == BETWEEN);
        let (record, after) = rest.split_at(end.unwrap_or(rest.len()));
        let length = (record.len() as u64).to_le_bytes();
        file.extend([&length[..], &masked(&length), record, &masked(record)].concat());
        rest = after.get(BETWEEN.len()..).unwrap_or_default();
    }
    let folder = folder();
    let path = folder.path().join("events");
    std::fs::write(&path, file).expect("a temporary folder can be written to");
    for trace in read(&path, &Columns::default()).unwrap_or_default() {
        let found = RunDiagnosis::of(&trace);
        assert_eq!(
            found.is_healthy(),
            found.findings.iter().all(|one| one.level == Level::Note)
        );
    }
});
