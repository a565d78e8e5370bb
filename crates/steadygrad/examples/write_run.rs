//! Writes a short run directory that ends in NaN, for readers in other languages to be tested on:
//! `cargo run -p steadygrad --example write_run -- DIR`.

use std::path::Path;

use steadygrad::detect::NonFinite;
use steadygrad::record::{Manifest, RunDir, RunStatus, StepRecord};
use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
use steadygrad::{Decision, Guard, GuardConfig, StepReading};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: write_run DIR, where DIR is a new or empty folder")?;
    let parameters = vec!["hidden.0.weight".to_owned(), "output.weight".to_owned()];
    let manifest = Manifest {
        format: 1,
        name: "example".into(),
        subject: "made up".into(),
        seed: 1,
        steps: 100,
        parameters: parameters.clone(),
        status: RunStatus::Running,
    };
    let mut run = RunDir::create(Path::new(&folder), manifest)?;
    let mut guard = Guard::new(GuardConfig::default());
    for step in 0..100u64 {
        // Grows tenfold every ten steps until f32 overflows; from there on NaN.
        let size = if step < 97 {
            10f32.powf(0.4 * step as f32)
        } else {
            f32::NAN
        };
        let tensors = parameters
            .iter()
            .map(|name| NamedStats {
                name: name.clone(),
                stats: TensorStats::of(&[size, 1e-40]),
            })
            .collect();
        let reading = StepReading {
            step,
            loss: f64::from(size * size),
            learning_rate: 0.1,
            gradients: GradientStats { tensors },
            weight_norms: vec![1.0; parameters.len()],
        };
        let (decision, _) = guard.step(&reading);
        if let Some(incident) = NonFinite.check(&reading) {
            run.push_incident(&incident)?;
        }
        let grad_norm = reading.gradients.global_norm();
        run.push_step(StepRecord {
            step,
            loss: reading.loss,
            learning_rate: reading.learning_rate,
            grad_norm,
            grad_norm_clipped: match decision {
                Decision::Keep => grad_norm,
                Decision::ScaleGlobal { coefficient } => coefficient * grad_norm,
                Decision::Stop { .. } => 0.0,
            },
            non_finite: reading.gradients.non_finite(),
            subnormal: reading.gradients.subnormal(),
            decision: decision.name().into(),
            tensor_norms: reading
                .gradients
                .tensors
                .iter()
                .map(|tensor| tensor.stats.tensor_norm)
                .collect(),
        })?;
    }
    run.finish(RunStatus::Ended)?;
    Ok(())
}
