//! A saved run continues bit for bit, and a rollback restores the weights of its snapshot.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use steadygrad::detect::Detector;
use steadygrad::{Decision, Guard};
use steadygrad_burn::{
    GuardReport, GuardedOptimizer, LoopMeasurements, RestoreError, TrainingState,
    for_each_parameter,
};
use steadygrad_record::Snapshot;

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: Linear,
}

fn net(width: usize) -> Net {
    let device = Device::flex().autodiff();
    Net {
        first: LinearConfig::new(4, width).init(&device),
        second: LinearConfig::new(width, 1).with_bias(false).init(&device),
    }
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().init()
}

/// Computes loss and gradients on the deterministic batch `step`, its inputs multiplied by `scale`.
fn gradients(model: &Net, step: u64, scale: f32) -> (f64, GradientsParams) {
    let values: Vec<f32> = (0..32)
        .map(|i| (i as f32 * 0.7 + step as f32).sin() * scale)
        .collect();
    let device = Device::flex().autodiff();
    let input = Tensor::<2>::from_data(TensorData::new(values, [8, 4]), &device);
    let out = model.second.forward(model.first.forward(input).tanh());
    let loss = (out - 1.0).powi_scalar(2).mean();
    let value = f64::from(loss.clone().into_scalar::<f32>());
    (value, GradientsParams::from_grads(loss.backward(), model))
}

fn bits(model: &Net) -> Vec<u32> {
    let mut all = Vec::new();
    for_each_parameter(model, |_, values| {
        all.extend(values.iter().map(|value| value.to_bits()));
    });
    all
}

#[test]
fn a_restored_run_goes_on_as_if_it_had_never_stopped() {
    let mut model = net(5);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), adam());
    for step in 0..30 {
        let (loss, gradients) = gradients(&model, step, 1.0);
        model = optimizer.step(0.01, model, gradients, loss).model;
    }
    let snapshot = optimizer.save(&model).unwrap();
    assert_eq!(snapshot.step, 30);
    // A new model with the same layers has other weights and other parameter identities.
    let fresh = GuardedOptimizer::new(Guard::default(), adam());
    let (mut resumed, mut again) = fresh.restore(net(5), &snapshot).unwrap();
    assert_eq!(bits(&again), bits(&model));
    for step in 30..60 {
        // Both runs skip the NaN.
        let scale = if step == 40 { f32::NAN } else { 1.0 };
        let (loss, one) = gradients(&model, step, scale);
        let done = optimizer.step(0.01, model, one, loss);
        let (loss, other) = gradients(&again, step, scale);
        let same = resumed.step(0.01, again, other, loss);
        assert_eq!(
            done.report.judgement.decision.name(),
            same.report.judgement.decision.name()
        );
        (model, again) = (done.model, same.model);
        assert_eq!(bits(&again), bits(&model), "{step}");
    }
    assert_eq!(resumed.guard(), optimizer.guard());
    assert_eq!(optimizer.guard().summary().skipped, 1);
}

fn damaged(model: Net) -> Net {
    steadygrad_burn::map_parameters(model, |_, _, values| {
        values.iter_mut().for_each(|value| *value *= 1e6);
        true
    })
}

#[test]
fn a_jump_of_the_weights_is_rolled_back() {
    let mut model = net(5);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), adam());
    let mut before = Vec::new();
    for step in 0..80 {
        before.push(bits(&model));
        if step == 60 {
            model = damaged(model);
        }
        let (loss, gradients) = gradients(&model, step, 1.0);
        let done = optimizer.step(0.01, model, gradients, loss);
        model = done.model;
        if step == 60 {
            let GuardReport {
                rolled_back_to,
                judgement,
                ..
            } = done.report;
            let to_step = rolled_back_to.expect("rolled back");
            assert!(matches!(judgement.decision, Decision::Rollback { .. }));
            assert!(to_step <= 52, "a snapshot is on probation at first");
            assert_eq!(bits(&model), before[to_step as usize]);
        } else {
            assert_eq!(done.report.rolled_back_to, None, "{step}");
        }
    }
    assert_eq!(optimizer.guard().summary().rolled_back, 1);
}

#[test]
fn a_run_that_is_stopped_is_left_with_the_last_good_state() {
    let mut model = net(5);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), adam());
    let mut good = Vec::new();
    for step in 0..2000 {
        good.push(bits(&model));
        if step >= 100 && step % 10 == 0 {
            model = damaged(model);
        }
        let (loss, gradients) = gradients(&model, step, 1.0);
        let done = optimizer.step(0.01, model, gradients, loss);
        model = done.model;
        if let Decision::Stop { .. } = done.report.judgement.decision {
            let last = optimizer.guard().last_good().unwrap();
            assert!(0 < last && last < 100, "{last}");
            assert_eq!(bits(&model), good[last as usize]);
            return;
        }
    }
    panic!("the guard never stopped the run");
}

