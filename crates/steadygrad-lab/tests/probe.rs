//! `probe` on real subjects: what it says follows from how the subject was made.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use steadygrad::dynamics::{Activation, Axis};
use steadygrad::probe::ProbeReport;
use steadygrad_lab::data::digits;
use steadygrad_lab::models::MlpConfig;
use steadygrad_lab::subjects::{TableMlp, TemporalOrderRnn};
use steadygrad_lab::{Control, Optimizer, Plan, Schedule, Silent, Subject, probe};

fn run<S: Subject>(subject: &S, learning_rate: f64) -> ProbeReport {
    let plan = Plan {
        seed: 7,
        learning_rate,
        momentum: 0.0,
        steps: 1,
        batch_size: 16,
        optimizer: Optimizer::Sgd,
        schedule: Schedule::default(),
        remedies: vec![],
    };
    let cancelled = AtomicBool::new(false);
    let control = Control {
        cancelled: &cancelled,
        progress: &Silent,
    };
    probe(subject, &plan, None, &Device::flex().autodiff(), control)
}

/// `gain` of the hidden layers' weights.
fn mlp(activation: Activation, depth: usize, gain: f64) -> TableMlp {
    let width = 64;
    let config = MlpConfig {
        depth,
        width,
        activation,
        init_std: gain / (width as f64).sqrt(),
    };
    let device = Device::flex().autodiff();
    TableMlp::new("digits-mlp", "digits", digits(), config, 0.95, device)
}

#[test]
fn a_linear_network_grows_by_its_gain() {
    let report = run(&mlp(Activation::Linear, 21, 1.5), 1e-12);
    let spectrum = report.measurements.spectrum.as_ref().unwrap();
    assert_eq!((spectrum.axis, spectrum.steps), (Axis::Depth, 20));
    // Mean over all directions: ln 1.5, whatever the width. A linear network has the same
    // Jacobian at every sample.
    let mean = spectrum.mean_log_growth().unwrap();
    assert!((mean - 1.5f64.ln()).abs() < 0.02, "{mean}");
    let lambda = spectrum.lambda_1().unwrap();
    assert!(
        lambda.value > mean && lambda.standard_error.unwrap() < 1e-6,
        "{lambda:?}"
    );
    let point = report.measurements.criticality.unwrap();
    assert!((point.log_growth() - 1.5f64.ln()).abs() < 0.02, "{point:?}");
    assert!((point.weight_scale() * 1.5 - 1.0).abs() < 0.02);
    let codes: Vec<&str> = report.findings.iter().map(|f| f.code.as_str()).collect();
    assert!(
        codes.contains(&"SG003") && codes.contains(&"SG007"),
        "{codes:?}"
    );
    assert!(report.first_remedy.is_some());
}

#[test]
fn a_critical_network_on_scaled_input_is_healthy() {
    // Raw pixels have a root mean square of 7.9; a first layer of its own would scale them, so
    // here the whole table is scaled.
    let mut table = digits();
    table.values.iter_mut().for_each(|value| *value /= 7.9);
    let config = MlpConfig {
        depth: 10,
        width: 64,
        activation: Activation::Tanh,
        init_std: 1.0 / 8.0,
    };
    let device = Device::flex().autodiff();
    let subject = TableMlp::new("digits-mlp", "digits", table, config, 0.95, device);
    let report = run(&subject, 1e-3);
    assert_eq!(report.findings, []);
    assert_eq!(report.first_remedy, None);
    assert!(report.largest_stable_learning_rate().unwrap() > 1e-3);
    let twins = report.butterfly.unwrap();
    assert!(twins.steps.len() > 10);
}

#[test]
fn products_beyond_f32_are_told() {
    // 250 layers of gain 1.5 on raw pixels: the forward pass itself overflows f32.
    let report = run(&mlp(Activation::Linear, 250, 1.5), 1e-3);
    assert!(!report.measurements.loss.is_finite());
    assert!(report.measurements.spectrum.is_none());
    assert!(!report.findings.is_empty());
    // tanh bounds the state, so its Jacobians can be read; their product lies beyond f32.
    let report = run(&mlp(Activation::Tanh, 81, 20.0), 1e-3);
    let spectrum = report.measurements.spectrum.as_ref().unwrap();
    let log_product = spectrum.lambda_1().unwrap().value * spectrum.steps as f64;
    assert!(log_product > 88.0, "{log_product}");
    let theory = report.measurements.criticality.unwrap().log_growth();
    let mean = spectrum.mean_log_growth().unwrap();
    assert!((mean - theory).abs() < 0.05, "{mean} {theory}");
}

#[test]
fn time_steps_of_a_recurrent_network() {
    let subject = TemporalOrderRnn::new(24, 50, 0.3, 0.95);
    let report = run(&subject, 0.3);
    let spectrum = report.measurements.spectrum.as_ref().unwrap();
    assert_eq!((spectrum.axis, spectrum.steps), (Axis::Time, 24));
    assert_eq!(spectrum.layers[3].name, "t=3");
    // The stages are the very network that is trained: the batch's gradient grows as a random
    // direction does. The control, the weights' gain alone, is far off: tanh damps.
    let growth = &report.measurements.growth;
    let measured = growth.backward_growth_rate().unwrap().ln();
    let mean = spectrum.mean_log_growth().unwrap();
    assert!((mean - measured).abs() < 0.05, "{mean} {measured}");
    let gain = report.measurements.repeated_gain().unwrap().ln();
    assert!((gain - measured).abs() > 0.2, "{gain} {measured}");
    assert!(
        report
            .measurements
            .criticality
            .unwrap()
            .mean_field
            .sigma_b()
            > 0.2
    );
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let text = || {
        let mut report = run(&mlp(Activation::Relu, 6, 2.0), 1e-3);
        report.seconds = 0.0;
        report.subnormals.slowdown = None;
        serde_json::to_string(&report).unwrap()
    };
    assert_eq!(text(), text());
}
