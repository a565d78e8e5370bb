//! Fuzzes a log of any format and its diagnosis.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_fuzz::diagnose_log;

fuzz_target!(|data: &[u8]| diagnose_log("log", data));
