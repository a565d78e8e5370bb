//! Fuzzes event files with valid checksums, so that the parser of the records is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_fuzz::{diagnose_log, split};

fn masked(bytes: &[u8]) -> [u8; 4] {
    let sum = crc32c::crc32c(bytes).rotate_right(15);
    sum.wrapping_add(0xa282_ead8).to_le_bytes()
}

fuzz_target!(|data: &[u8]| {
    let mut file = Vec::new();
    for record in split(data) {
        let length = (record.len() as u64).to_le_bytes();
        file.extend([&length[..], &masked(&length), record, &masked(record)].concat());
    }
    diagnose_log("events", &file);
});
