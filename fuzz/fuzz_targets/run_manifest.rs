//! Fuzzes `run.json` and its previous version: reads both and resumes the run.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use steadygrad_record::{RunDir, RunStatus, read_manifest, read_steps};
use steadygrad_fuzz::{Input, folder, seal};

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else {
        return;
    };
    let folder = folder();
    let run = folder.path();
    input.write_manifest(run);
    let previous = input.part(1);
    let bytes = if input.fits {
        seal(previous)
    } else {
        previous.to_vec()
    };
    fs::write(run.join("run.json.previous"), bytes).unwrap();
    let read = read_manifest(run);
    let resumed = RunDir::resume(run, 3);
    match (read, resumed) {
        (Ok(read), Ok(resumed)) => {
            assert_eq!(read.problems, resumed.problems);
            resumed.value.finish(RunStatus::Ended).unwrap();
            let mut expected = read.value;
            expected.status = RunStatus::Ended;
            let again = read_manifest(run).unwrap();
            assert_eq!((again.value, again.problems), (expected, vec![]));
            assert!(read_steps(run).unwrap().value.rows.is_empty());
        }
        (Err(_), Err(_)) => {}
        // Duplicate parameter names can be read, but cannot be columns.
        (Ok(read), Err(error)) => {
            let names: std::collections::BTreeSet<_> = read.value.parameters.iter().collect();
            assert!(names.len() < read.value.parameters.len(), "{error}");
        }
        (Err(error), Ok(_)) => panic!("resumed, and not read: {error}"),
    }
});
