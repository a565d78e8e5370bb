//! Tests guarded runs. The guard does not change a healthy run, the record is complete, and a
//! resumed run equals an uninterrupted one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use steadygrad::cure::Outcome;
use steadygrad::detect::Detector;
use steadygrad::guard::Preset;
use steadygrad_lab::faults::{BitFlip, Fault, Faults, LearningRateSpike, Poison, PoisonedBatch};
use steadygrad_lab::subjects::{DigitsCnn, TemporalOrderRnn, healthy};
use steadygrad_lab::unstable::train_unguarded;
use steadygrad_lab::{
    Control, Plan, Progress, StepProgress, Subject, TrainEnd, TrainError, TrainOptions,
    TrainOutcome, measure, train,
};
use steadygrad_record::{
    Snapshot, SnapshotStore, list_dumps, read_dump, read_incidents, read_steps,
};
use tempfile::tempdir;

/// Cancels the run after this step.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Progress for StopAt<'_> {
    fn started(&self, _: &str, _: u64) {}
    fn stepped(&self, _: &str, done: StepProgress<'_>) {
        if done.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
    fn ended(&self, _: &str, _: &Outcome) {}
    fn phase(&self, _: &str) {}
}

fn rnn() -> (TemporalOrderRnn, Plan) {
    let (subject, plan) = healthy::rnn();
    (subject, Plan { steps: 260, ..plan })
}

fn cnn() -> (DigitsCnn, Plan) {
    healthy::cnn(&Device::flex().autodiff())
}

fn run<S: Subject>(
    subject: &S,
    plan: &Plan,
    faults: &Faults,
    run_dir: Option<&Path>,
    stop_at: Option<u64>,
    resume: bool,
) -> Result<TrainOutcome, TrainError> {
    let cancelled = AtomicBool::new(false);
    let stop = StopAt(stop_at.unwrap_or(u64::MAX), &cancelled);
    let control = Control {
        cancelled: &cancelled,
        progress: &stop,
    };
    let options = TrainOptions {
        name: "test",
        guard: Preset::Default.into(),
        faults,
        run_dir,
        resume,
        notes: &[("note.txt", "hello".into())],
    };
    let device = Device::flex().autodiff();
    let (trained, problems) = train(subject, plan, &options, &device, control)?;
    assert_eq!(problems, []);
    Ok(trained)
}

/// The bytes of the final weights. The optimizer's bytes are omitted, because they hold identities
/// that differ between two builds of the same model.
fn weights(run_dir: &Path) -> Vec<(String, Vec<u8>)> {
    let snapshot: Snapshot = SnapshotStore::new(run_dir)
        .newest_good(None)
        .unwrap()
        .value
        .unwrap();
    snapshot
        .tensors
        .into_iter()
        .filter(|tensor| tensor.name.starts_with("now/") && !tensor.name.ends_with("optimizer"))
        .map(|tensor| (tensor.name, tensor.bytes))
        .collect()
}

#[test]
fn a_guard_does_not_change_a_healthy_run() {
    let (subject, plan) = rnn();
    let folder = tempdir().unwrap();
    let dir = folder.path().join("run");
    let none = Faults::default();
    let guarded = run(&subject, &plan, &none, Some(&dir), None, false).unwrap();
    let device = Device::flex().autodiff();
    let bare = train_unguarded(&subject, &plan, &none, &device).unwrap();
    assert_eq!(guarded.guard.kept, plan.steps);
    let rows = read_steps(&dir).unwrap().value.rows;
    let losses: Vec<u64> = rows.iter().map(|row| row.loss.to_bits()).collect();
    let expected: Vec<u64> = bare.losses.iter().map(|loss| loss.to_bits()).collect();
    assert_eq!(losses, expected);
    assert_eq!(guarded.validation_metric, bare.validation_metric);
    assert!(read_incidents(&dir).unwrap().value.is_empty());
    assert_eq!(
        std::fs::read_to_string(dir.join("note.txt")).unwrap(),
        "hello"
    );
}

