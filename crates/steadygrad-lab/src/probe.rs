use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use steadygrad::dynamics::PhaseDiagram;
use steadygrad::measurements::Measurements;
use steadygrad::probe::{GrowthForecast, Perturbed, ProbeReport, Risk};

use crate::build::build;
use crate::butterfly::{Twins, butterfly};
use crate::measure::measure;
use crate::subnormal::subnormals;
use crate::{Control, Plan, Subject};

/// Bound of the multiplications for training a pair of twins. They train for at least
/// [`FEWEST_STEPS`], on smaller batches if the plan's would cost more.
const TWIN_WORK: f64 = 2e10;
const MOST_STEPS: u64 = 200;
/// An exponent needs eight separations.
const FEWEST_STEPS: u64 = 10;
/// Parameters up to which twins are trained by default. An update of a pair takes 60 ns a parameter
/// (0.6 s for 1,000 layers of 100 units), so that two pairs take less than three seconds.
const MOST_PARAMETERS: usize = 2_000_000;
/// With fewer rows, moving the parameters through memory takes most of the time.
const FEWEST_ROWS: usize = 4;

/// Number of bias scales on the phase diagram.
const DIAGRAM_POINTS: usize = 33;

/// Options of a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeOptions {
    /// The study as TOML, for the report.
    pub study: Option<String>,
    /// Whether to train the twins of a network with more than two million parameters as well.
    pub always_twins: bool,
}

/// Predicts before training whether gradients will explode, within seconds.
///
/// It measures growth, spectra, criticality, curvature and subnormal values. It also trains two
/// pairs of twins for a few steps: one pair differs in its weights, the other in its inputs. The
/// twins train on their own thread; above two million parameters they are left out unless
/// [`ProbeOptions::always_twins`] is set.
pub fn probe<S: Subject>(
    subject: &S,
    plan: &Plan,
    options: ProbeOptions,
    device: &Device,
    control: Control<'_>,
) -> ProbeReport {
    let begin = Instant::now();
    let summary = subject.summary();
    let setup = plan.setup(&summary);
    control.progress.phase("measure, and train twins");
    let (model, _) = build(subject, plan, &plan.remedies, device);
    let work = subject.work(&model);
    let pairs: &[Perturbed] = if options.always_twins || model.num_params() <= MOST_PARAMETERS {
        &[Perturbed::Weights, Perturbed::Inputs]
    } else {
        &[]
    };
    let (measurements, butterfly) = std::thread::scope(|scope| {
        let twins = scope.spawn(|| {
            let train = |perturb| butterfly(subject, plan, twins(work, plan, perturb), device);
            pairs.iter().copied().map(train).collect()
        });
        let measurements = measure(subject, plan, device);
        let twins = twins
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (measurements, twins)
    });
    let (findings, first_remedy) = ProbeReport::conclude(&measurements, &setup);
    ProbeReport {
        version: env!("CARGO_PKG_VERSION").into(),
        subject: summary.with_parameters(model.num_params()),
        seed: plan.seed,
        batch_size: plan.batch_size,
        setup,
        study: options.study,
        forecast: GrowthForecast::new(&measurements),
        risk: Risk::of(&measurements, &setup, model.num_params()),
        phase_diagram: phase_diagram(&measurements),
        subnormals: subnormals(subject, plan, device, &measurements),
        butterfly,
        findings,
        first_remedy,
        measurements,
        seconds: begin.elapsed().as_secs_f64(),
    }
}

/// The steps, and the batch size, that the work allows for two twins, forward and backward.
fn twins(work: f64, plan: &Plan, perturb: Perturbed) -> Twins {
    let row = 6.0 * work;
    let rows = (TWIN_WORK / (FEWEST_STEPS as f64 * row.max(1.0))) as usize;
    let batch_size = plan.batch_size.min(rows.max(FEWEST_ROWS));
    let steps = (TWIN_WORK / (row * batch_size as f64).max(1.0)) as u64;
    Twins {
        steps: steps.clamp(FEWEST_STEPS, MOST_STEPS),
        batch_size: Some(batch_size),
        perturb,
        ..Twins::default()
    }
}

/// A phase diagram wide enough to hold this network's point.
fn phase_diagram(measurements: &Measurements) -> Option<PhaseDiagram> {
    let sigma_b = measurements.criticality?.mean_field.sigma_b();
    PhaseDiagram::new(
        measurements.activation,
        (2.0 * sigma_b).max(1.0),
        DIAGRAM_POINTS,
    )
    .ok()
}
