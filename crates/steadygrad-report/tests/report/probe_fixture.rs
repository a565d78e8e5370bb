//! Makes probes of synthetic networks, with the findings of the core's own rules.

use steadygrad::dynamics::{
    Activation, Axis, Butterfly, ButterflySettings, CriticalPoint, Criticality, Exponent,
    GrowthProfile, GrowthSamples, GrowthSpectrum, JacobianProduct, LayerJacobian, MeanField,
    PhaseDiagram, Separation, SeparationStep,
};
use steadygrad::measurements::{
    GradientGrowth, GrowthSource, Measurements, Sharpness, TrainingSetup,
};
use steadygrad::probe::{
    GrowthForecast, Perturbed, ProbeReport, Risk, Slowdown, Subnormals, TwinError, TwinRun,
};

use crate::fixture;

/// Width of the synthetic layers. All their exponents are known.
const WIDTH: usize = 8;
/// Number of samples of the synthetic spectra.
const SAMPLES: usize = 4;

/// Twenty layers at twice the critical gain.
pub(crate) fn exploding() -> ProbeReport {
    // As in the fixture of `cure`: ReLU, gain 3, and a gradient that grows 2.13-fold per layer.
    let mut measurements = fixture::measurements();
    fill(&mut measurements, 3.0, 2.13f64.ln());
    report(measurements, 0.1, Some(0.4))
}

/// Twenty layers at the critical gain.
pub(crate) fn healthy() -> ProbeReport {
    let mut measurements = fixture::measurements();
    let gain = std::f64::consts::SQRT_2;
    for matrix in &mut measurements.weights {
        matrix.frobenius_norm = gain * (matrix.fan_out as f64).sqrt();
        matrix.spectral_norm = 1.93 * gain;
    }
    (measurements.loss, measurements.input_rms) = (2.31, 1.0);
    measurements.global_norm = 1.7;
    measurements.growth = GrowthProfile::new(
        Axis::Depth,
        (0..20).map(|l| {
            let wobble = 1.0 + 0.05 * f64::from(l * 7 % 5 - 2);
            (format!("hidden.{l}"), 0.9 * wobble, 0.6 * wobble)
        }),
    );
    measurements.sharpness = Some(Sharpness {
        lambda_max: 8.0,
        lambda_min: -0.3,
        residual: 0.02,
        iterations: 30,
        rows: 32,
        relative_step: 1e-5,
    });
    fill(&mut measurements, gain, 0.004);
    report(measurements, 0.1, None)
}

/// A recurrent network through time. Its single sample gives no standard errors.
pub(crate) fn through_time() -> ProbeReport {
    let mut report = exploding();
    let measured = &mut report.measurements;
    measured.growth = GrowthProfile::new(
        Axis::Time,
        (0..200).map(|t| (format!("t={t}"), 0.5, 1.07f64.powi(200 - t))),
    );
    let names: Vec<String> = (1..200).map(|t| format!("t={t}")).collect();
    measured.spectrum = spectrum(Axis::Time, &names, 1.07f64.ln(), 1, 64);
    report.setup.sequence_length = Some(200);
    report.setup.depth = None;
    concluded(report)
}

/// A probe that could measure nothing.
pub(crate) fn unmeasured() -> ProbeReport {
    let mut report = exploding();
    let measured = &mut report.measurements;
    (measured.spectrum, measured.criticality, measured.sharpness) = (None, None, None);
    measured.growth.points.clear();
    measured.weights.clear();
    measured.global_norm = 1.0;
    (report.phase_diagram, report.butterfly, report.study) = (None, vec![], None);
    report.subnormals.slowdown = None;
    let mut report = concluded(report);
    (report.findings, report.first_remedy) = (vec![], None);
    report
}

