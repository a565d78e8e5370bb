//! Runs `probe` on real subjects whose construction determines the report.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use steadygrad::dynamics::{Activation, Axis};
use steadygrad::measurements::GrowthSource;
use steadygrad::probe::{Perturbed, ProbeReport};
use steadygrad::remedy::{CriticalInit, Remedy, RmsNorm, TruncateBptt};
use steadygrad_lab::data::digits;
use steadygrad_lab::models::MlpConfig;
use steadygrad_lab::subjects::{TableMlp, TemporalOrderRnn};
use steadygrad_lab::{Control, Optimizer, Plan, ProbeOptions, Schedule, Silent, Subject, probe};

fn run<S: Subject>(subject: &S, learning_rate: f64) -> ProbeReport {
    run_with(subject, learning_rate, None)
}

fn run_with<S: Subject>(subject: &S, learning_rate: f64, remedy: Option<Remedy>) -> ProbeReport {
    let plan = Plan {
        seed: 7,
        learning_rate,
        momentum: 0.0,
        steps: 1,
        batch_size: 16,
        optimizer: Optimizer::Sgd,
        schedule: Schedule::default(),
        remedies: remedy.into_iter().collect(),
    };
    let cancelled = AtomicBool::new(false);
    let control = Control {
        cancelled: &cancelled,
        progress: &Silent,
    };
    let device = Device::flex().autodiff();
    let options = ProbeOptions::default();
    probe(subject, &plan, options, &device, control)
}

/// A perceptron on raw digits. `gain` is the gain of the hidden layers' weights.
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
    // The mean over all directions is ln 1.5 for every width. A linear network has the same
    // Jacobian at every sample.
    let mean = spectrum.mean_log_growth().unwrap().value;
    assert!((mean - 1.5f64.ln()).abs() < 0.02, "{mean}");
    let lambda = spectrum.lambda_1().unwrap();
    assert!(!spectrum.lower_bound && spectrum.complete);
    assert!(
        lambda.value > mean && lambda.standard_error.unwrap() < 1e-6,
        "{lambda:?}"
    );
    let point = report.measurements.criticality.unwrap();
    assert!((point.log_growth - 1.5f64.ln()).abs() < 0.02, "{point:?}");
    assert!((point.weight_scale().unwrap() * 1.5 - 1.0).abs() < 0.02);
    let codes: Vec<&str> = report.findings.iter().map(|f| f.code.as_str()).collect();
    assert!(
        codes.contains(&"SG003") && codes.contains(&"SG007"),
        "{codes:?}"
    );
    assert!(report.first_remedy.is_some());
}

#[test]
fn a_critical_network_on_scaled_input_is_healthy() {
    // Raw pixels have a root mean square of 7.9. The whole table is scaled instead of the first
    // layer.
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
    let [weights, inputs] = report.butterfly.as_slice() else {
        panic!("{:?}", report.butterfly);
    };
    assert_eq!(weights.perturbed, Perturbed::Weights);
    assert_eq!(inputs.perturbed, Perturbed::Inputs);
    for twins in [weights, inputs] {
        assert_eq!((twins.requested, twins.applied), (1e-8, 1e-8));
        let found = twins.outcome.as_ref().unwrap();
        assert_eq!(found.steps.len() as u64, twins.updates + 1);
        assert_eq!(found.weights.diverged_at, None);
    }
    let subnormals = report.subnormals;
    assert_eq!(
        (subnormals.signal_share, subnormals.signal_lost),
        (0.0, 0.0)
    );
    assert_eq!(subnormals.slowdown.unwrap().width, 64);
}

