//! The number of workers changes how long a cure takes, and nothing else.

use std::sync::atomic::AtomicBool;

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use steadygrad::cure::{CureReport, Goal};
use steadygrad::dynamics::Activation;
use steadygrad_lab::{
    Control, Job, Optimizer, Plan, Rng, Schedule, Silent, Structure, Subject, Summary, Tape, cure,
};

const ROWS: usize = 80;
const TRAINING: usize = 60;
const WIDTH: usize = 8;
const DEPTH: usize = 6;

#[derive(Module, Debug)]
struct Net {
    hidden: Vec<Linear>,
    norms: Vec<Option<RmsNorm>>,
    output: Linear,
}

/// A ReLU network whose weights come from Burn's own generator, which all threads share.
struct Tiny(Device);

impl Tiny {
    fn error(&self, model: &Net, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        let x: Vec<f32> = rows
            .iter()
            .map(|row| (row * 37 % ROWS) as f32 / ROWS as f32)
            .collect();
        let x = Tensor::<2>::from_data(TensorData::new(x, [rows.len(), 1]), &self.0);
        let mut hidden = x.clone();
        for (index, (linear, norm)) in model.hidden.iter().zip(&model.norms).enumerate() {
            let before = linear.forward(hidden);
            let before = match norm {
                Some(norm) => norm.forward(before),
                None => before,
            };
            hidden = tape.watch(format!("hidden.{index}"), relu(before));
        }
        (model.output.forward(hidden) - x.mul_scalar(2.0))
            .square()
            .mean()
    }
}

impl Subject for Tiny {
    type Model = Net;

    fn summary(&self) -> Summary {
        Summary {
            name: "tiny".into(),
            description: "2 x".into(),
            activation: Activation::Relu,
            depth: Some(DEPTH),
            sequence_length: None,
            training_samples: TRAINING,
            validation_samples: ROWS - TRAINING,
            metric: "minus the squared error",
            goal: Goal {
                metric: -0.1,
                trivial: -1.0 / 3.0,
            },
        }
    }

    fn build(&self, structure: &Structure, _rng: &mut dyn Rng, device: &Device) -> Net {
        let linear = |inputs, outputs| {
            LinearConfig::new(inputs, outputs)
                .with_initializer(Initializer::Normal {
                    mean: 0.0,
                    std: 2.0,
                })
                .init(device)
        };
        let depth = structure.depth.unwrap_or(DEPTH);
        Net {
            hidden: (0..depth)
                .map(|index| linear(if index == 0 { 1 } else { WIDTH }, WIDTH))
                .collect(),
            norms: (0..depth)
                .map(|index| {
                    structure
                        .normalizes(index)
                        .then(|| RmsNormConfig::new(WIDTH).init(device))
                })
                .collect(),
            output: linear(WIDTH, 1),
        }
    }

    fn loss(&self, model: &Net, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        self.error(model, rows, tape)
    }

    fn validate(&self, model: &Net) -> f64 {
        let rows: Vec<usize> = (TRAINING..ROWS).collect();
        let error = self.error(model, &rows, &mut Tape::off());
        -f64::from(error.into_scalar::<f32>())
    }

    fn input_rms(&self, _rows: &[usize]) -> f64 {
        3f64.sqrt().recip()
    }
}

fn cured(workers: usize, seed: u64) -> CureReport {
    let device = Device::flex().autodiff();
    let plan = Plan {
        seed,
        learning_rate: 0.02,
        momentum: 0.5,
        steps: 120,
        batch_size: 20,
        optimizer: Optimizer::Sgd,
        schedule: Schedule::default(),
        remedies: vec![],
    };
    let job = Job {
        out: None,
        workers,
        fresh_seeds: 2,
        study: None,
    };
    let control = Control {
        cancelled: &AtomicBool::new(false),
        progress: &Silent,
    };
    cure(&Tiny(device.clone()), &plan, &job, &device, control, |_| {
        None
    })
    .expect("no record is written")
}

/// The report as JSON without its `seconds`.
fn without_seconds(report: &CureReport) -> Value {
    fn blank(value: &mut Value, blanked: &mut usize) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    if key == "seconds" {
                        *field = Value::Null;
                        *blanked += 1;
                    } else {
                        blank(field, blanked);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| blank(item, blanked)),
            _ => (),
        }
    }
    let text = steadygrad_report::json::cure(report).expect("a report is JSON");
    let mut value = serde_json::from_str(&text).expect("its own JSON");
    let mut blanked = 0;
    blank(&mut value, &mut blanked);
    assert!(blanked > 5, "only {blanked} times were found");
    value
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let (one, two) = (cured(1, 5), cured(2, 5));
    // The run exploded, several trials ran at the same time, and the winner was verified.
    assert!(!one.baseline().expect("it ran").verdict.survived());
    let ran = one.trials.iter().filter(|trial| trial.outcome.is_some());
    assert!(ran.count() >= 7);
    assert!(!one.verification.is_empty());
    assert_eq!(without_seconds(&one), without_seconds(&two));
}

#[test]
fn the_seed_changes_something() {
    assert_ne!(without_seconds(&cured(2, 5)), without_seconds(&cured(2, 6)));
}
