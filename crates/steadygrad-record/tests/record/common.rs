//! Values that the tests write.

use std::fs;
use std::path::Path;

use steadygrad::detect::{Detection, Detector, Severity};
use steadygrad::guard::{Incident, Judgement};
use steadygrad::recover::{BudgetsLeft, Rung};
use steadygrad::{Decision, Place};
use steadygrad_record::{Dtype, Manifest, RunStatus, Snapshot, StepRecord, Tensor};
use xxhash_rust::xxh3::xxh3_64;

/// Every kind of number from a broken run, and some numbers that need all 17 digits.
pub(crate) const ODD: [f64; 13] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    0.1 + 0.2,
    0.011_264_042_820_413_501,
    -1.0 / 3.0,
    1.0,
];

pub(crate) fn manifest(parameters: usize) -> Manifest {
    Manifest {
        format: 1,
        name: "baseline".into(),
        subject: "a test".into(),
        seed: u64::MAX,
        steps: 10,
        parameters: (0..parameters)
            .map(|index| format!("hidden.{index}.weight"))
            .collect(),
        status: RunStatus::Running,
    }
}

pub(crate) fn row(step: usize, parameters: usize) -> StepRecord {
    let odd = |offset: usize| ODD[(step + offset) % ODD.len()];
    StepRecord {
        step: step as u64,
        loss: odd(0),
        learning_rate: odd(1),
        learning_rate_scale: odd(5),
        grad_norm: odd(2),
        grad_norm_clipped: odd(3),
        update_norm: (step % 4 != 1).then(|| odd(6)),
        weight_norm: (step % 3 != 1).then(|| odd(5)),
        non_finite: if step == 0 { u64::MAX } else { step as u64 },
        subnormal: 0,
        batch: (step % 3 != 1).then_some(u64::MAX - step as u64),
        decision: ["keep", "", "größer"][step % 3].into(),
        tensor_norms: (4..4 + parameters).map(odd).collect(),
    }
}

pub(crate) fn rows(count: usize, parameters: usize) -> Vec<StepRecord> {
    (0..count).map(|step| row(step, parameters)).collect()
}

/// Returns the rows as text. In it, NaN equals NaN, and -0 differs from 0.
pub(crate) fn text(rows: &[StepRecord]) -> String {
    format!("{rows:?}")
}

pub(crate) fn incident(step: u64, value: f64, threshold: f64) -> Incident {
    Incident {
        step,
        judgement: Judgement {
            decision: Decision::Skip {
                reason: "one\nline".into(),
            },
            rung: Rung::Skip,
            learning_rate_scale: 0.5,
            detections: vec![Detection {
                detector: Detector::NonFinite,
                severity: Severity::Harmful,
                step,
                place: Place::Parameter("größe.weight".into()),
                value,
                threshold,
                message: "one\nline".into(),
            }],
            budgets_left: BudgetsLeft::default(),
        },
    }
}

/// Returns a small state that is different at each step.
pub(crate) fn snapshot(step: u64) -> Snapshot {
    let values = [step as f32, -0.0, 1e-40];
    let state = serde_json::json!({
        "data": {"epoch": step, "position": u64::MAX},
        "learning_rate": 0.1 + 0.2,
    });
    Snapshot {
        step,
        tensors: vec![
            Tensor {
                name: "größe.weight".into(),
                dtype: Dtype::F32,
                shape: vec![3, 1],
                bytes: values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect(),
            },
            Tensor {
                name: "mask".into(),
                dtype: Dtype::Bool,
                shape: vec![],
                bytes: vec![1],
            },
        ],
        state: state.as_object().cloned().unwrap_or_default(),
    }
}

/// Writes a file from its parts, with valid checksums.
pub(crate) fn sum_up(path: &Path, parts: &[&[u8]]) {
    fs::write(path, parts.concat()).unwrap();
    let (mut lines, mut from) = (String::new(), 0);
    for part in parts {
        let line = format!("{from} {} {:016x}", part.len(), xxh3_64(part));
        lines += &format!("{line} {:016x}\n", xxh3_64(line.as_bytes()));
        from += part.len();
    }
    let mut sums = path.as_os_str().to_owned();
    sums.push(".sums");
    fs::write(sums, lines).unwrap();
}