#[test]
fn products_beyond_f32_are_told() {
    // 250 layers of gain 1.5 on raw pixels: the forward pass itself overflows f32.
    let report = run(&mlp(Activation::Linear, 250, 1.5), 1e-3);
    assert!(!report.measurements.loss.is_finite());
    assert!(report.measurements.spectrum.is_none());
    let codes: Vec<&str> = report.findings.iter().map(|f| f.code.as_str()).collect();
    for code in ["SG001", "SG007", "SG010"] {
        assert!(codes.contains(&code), "{code} {codes:?}");
    }
    let forecast = report.forecast.unwrap();
    assert_eq!(forecast.gradient_growth.source, GrowthSource::MeanField);
    let growth = forecast.gradient_growth.rate.value;
    assert!((growth - 1.5f64.ln()).abs() < 0.02, "{growth}");
    // tanh bounds the state, so that its Jacobians are finite; their product is beyond f32.
    let report = run(&mlp(Activation::Tanh, 301, 4.0), 1e-3);
    let spectrum = report.measurements.spectrum.as_ref().unwrap();
    let log_product = spectrum.lambda_1().unwrap().value * spectrum.steps as f64;
    assert!(log_product > 88.0, "{log_product}");
    assert!(
        report.forecast.unwrap().activation.is_empty(),
        "tanh is bounded"
    );
    let theory = report.measurements.criticality.unwrap().log_growth;
    let mean = spectrum.mean_log_growth().unwrap().value;
    assert!((mean - theory).abs() < 0.05, "{mean} {theory}");
}

/// A prescribed remedy must not cause a finding.
#[test]
fn a_remedy_in_the_plan_is_taken_into_account() {
    let codes = |remedy: Option<Remedy>| -> Vec<String> {
        let report = run_with(&mlp(Activation::Relu, 20, 2.4), 1e-9, remedy);
        let codes = report.findings.into_iter().map(|finding| finding.code);
        codes.collect()
    };
    assert_eq!(codes(None)[..2], ["SG018", "SG007"]);
    let critical = Remedy::CriticalInit(CriticalInit {
        gain: std::f64::consts::SQRT_2,
        input_rms: 7.86,
    });
    assert_eq!(codes(Some(critical)), [] as [&str; 0]);
    // Normalised layers have no critical scale; the input is still unscaled.
    assert_eq!(
        codes(Some(Remedy::RmsNorm(RmsNorm { every: 1 }))),
        ["SG018"]
    );
}

#[test]
fn a_truncated_backward_pass_does_not_vanish() {
    let subject = TemporalOrderRnn::new(24, 50, 0.3, 0.95);
    let report = run_with(
        &subject,
        0.3,
        Some(Remedy::TruncateBptt(TruncateBptt { time_steps: 4 })),
    );
    assert_eq!(report.measurements.growth.points.len(), 4);
    let spectrum = report.measurements.spectrum.unwrap();
    assert_eq!(
        (spectrum.steps, spectrum.layers[0].name.as_str()),
        (4, "t=20")
    );
    let vanishes = report
        .findings
        .iter()
        .any(|finding| finding.code == "SG012");
    assert!(!vanishes, "{:?}", report.findings);
}

#[test]
fn time_steps_of_a_recurrent_network() {
    let subject = TemporalOrderRnn::new(24, 50, 0.3, 0.95);
    let report = run(&subject, 0.3);
    let spectrum = report.measurements.spectrum.as_ref().unwrap();
    assert_eq!((spectrum.axis, spectrum.steps), (Axis::Time, 24));
    assert_eq!(spectrum.layers[3].name, "t=3");
    // The stages describe the network that is trained, so the batch's gradient grows as a random
    // direction does. The control, the gain alone, is far off because tanh damps.
    let growth = &report.measurements.growth;
    let measured = growth.backward_growth_rate().unwrap().ln();
    let mean = spectrum.mean_log_growth().unwrap().value;
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

/// The network has 1,500 layers of 40 units, more than two million parameters.
#[test]
fn twins_of_a_large_network_are_trained_on_request() {
    let config = MlpConfig {
        depth: 1_500,
        width: 40,
        activation: Activation::Tanh,
        init_std: 1.0 / 40f64.sqrt(),
    };
    let device = Device::flex().autodiff();
    let subject = TableMlp::new("digits-mlp", "digits", digits(), config, 0.95, device);
    let report = run(&subject, 1e-3);
    assert!(report.subject.parameters > 2_000_000);
    assert!(report.butterfly.is_empty());
    assert_eq!(report.measurements.spectrum.unwrap().steps, 1_499);
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
