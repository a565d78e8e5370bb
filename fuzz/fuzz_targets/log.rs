//! A file of any format, and what the rules say to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad::diagnose::{Level, RunDiagnosis};
use steadygrad_fuzz::folder;
use steadygrad_logs::{Columns, read};

fuzz_target!(|data: &[u8]| {
    let folder = folder();
    let path = folder.path().join("log");
    std::fs::write(&path, data).expect("a temporary folder can be written to");
    // An error is a file that is no log.
    for trace in read(&path, &Columns::default()).unwrap_or_default() {
        let found = RunDiagnosis::of(&trace);
        assert_eq!(
            found.is_healthy(),
            found.findings.iter().all(|one| one.level == Level::Note)
        );
    }
});