/// The run uses Adam. It has a fault on each side of the interruption, and a rollback to a state
/// before it.
#[test]
fn a_resumed_run_equals_the_whole_run_to_the_bit() {
    let (subject, plan) = rnn();
    let faults = Faults::new(
        vec![
            Fault::PoisonedBatch(PoisonedBatch::at(60, Poison::Nan)),
            Fault::LearningRateSpike(LearningRateSpike::at(150)),
            Fault::BitFlip(BitFlip::at(205)),
        ],
        plan.seed,
    )
    .unwrap();
    let folder = tempdir().unwrap();
    let whole = folder.path().join("whole");
    let uninterrupted = run(&subject, &plan, &faults, Some(&whole), None, false).unwrap();
    for stop in [0, 99, 152, 206] {
        let parts = folder.path().join(format!("parts-{stop}"));
        let first = run(&subject, &plan, &faults, Some(&parts), Some(stop), false).unwrap();
        assert_eq!((first.end, first.steps), (TrainEnd::Interrupted, stop + 1));
        let second = run(&subject, &plan, &faults, Some(&parts), None, true).unwrap();
        assert_eq!(second.resumed_at, Some(stop + 1));
        assert_eq!(second.guard, uninterrupted.guard, "{stop}");
        assert_eq!(second.rollbacks, uninterrupted.rollbacks);
        assert_eq!(weights(&parts), weights(&whole), "{stop}");
        let rows = |dir: &Path| format!("{:?}", read_steps(dir).unwrap().value.rows);
        assert_eq!(rows(&parts), rows(&whole));
        let incidents = |dir: &Path| format!("{:?}", read_incidents(dir).unwrap().value);
        assert_eq!(incidents(&parts), incidents(&whole));
    }
}

#[test]
fn a_fatal_step_is_skipped_and_recorded() {
    let (subject, plan) = cnn();
    let fault = Fault::PoisonedBatch(PoisonedBatch::at(75, Poison::Nan));
    let faults = Faults::new(vec![fault], plan.seed).unwrap();
    let folder = tempdir().unwrap();
    let dir = folder.path().join("run");
    let guarded = run(&subject, &plan, &faults, Some(&dir), None, false).unwrap();
    let device = Device::flex().autodiff();
    // The control: a run without a guard.
    let bare = train_unguarded(&subject, &plan, &faults, &device).unwrap();
    let clean = train_unguarded(&subject, &plan, &Faults::default(), &device).unwrap();
    assert!(bare.validation_metric.is_nan());
    assert!(guarded.validation_metric > clean.validation_metric - 0.01);
    assert_eq!((guarded.first_alarm, guarded.guard.skipped), (Some(75), 1));
    let incidents = read_incidents(&dir).unwrap().value;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].judgement.decision.name(), "skip");
    // The forensic dump holds the step, its rows and an earlier state.
    assert_eq!(list_dumps(&dir).unwrap(), [1]);
    let dump = read_dump(&dir, 1).unwrap().value;
    let last = dump.steps.last().unwrap();
    assert_eq!((last.record.step, last.rows.len()), (75, plan.batch_size));
    assert!(dump.snapshot.is_some());
}

#[test]
fn the_recorded_growth_through_time_begins_with_the_measured_one() {
    let wild = TemporalOrderRnn::new(20, 32, 16.0 / 32.0_f64.sqrt(), 0.9);
    let (tame, plan) = rnn();
    let plan = Plan { steps: 120, ..plan };
    let expected = measure(&wild, &plan, &Device::flex().autodiff())
        .growth
        .backward_growth_rate()
        .unwrap();
    let seen = |subject: &TemporalOrderRnn| -> Vec<(u64, f64)> {
        let folder = tempdir().unwrap();
        let dir = folder.path().join("run");
        run(subject, &plan, &Faults::default(), Some(&dir), None, false).unwrap();
        let incidents = read_incidents(&dir).unwrap().value;
        let seen = incidents.iter().flat_map(|one| &one.judgement.detections);
        seen.filter(|one| one.detector == Detector::GrowthThroughTime)
            .map(|one| (one.step, one.value))
            .collect()
    };
    let (step, growth) = seen(&wild)[0];
    assert!(
        expected > 2.0 && (growth / expected - 1.0).abs() < 1e-6,
        "{growth} {expected}"
    );
    assert_eq!(step, 0);
    assert_eq!(seen(&tame), []);
}

#[test]
fn a_run_of_another_study_is_not_resumed() {
    let (subject, plan) = rnn();
    let plan = Plan { steps: 5, ..plan };
    let none = Faults::default();
    let folder = tempdir().unwrap();
    let dir = folder.path().join("run");
    run(&subject, &plan, &none, Some(&dir), None, false).unwrap();
    let other = Plan {
        seed: plan.seed + 1,
        ..plan.clone()
    };
    let error = run(&subject, &other, &none, Some(&dir), None, true).unwrap_err();
    assert!(error.to_string().contains("the seed"), "{error}");
    let again = run(&subject, &plan, &none, Some(&dir), None, false).unwrap_err();
    assert!(matches!(again, TrainError::Record(_)), "{again}");
    let nowhere = run(&subject, &plan, &none, None, None, true).unwrap_err();
    assert!(matches!(nowhere, TrainError::NoFolder));
    let missing = folder.path().join("missing");
    assert!(run(&subject, &plan, &none, Some(&missing), None, true).is_err());
    assert!(!missing.exists(), "nothing is made of a mistyped name");
    // Resuming a finished run makes no steps.
    let done = run(&subject, &plan, &none, Some(&dir), None, true).unwrap();
    assert_eq!((done.end, done.steps), (TrainEnd::Completed, 5));
}
