//! W&B's files whose checksums fit, so that what is in the parts is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad::diagnose::{Level, RunDiagnosis};
use steadygrad_fuzz::{BETWEEN, folder};
use steadygrad_logs::{Columns, read};

fuzz_target!(|data: &[u8]| {
    let mut file = b":W&B\xe1\xbe\0".to_vec();
    let mut rest = data;
    while !rest.is_empty() {
        let end = rest.windows(BETWEEN.len()).position(|w| w == BETWEEN);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        // The part's type, then its data.
        let part = &part[..part.len().min(1 << 15)];
        if let Some(length) = part.len().checked_sub(1) {
            file.extend(crc32fast::hash(part).to_le_bytes());
            file.extend((length as u16).to_le_bytes());
            file.extend(part);
        }
        rest = after.get(BETWEEN.len()..).unwrap_or_default();
    }
    let folder = folder();
    let path = folder.path().join("run.wandb");
    std::fs::write(&path, file).expect("a temporary folder can be written to");
    for trace in read(&path, &Columns::default()).unwrap_or_default() {
        let found = RunDiagnosis::of(&trace);
        assert_eq!(
            found.is_healthy(),
            found.findings.iter().all(|one| one.level == Level::Note)
        );
    }
});
