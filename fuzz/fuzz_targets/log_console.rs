//! Fuzzes console text and its diagnosis.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_fuzz::diagnose_log;

// The first line has no names of columns, so that no other format of text takes the input.
fuzz_target!(|data: &[u8]| diagnose_log("log.txt", &[b"step: 1, loss: 2\n", data].concat()));
