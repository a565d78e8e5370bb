//! Fuzzes W&B files with valid checksums, so that the parser of the parts is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_fuzz::{diagnose_log, split};

fuzz_target!(|data: &[u8]| {
    let mut file = b":W&B\xe1\xbe\0".to_vec();
    for part in split(data) {
        // The type of the part comes first, then its data.
        let part = &part[..part.len().min(1 << 15)];
        if let Some(length) = part.len().checked_sub(1) {
            file.extend(crc32fast::hash(part).to_le_bytes());
            file.extend((length as u16).to_le_bytes());
            file.extend(part);
        }
    }
    diagnose_log("run.wandb", &file);
});
