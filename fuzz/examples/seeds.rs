//! Writes the seed inputs of fuzzing: the files of a small run, raw and for recomputed checksums.
//! Run `cargo run --example seeds` in this folder.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::json;
use steadygrad::Place;
use steadygrad_record::{
    Dtype, ForensicRing, Manifest, NonFinite, RingStep, RunDir, RunStatus, Snapshot, StepRecord,
    Tensor,
};
use steadygrad_fuzz::BETWEEN;

fn row(step: u64) -> StepRecord {
    StepRecord {
        step,
        loss: f64::NAN,
        learning_rate: 0.1,
        learning_rate_scale: 1.0,
        grad_norm: f64::INFINITY,
        grad_norm_clipped: 1.0,
        update_norm: (step != 1).then_some(0.5),
        weight_norm: (step != 2).then_some(4.0),
        non_finite: step,
        subnormal: 0,
        batch: (step != 2).then_some(step),
        decision: "keep".into(),
        tensor_norms: vec![1.0],
    }
}

fn seed(target: &str, name: &str, mode: u8, files: &[Vec<u8>]) -> std::io::Result<()> {
    let folder = Path::new("corpus").join(target);
    fs::create_dir_all(&folder)?;
    let mut bytes = vec![mode];
    bytes.extend(files.join(BETWEEN));
    fs::write(folder.join(name), bytes)
}

/// Returns a sealed file without its seal.
fn unsealed(bytes: &[u8]) -> Vec<u8> {
    let end = b",\n  \"xxh3\": \"0123456789abcdef\"\n}\n".len();
    bytes[..bytes.len() - end].to_vec()
}

/// Splits a file into the parts that its checksums cover.
fn parts(data: &[u8], sums: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(sums);
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0usize);
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (from, length) = (number(words.next()), number(words.next()));
            data[from..from + length].to_vec()
        })
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = folder.path();
    let manifest = Manifest {
        format: 1,
        name: "a".into(),
        subject: "b".into(),
        seed: 1,
        steps: 9,
        parameters: vec!["w".into()],
        status: RunStatus::Running,
    };
    let gradients = steadygrad::GradientStats { tensors: vec![] };
    let reading = steadygrad::StepReading::new(2, f64::NAN, 0.1, gradients);
    let judgement = steadygrad::Guard::default().step(&reading);
    let incident = judgement.incident(2).expect("a NaN is an incident");
    let tensor = |name: &str, dtype: Dtype, shape: Vec<usize>| Tensor {
        name: name.into(),
        dtype,
        bytes: vec![1; shape.iter().product::<usize>() * dtype.size()],
        shape,
    };
    let snapshot = Snapshot {
        step: 7,
        tensors: vec![
            tensor("w", Dtype::F32, vec![2, 1]),
            tensor("e", Dtype::F64, vec![0]),
            tensor("b", Dtype::Bool, vec![]),
            tensor("h", Dtype::Bf16, vec![3]),
        ],
        state: [("k".to_owned(), json!([1, -0.0, null, {"a": "b"}]))]
            .into_iter()
            .collect(),
    };
    let mut ring = ForensicRing::default();
    let mut open = RunDir::create(run, manifest)?;
    for step in 0..3 {
        open.push_step(row(step))?;
        ring.push(RingStep {
            record: row(step + 7),
            rows: vec![step],
            random_state: json!(step),
        });
    }
    open.push_incident(&incident)?;
    open.write_snapshot(&snapshot, NonFinite::Refuse)?;
    open.dump(&ring, std::slice::from_ref(&incident), None)?;
    drop(open);
    let mut open = RunDir::resume(run, 2)?.value;
    open.push_step(row(2))?;
    open.push_incident(&incident)?;
    open.finish(RunStatus::Ended)?;

    let read = |name: &str| fs::read(run.join(name));
    let (current, previous) = (read("run.json")?, read("run.json.previous")?);
    seed(
        "run_manifest",
        "whole",
        0,
        &[current.clone(), previous.clone()],
    )?;
    seed(
        "run_manifest",
        "fits",
        1,
        &[unsealed(&current), unsealed(&previous)],
    )?;
    for (target, one, two) in [
        ("steps", "steps.arrow", "steps-2.arrow"),
        ("incidents", "incidents.jsonl", "incidents-2.jsonl"),
    ] {
        let pair = |name: &str| -> std::io::Result<[Vec<u8>; 2]> {
            Ok([read(name)?, read(&format!("{name}.sums"))?])
        };
        let (first, second) = (pair(one)?, pair(two)?);
        let mut files = vec![current.clone()];
        files.extend(first.clone());
        files.extend(second.clone());
        seed(target, "whole", 0, &files)?;
        let mut files = vec![unsealed(&current)];
        files.extend(parts(&first[0], &first[1]));
        files.extend(parts(&second[0], &second[1]));
        seed(target, "fits", 1, &files)?;
    }
    let inner = |folder: &str| -> std::io::Result<Vec<Vec<u8>>> {
        ["manifest.json", "tensors.safetensors", "state.json"]
            .iter()
            .map(|name| read(&format!("{folder}/{name}")))
            .collect()
    };
    let names = b"w\ne\nb\nh".to_vec();
    let mut files = inner("snapshots/000001-step-7")?;
    seed("snapshot", "whole", 0, &files)?;
    files[0] = names.clone();
    seed("snapshot", "fits", 1, &files)?;
    let mut files = vec![
        read("incidents/0001/manifest.json")?,
        read("incidents/0001/ring.json")?,
    ];
    files.extend(inner("incidents/0001/snapshot")?);
    seed("dump", "whole", 0, &files)?;
    files[2] = names;
    seed("dump", "fits", 1, &files)?;
    Ok(())
}
