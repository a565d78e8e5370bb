//! Measures the cost of recording a run: a row, an incident, a dump, and snapshots. The snapshots
//! hold a million parameters, with and without Adam's two moments.
//!
//! `cargo bench --workspace --bench record -- [FOLDER]` writes into a new folder under FOLDER. The
//! default is the system's temporary folder. It prints JSON: the median in seconds, and bytes per
//! second.
#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports to its standard output"
)]

use std::error::Error;
use std::time::Instant;

use serde_json::json;
use steadygrad::{GradientStats, Guard, StepReading};
use steadygrad_record::{
    Dtype, ForensicRing, Manifest, NonFinite, RingStep, RunDir, RunStatus, Snapshot, SnapshotStore,
    StepRecord, Tensor, read_steps,
};

const VALUES: usize = 1_000_000;
const REPEATS: usize = 15;

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn report(name: &str, seconds: f64, bytes: usize) {
    let line =
        json!({"name": name, "seconds": seconds, "bytes_per_second": bytes as f64 / seconds});
    println!("{line}");
}

/// Returns a snapshot of `copies` million values in 40 tensors.
fn model(copies: usize) -> Snapshot {
    let values = VALUES / 40;
    let tensors = (0..40 * copies).map(|index| Tensor {
        name: format!("tensor.{index}"),
        dtype: Dtype::F32,
        shape: vec![values],
        bytes: (0..values)
            .flat_map(|value| ((value * (index + 1)) as f32).sin().to_le_bytes())
            .collect(),
    });
    Snapshot {
        step: 0,
        tensors: tensors.collect(),
        state: serde_json::Map::new(),
    }
}

fn row(step: u64, parameters: usize) -> StepRecord {
    StepRecord {
        step,
        loss: 1.0,
        learning_rate: 0.1,
        learning_rate_scale: 1.0,
        grad_norm: 1.0,
        grad_norm_clipped: 1.0,
        update_norm: Some(0.1),
        weight_norm: Some(10.0),
        non_finite: 0,
        subnormal: 0,
        batch: Some(step),
        decision: "keep".into(),
        tensor_norms: vec![1.0; parameters],
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let under = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let folder = match under {
        Some(under) => tempfile::tempdir_in(under)?,
        None => tempfile::tempdir()?,
    };
    let manifest = |parameters: usize| Manifest {
        format: 1,
        name: "bench".into(),
        subject: "none".into(),
        seed: 0,
        steps: 0,
        parameters: (0..parameters)
            .map(|index| format!("tensor.{index}"))
            .collect(),
        status: RunStatus::Running,
    };

    let mut run = RunDir::create(&folder.path().join("snapshots"), manifest(40))?;
    for (name, copies) in [("snapshot 4 MB", 1), ("snapshot 12 MB", 3)] {
        let mut snapshot = model(copies);
        let bytes = 4 * VALUES * copies;
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        for repeat in 0..REPEATS as u64 {
            snapshot.step = repeat;
            let start = Instant::now();
            run.write_snapshot(&snapshot, NonFinite::Refuse)?;
            writes.push(start.elapsed().as_secs_f64());
            let start = Instant::now();
            let found = SnapshotStore::new(run.path()).newest_good(None)?;
            reads.push(start.elapsed().as_secs_f64());
            assert!(found.value.is_some_and(|found| found.step == repeat));
        }
        report(&format!("{name}, write"), median(writes), bytes);
        report(&format!("{name}, read"), median(reads), bytes);
    }

    let mut ring = ForensicRing::default();
    for step in 0..32 {
        let record = row(step, 40);
        let rows = (0..128).collect();
        let random_state = json!({"seed": vec![0; 32], "position": step});
        ring.push(RingStep {
            record,
            rows,
            random_state,
        });
    }
    let mut dumps = Vec::new();
    for step in 0..REPEATS as u64 {
        ring.push(RingStep {
            record: row(step + 32, 40),
            rows: (0..128).collect(),
            random_state: json!(step),
        });
        let start = Instant::now();
        run.dump(&ring, &[], None)?;
        dumps.push(start.elapsed().as_secs_f64());
    }
    report(
        "dump of 32 steps, 12 MB linked",
        median(dumps),
        4 * VALUES * 3,
    );

    for parameters in [10, 40, 200] {
        const ROWS: u64 = 64 * 200;
        let path = folder.path().join(format!("rows-{parameters}"));
        let mut run = RunDir::create(&path, manifest(parameters))?;
        let rows: Vec<_> = (0..ROWS).map(|step| row(step, parameters)).collect();
        let start = Instant::now();
        for row in rows {
            run.push_step(row)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        run.finish(RunStatus::Ended)?;
        let bytes = std::fs::metadata(path.join("steps.arrow"))?.len();
        let row = bytes / ROWS;
        report(
            &format!("row of {parameters} parameters ({row} bytes), append"),
            seconds / ROWS as f64,
            row as usize,
        );
        let start = Instant::now();
        let found = read_steps(&path)?;
        assert_eq!(found.value.rows.len() as u64, ROWS);
        let seconds = start.elapsed().as_secs_f64() / ROWS as f64;
        report(
            &format!("row of {parameters} parameters, read"),
            seconds,
            row as usize,
        );
    }

    let mut run = RunDir::create(&folder.path().join("incidents"), manifest(40))?;
    let gradients = GradientStats { tensors: vec![] };
    let judgement = Guard::default().step(&StepReading::new(0, f64::NAN, 0.1, gradients));
    let incident = judgement.incident(0).ok_or("a NaN is an incident")?;
    let start = Instant::now();
    for _ in 0..10_000 {
        run.push_incident(&incident)?;
    }
    report("incident, append", start.elapsed().as_secs_f64() / 1e4, 200);
    Ok(())
}
