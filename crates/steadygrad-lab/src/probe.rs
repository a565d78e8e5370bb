use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use steadygrad::cure::SubjectSummary;
use steadygrad::dynamics::PhaseDiagram;
use steadygrad::measurements::Measurements;
use steadygrad::probe::{GrowthForecast, Perturbed, ProbeReport};

use crate::butterfly::{Twins, butterfly};
use crate::measure::measure;
use crate::subnormal::subnormals;
use crate::trial::{Control, build};
use crate::{Plan, Subject};

/// Multiplications that training a pair of twins may cost. They train for at least
/// [`FEWEST_STEPS`], whatever that costs.
const TWIN_WORK: f64 = 2e10;
const MOST_STEPS: u64 = 200;
const FEWEST_STEPS: u64 = 10;

/// Bias scales on the phase diagram.
const DIAGRAM_POINTS: usize = 33;

/// What is known before training: growth, spectra, criticality, curvature, subnormal values,
/// and twins trained for a few steps: once their weights differ, once their inputs. Needs no run directory and takes seconds.
pub fn probe<S: Subject>(
    subject: &S,
    plan: &Plan,
    study: Option<String>,
    device: &Device,
    control: Control<'_>,
) -> ProbeReport {
    let begin = Instant::now();
    let summary = subject.summary();
    let setup = plan.setup(&summary);
    control.progress.phase("measure");
    let measurements = measure(subject, plan, device);
    control.progress.phase("twins");
    let (model, _) = build(subject, plan, &plan.remedies, device);
    // Two twins, forward and backward.
    let step = 6.0 * subject.work(&model) * plan.batch_size as f64;
    let steps = (TWIN_WORK / step.max(1.0)) as u64;
    let butterfly = [Perturbed::Weights, Perturbed::Inputs]
        .map(|perturb| {
            let twins = Twins {
                steps: steps.clamp(FEWEST_STEPS, MOST_STEPS),
                perturb,
                ..Twins::default()
            };
            butterfly(subject, plan, twins, device)
        })
        .to_vec();
    let (findings, first_remedy) = ProbeReport::conclude(&measurements, &setup);
    ProbeReport {
        version: env!("CARGO_PKG_VERSION").into(),
        subject: SubjectSummary {
            parameters: model.num_params(),
            name: summary.name,
            description: summary.description,
            metric: summary.metric.into(),
            goal: summary.goal,
            training_samples: summary.training_samples,
            validation_samples: summary.validation_samples,
        },
        seed: plan.seed,
        batch_size: plan.batch_size,
        setup,
        study,
        forecast: GrowthForecast::new(&measurements),
        phase_diagram: phase_diagram(&measurements),
        subnormals: subnormals(subject, plan, device, &measurements),
        butterfly,
        findings,
        first_remedy,
        measurements,
        seconds: begin.elapsed().as_secs_f64(),
    }
}

/// Wide enough to hold this network's point.
fn phase_diagram(measurements: &Measurements) -> Option<PhaseDiagram> {
    let sigma_b = measurements.criticality?.mean_field.sigma_b();
    PhaseDiagram::new(
        measurements.activation,
        (2.0 * sigma_b).max(1.0),
        DIAGRAM_POINTS,
    )
    .ok()
}