#[test]
fn an_error_names_the_entry_that_does_not_fit() {
    let state = TrainingState {
        model: net(5),
        optimizer: adam(),
    };
    let mut snapshot = Snapshot::default();
    state.save("a/", &mut snapshot).unwrap();
    let into = |width: usize, prefix: &str, snapshot: &Snapshot| {
        let fresh = TrainingState {
            model: net(width),
            optimizer: adam(),
        };
        fresh.restore(prefix, snapshot).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        into(6, "a/", &snapshot),
        RestoreError::Shape {
            name: "first.weight".into(),
            found: vec![4, 5],
            expected: vec![4, 6]
        }
    );
    assert!(matches!(
        into(5, "b/", &snapshot),
        RestoreError::Missing { .. }
    ));
    let mut without = snapshot.clone();
    without
        .tensors
        .retain(|tensor| tensor.name != "a/second.weight");
    assert_eq!(
        into(5, "a/", &without),
        RestoreError::Missing {
            name: "second.weight".into()
        }
    );
    let mut broken = snapshot.clone();
    for tensor in &mut broken.tensors {
        if tensor.name.ends_with("optimizer") {
            tensor.bytes.truncate(3);
        }
    }
    assert!(matches!(
        into(5, "a/", &broken),
        RestoreError::Optimizer { .. }
    ));
    let fresh = GuardedOptimizer::new(Guard::default(), adam());
    let error = fresh.restore(net(5), &snapshot).map(|_| ()).unwrap_err();
    assert!(matches!(error, RestoreError::Missing { .. }), "{error}");
}

/// Trains for `steps`. `measurements` adds measurements to a step's loss. Returns each detection
/// with its step.
fn detections(
    steps: u64,
    measurements: impl Fn(u64, LoopMeasurements) -> LoopMeasurements,
) -> (Vec<(u64, Detector)>, GuardedOptimizer<Net>) {
    let mut model = net(5);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), adam());
    let mut seen = Vec::new();
    for step in 0..steps {
        let (loss, gradients) = gradients(&model, 0, 1.0);
        let measured = measurements(step, LoopMeasurements::new(loss));
        let done = optimizer.step(0.001, model, gradients, measured);
        let detections = done.report.judgement.detections.iter();
        seen.extend(detections.map(|detection| (step, detection.detector)));
        model = done.model;
    }
    (seen, optimizer)
}

#[test]
fn the_guard_judges_the_measurements_of_the_loop() {
    let (seen, _) = detections(60, |_, measured| measured);
    assert_eq!(seen, []);
    let growing = |step, measured: LoopMeasurements| {
        measured
            .with_depth_growth((step % 10 == 0).then_some(3f64.ln()))
            .with_time_growth((step == 25).then_some(1.2f64.ln()))
    };
    let (seen, optimizer) = detections(60, growing);
    // The guard reports each once, without an intervention.
    let expected = [
        (0, Detector::GrowthThroughDepth),
        (25, Detector::GrowthThroughTime),
    ];
    assert_eq!(seen, expected);
    assert_eq!(optimizer.guard().summary().kept, 60);
    // A step that ruins the loss of its own batch is rolled back before the next step.
    let ruined = |step, measured: LoopMeasurements| {
        measured.with_loss_after((step == 50).then_some(f64::INFINITY))
    };
    let (seen, optimizer) = detections(60, ruined);
    assert_eq!(seen, [(50, Detector::Overshoot)]);
    assert_eq!(optimizer.guard().summary().rolled_back, 1);
}

/// From step 100 on, the data give a loss above that of any untrained network.
#[test]
fn a_rollback_that_shows_the_data_to_be_at_fault_is_taken_back() {
    let mut model = net(5);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), adam());
    let mut abandoned: Option<(u64, Vec<u32>)> = None;
    for step in 0..200 {
        let (loss, gradients) = gradients(&model, step, 1.0);
        let worse = if step < 100 { 0.0 } else { 1e3 };
        let before = bits(&model);
        let done = optimizer.step(0.001, model, gradients, loss + worse);
        model = done.model;
        match (&abandoned, done.report.rolled_back_to) {
            (None, Some(_)) => {
                assert_ne!(bits(&model), before);
                abandoned = Some((step, before));
            }
            (Some((at, weights)), Some(to_step)) => {
                assert_eq!(to_step, *at);
                assert!(bits(&model) == *weights);
                assert_eq!(optimizer.guard().learning_rate_scale(), 1.0);
                return;
            }
            (_, None) => {}
        }
    }
    panic!("the abandoned state was never restored");
}

/// The guard rolls back at step 100. A regular snapshot is due before that step as well.
#[test]
fn the_state_that_a_rollback_abandons_is_kept_once_and_is_saved() {
    let mut model = net(5);
    let mut optimizer = GuardedOptimizer::new(Guard::default(), adam());
    for step in 0..=100u64 {
        let noise = f64::from([0, 2, -1, 1, -2][step as usize % 5]);
        let learning = 0.3 + 2.0 * (-(step as f64) / 10.0).exp() + 0.01 * noise;
        let loss = if step < 96 { learning } else { 1.4 };
        let (_, gradients) = gradients(&model, 0, 1.0);
        let done = optimizer.step(1e-4, model, gradients, loss);
        let expected = (step == 100).then_some(80);
        assert_eq!(done.report.rolled_back_to, expected, "{step}");
        model = done.model;
    }
    assert_eq!(
        optimizer.guard().snapshots().collect::<Vec<_>>(),
        [60, 80, 100]
    );
    let snapshot = optimizer.save(&model).unwrap();
    assert_eq!(snapshot.state["kept"], serde_json::json!([60, 80, 100]));
    let names: std::collections::HashSet<_> =
        snapshot.tensors.iter().map(|saved| &saved.name).collect();
    assert_eq!(names.len(), snapshot.tensors.len());
    let fresh = GuardedOptimizer::new(Guard::default(), adam());
    let (resumed, again) = fresh.restore(net(5), &snapshot).unwrap();
    assert_eq!(bits(&again), bits(&model));
    assert_eq!(resumed.guard(), optimizer.guard());
}
