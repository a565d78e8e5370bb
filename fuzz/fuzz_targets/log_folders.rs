//! Fuzzes the folders of burn-train and MLflow, and files that may be one run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadygrad_fuzz::{diagnose_folder, split};

const NAMES: [&str; 6] = [
    "run/train/epoch-1/Loss.log",
    "run/train/epoch-2/Loss.log",
    "run/valid/epoch-1/Loss.log",
    "mlruns/0/a/metrics/loss",
    "train-1.csv",
    "train-2.csv",
];

fuzz_target!(|data: &[u8]| {
    let parts = split(data);
    let files: Vec<(&str, &[u8])> = NAMES.into_iter().zip(parts).collect();
    diagnose_folder(&files);
});
