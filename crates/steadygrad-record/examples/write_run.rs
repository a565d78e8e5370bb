//! Writes a short run directory that ends in NaN, to test readers in other languages:
//! `cargo run -p steadygrad-record --example write_run -- DIR`.

use std::path::Path;

use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
use steadygrad::{Guard, GuardConfig, StepReading};
use steadygrad_record::{Manifest, RunDir, RunStatus, StepRecord};

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
    let mut guard = Guard::new(GuardConfig::stop_on_non_finite())?;
    for step in 0..100u64 {
        // The gradient grows tenfold every 2.5 steps up to the range of f32. Then it is NaN.
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
        let loss = f64::from(size * size);
        let reading = StepReading::new(step, loss, 0.1, GradientStats { tensors })
            .with_weight_norms(vec![1.0; parameters.len()]);
        let judgement = guard.step(&reading);
        if let Some(incident) = judgement.incident(step) {
            run.push_incident(&incident)?;
        }
        run.push_step(StepRecord {
            batch: size.is_finite().then_some(step),
            ..StepRecord::new(&reading, &judgement.decision)
        })?;
    }
    run.finish(RunStatus::Ended)?;
    Ok(())
}
