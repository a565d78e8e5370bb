//! A replay repeats an incident bit for bit and names the first place that failed. It finds each
//! fault where the test injected it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use steadygrad::guard::Preset;
use steadygrad_lab::faults::{BitFlip, F16Overflow, Fault, Faults, Poison, PoisonedBatch};
use steadygrad_lab::subjects::healthy;
use steadygrad_lab::{
    Control, Origin, Plan, ReplayError, ReplayOptions, ReplayReport, Silent, Stage, Subject,
    TrainOptions, replay, train,
};
use steadygrad_record::{list_dumps, read_dump};
use tempfile::tempdir;

const AT: u64 = 130;

fn device() -> Device {
    Device::flex().autodiff()
}

fn record<S: Subject>(subject: &S, plan: &Plan, faults: &Faults, run: &Path) {
    let options = TrainOptions {
        name: "test",
        guard: Preset::Default.into(),
        faults,
        run_dir: Some(run),
        resume: false,
        notes: &[],
    };
    let control = Control {
        cancelled: &AtomicBool::new(false),
        progress: &Silent,
    };
    train(subject, plan, &options, &device(), control).unwrap();
}

fn again<S: Subject>(
    subject: &S,
    plan: &Plan,
    faults: &Faults,
    run: &Path,
) -> Result<ReplayReport, ReplayError> {
    let options = ReplayOptions {
        run,
        incident: 1,
        guard: Preset::Default.into(),
        faults,
        in_f64: true,
        without_decision: Some(20),
    };
    replay(subject, plan, &options, &device()).map(|(replayed, problems)| {
        assert_eq!(problems, []);
        replayed
    })
}

/// Records a run with this fault and replays its first incident. Also returns the batch's rows.
fn incident<S: Subject>(
    subject: &S,
    plan: &Plan,
    fault: impl Into<Fault>,
) -> (ReplayReport, Vec<u64>) {
    let faults = Faults::new(vec![fault.into()], plan.seed).unwrap();
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    record(subject, plan, &faults, &run);
    let replayed = again(subject, plan, &faults, &run).unwrap();
    assert_eq!(replayed.difference, None);
    assert_eq!(replayed.incident.step, AT);
    // The ring of 64 holds the incident's own step.
    assert_eq!(replayed.compared, 64);
    let dump = read_dump(&run, list_dumps(&run).unwrap()[0]).unwrap().value;
    let rows = dump.steps.last().unwrap().rows.clone();
    (replayed, rows)
}

fn short(plan: Plan) -> Plan {
    Plan {
        steps: AT + 40,
        ..plan
    }
}

#[test]
fn a_poisoned_batch_is_found_in_its_sample() {
    let poison = |value| Fault::PoisonedBatch(PoisonedBatch::at(AT, value));
    let check = |(replayed, rows): (ReplayReport, Vec<u64>), layer: &str| {
        let culprit = replayed.culprit.unwrap();
        assert_eq!(
            (culprit.stage, culprit.layer.as_str()),
            (Stage::Forward, layer)
        );
        let [sample] = culprit.samples[..] else {
            panic!("one sample was poisoned: {:?}", culprit.samples);
        };
        assert!(rows.contains(&sample), "{sample} is not of the batch");
        assert!(culprit.non_finite > 0 && culprit.passed_on > 0);
        assert_eq!(replayed.in_f64.unwrap().origin, Origin::Input);
        let counterfactual = replayed.counterfactual.unwrap();
        assert_eq!(counterfactual.worth_it(), Some(true));
        assert_eq!(counterfactual.without.first_non_finite, Some(AT));
        assert_eq!(counterfactual.with.first_non_finite, None);
    };
    let (subject, plan) = healthy::cnn(&device());
    check(
        incident(&subject, &short(plan), poison(Poison::Nan)),
        "input",
    );
    let (subject, plan) = healthy::mlp(&device());
    check(
        incident(&subject, &short(plan), poison(Poison::Inf)),
        "input",
    );
    // The first failure is at the time step of the replaced symbol.
    let (subject, plan) = healthy::rnn();
    let (replayed, rows) = incident(&subject, &short(plan), poison(Poison::Nan));
    let layer = replayed.culprit.as_ref().unwrap().layer.clone();
    assert!(layer.starts_with("t="), "{layer}");
    check((replayed, rows), &layer);
}

#[test]
fn a_flipped_bit_is_found_in_its_weight() {
    let (subject, plan) = healthy::mlp(&device());
    let flip = BitFlip {
        parameter: Some("hidden.1.linear.weight".into()),
        ..BitFlip::at(AT)
    };
    let (replayed, _) = incident(&subject, &short(plan), Fault::BitFlip(flip));
    let culprit = replayed.culprit.unwrap();
    assert_eq!(culprit.stage, Stage::Weights);
    assert_eq!(culprit.layer, "hidden.1.linear.weight");
    assert!(culprit.largest > 10.0 * culprit.usual.unwrap());
    assert!(culprit.samples.is_empty());
}

#[test]
fn an_overflow_of_f16_is_found_after_the_backward_pass() {
    let (subject, plan) = healthy::mlp(&device());
    let fault = Fault::F16Overflow(F16Overflow::at(AT));
    let (replayed, _) = incident(&subject, &short(plan), fault);
    let culprit = replayed.culprit.unwrap();
    assert_eq!(culprit.stage, Stage::AfterBackward);
    assert!(culprit.non_finite > 0);
    assert_eq!(replayed.in_f64.unwrap().origin, Origin::NumberFormat);
}

#[test]
fn a_replay_with_another_study_differs_from_the_record() {
    let (subject, plan) = healthy::cnn(&device());
    let plan = short(plan);
    let faults = Faults::new(
        vec![Fault::PoisonedBatch(PoisonedBatch::at(AT, Poison::Nan))],
        plan.seed,
    )
    .unwrap();
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    record(&subject, &plan, &faults, &run);
    let faster = Plan {
        learning_rate: plan.learning_rate * 1.001,
        ..plan.clone()
    };
    let found = again(&subject, &faster, &faults, &run).unwrap();
    assert!(found.difference.is_some());
    let none = ReplayOptions {
        run: &run,
        incident: 7,
        guard: Preset::Default.into(),
        faults: &faults,
        in_f64: false,
        without_decision: None,
    };
    let error = replay(&subject, &plan, &none, &device()).unwrap_err();
    assert!(
        error.to_string().ends_with("has no incident 7; it has 1"),
        "{error}"
    );
}
