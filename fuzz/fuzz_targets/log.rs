//! A file of any format, and what the rules say to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_fuzz::diagnose_log;

fuzz_target!(|data: &[u8]| diagnose_log("log", data));