/// A probe with `odd`, a non-finite or extreme number, wherever such a number may occur.
pub(crate) fn odd(odd: f64) -> ProbeReport {
    let mut report = exploding();
    report.seconds = odd;
    report.subnormals = subnormals(odd, odd);
    let measured = &mut report.measurements;
    for value in [
        &mut measured.loss,
        &mut measured.input_rms,
        &mut measured.weight_norm,
        &mut measured.global_norm,
        &mut measured.subnormal_share,
    ] {
        *value = odd;
    }
    measured.growth = GrowthProfile::new(Axis::Time, (0..3).map(|t| (format!("t={t}"), odd, odd)));
    for matrix in &mut measured.weights {
        (matrix.frobenius_norm, matrix.spectral_norm) = (odd, odd);
    }
    measured.sharpness = Some(Sharpness {
        lambda_max: odd,
        lambda_min: odd,
        residual: odd,
        iterations: 0,
        rows: 0,
        relative_step: odd,
    });
    let names = ["t=1".to_owned(), "t=2".to_owned()];
    measured.spectrum = spectrum(Axis::Time, &names, odd, SAMPLES, WIDTH);
    if let Some(found) = &mut measured.criticality {
        (found.chi_1, found.depth_scale, found.log_growth) = (odd, odd, odd);
        found.critical = CriticalPoint::Jump {
            sigma_w: odd,
            below: odd,
            above: odd,
        };
    }
    // The twins are non-finite from step 30 on.
    let mut steps = twins(60, 0.4);
    for step in &mut steps[30..] {
        (
            step.loss.distance,
            step.weights.distance,
            step.gradients.size,
        ) = (odd, odd, odd);
    }
    let found = Butterfly::new(steps, ButterflySettings::new(f64::EPSILON));
    report.butterfly[0].outcome = Ok(found.expect("sound"));
    report.butterfly[1].outcome = Err(TwinError::Perturbation { size: odd });
    for finding in &mut report.findings {
        finding.evidence.iter_mut().for_each(|e| e.value = odd);
    }
    report.forecast = Some(GrowthForecast {
        gradient_growth: GradientGrowth {
            source: GrowthSource::Jacobians,
            rate: Exponent {
                value: odd,
                standard_error: Some(odd),
            },
        },
        gradient_max_abs: Some(odd),
        gradient_rms: Some(odd),
        activation_log_growth: Some(odd),
        ..report.forecast.expect("the fixture grows")
    });
    report
}

/// A probe with markup and control characters in every text that a user may choose.
pub(crate) fn nasty(name: &str) -> ProbeReport {
    let mut report = exploding();
    report.subject.name = name.into();
    report.subject.description = name.into();
    report.study = Some(name.into());
    for point in &mut report.measurements.growth.points {
        point.name = name.into();
    }
    for matrix in &mut report.measurements.weights {
        matrix.name = name.into();
    }
    if let Some(spectrum) = &mut report.measurements.spectrum {
        for layer in &mut spectrum.layers {
            layer.name = name.into();
        }
    }
    report.findings[0].place = steadygrad::Place::Layer(name.into());
    report
}

/// Fills in spectrum and theory of a network whose gradient grows by `e^growth` per layer.
fn fill(measurements: &mut Measurements, sigma_w: f64, growth: f64) {
    let points = measurements.growth.points.iter().skip(1);
    let names: Vec<String> = points.map(|point| point.name.clone()).collect();
    measurements.spectrum = spectrum(Axis::Depth, &names, growth, SAMPLES, WIDTH);
    measurements.criticality = MeanField::new(Activation::Relu, sigma_w, 0.0)
        .and_then(|network| Criticality::new(network, 1.0, names.len()))
        .ok();
}

/// A spectrum with half of each sample's exponents above `growth` and half below. The samples
/// differ slightly.
fn spectrum(
    axis: Axis,
    names: &[String],
    growth: f64,
    samples: usize,
    width: usize,
) -> Option<GrowthSpectrum> {
    let steps = names.len();
    let products: Vec<JacobianProduct> = (0..samples)
        .map(|sample| JacobianProduct {
            log_singular_values: (0..WIDTH)
                .map(|i| steps as f64 * (growth + 0.3 - 0.1 * i as f64 + 0.04 * sample as f64))
                .collect(),
            log_growth: vec![growth; steps],
            complete: width == WIDTH,
            lower_bound: width != WIDTH,
            sweeps: 3,
            last_change: 1e-9,
        })
        .collect();
    let layer = |l: usize| LayerJacobian {
        log_growth: growth + 0.02 * ((l * 7 % 5) as f64 - 2.0),
        log_singular_values: vec![
            growth + 0.7 + 0.05 * ((l * 3 % 7) as f64 - 3.0),
            growth - 4.0,
        ],
    };
    let layers = vec![(0..steps).map(layer).collect(); samples];
    GrowthSpectrum::from_samples(&GrowthSamples {
        axis,
        names,
        products: &products,
        layers: &layers,
        failed_samples: 0,
        width,
        seed: 7,
    })
}

/// Separations that grow by `e^rate` per step, from 1e-8 up to 1, with noise.
fn twins(steps: u64, rate: f64) -> Vec<SeparationStep> {
    (0..steps)
        .map(|step| {
            let noise = 1.0 + 0.2 * (2.7 * step as f64).sin();
            let apart = (1e-8 * (rate * step as f64).exp() * noise).min(1.0);
            let of = |factor: f64| Separation {
                distance: (factor * apart).min(1.2),
                size: 1.0,
            };
            SeparationStep {
                step,
                loss: of(0.05),
                weights: of(1.0),
                gradients: of(20.0),
            }
        })
        .collect()
}

fn report(measurements: Measurements, learning_rate: f64, parting: Option<f64>) -> ProbeReport {
    let like = fixture::cured();
    let steps = match parting {
        Some(rate) => twins(60, rate),
        None => twins(60, 0.0),
    };
    concluded(ProbeReport {
        version: like.version,
        subject: like.subject,
        seed: 11,
        batch_size: 64,
        setup: TrainingSetup {
            learning_rate,
            ..like.setup
        },
        study: like.study,
        subnormals: subnormals(0.25, 3.0),
        forecast: None,
        risk: None,
        phase_diagram: PhaseDiagram::new(Activation::Relu, 1.0, 33).ok(),
        butterfly: vec![
            run(Perturbed::Weights, 1e-8, f64::EPSILON, &steps),
            run(Perturbed::Inputs, 2.4e-6, f64::from(f32::EPSILON), &steps),
        ],
        findings: vec![],
        first_remedy: None,
        measurements,
        seconds: 1.23,
    })
}

fn run(perturbed: Perturbed, applied: f64, resolution: f64, steps: &[SeparationStep]) -> TwinRun {
    TwinRun {
        perturbed,
        requested: 1e-8,
        applied,
        resolution,
        updates: steps.len() as u64 - 1,
        batch_size: 64,
        outcome: Butterfly::new(steps.to_vec(), ButterflySettings::new(resolution))
            .map_err(TwinError::from),
    }
}

fn subnormals(share: f64, factor: f64) -> Subnormals {
    Subnormals {
        gradient_share: share / 2.0,
        signal_share: share,
        signal_lost: share / 4.0,
        slowdown: Some(Slowdown {
            factor,
            layers: 16,
            width: 128,
            rows: 64,
            repeats: 7,
        }),
    }
}

/// Adds the forecast and findings that follow from the measurements.
fn concluded(mut report: ProbeReport) -> ProbeReport {
    report.forecast = GrowthForecast::new(&report.measurements);
    report.risk = Risk::of(
        &report.measurements,
        &report.setup,
        report.subject.parameters,
    );
    (report.findings, report.first_remedy) =
        ProbeReport::conclude(&report.measurements, &report.setup);
    report
}
