//! Tests a single trial. It is repeatable, it equals a plain Burn loop if it only observes, and
//! each remedy has the effect that its description states.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use steadygrad::clip::GlobalNormClip;
use steadygrad::cure::{End, Outcome};
use steadygrad::dynamics::{Activation, SpectralNorm};
use steadygrad::remedy::{
    CapSpectralNorm, ClipGlobalNorm, CriticalInit, LowerLearningRate, ReduceDepth, Remedy, RmsNorm,
};
use steadygrad::{Decision, Guard, GuardConfig};
use steadygrad_burn::{StepOutcome, StepWithoutRollback, for_each_parameter};
use steadygrad_lab::data::digits;
use steadygrad_lab::models::{Mlp, MlpConfig};
use steadygrad_lab::subjects::TableMlp;
use steadygrad_lab::unstable::{TrialSpec, run_trial};
use steadygrad_lab::{
    Control, Optimizer, Plan, Progress, Rng, Schedule, Silent, StepProgress, Structure, Subject,
    Summary, Tape,
};
use steadygrad_record::{Manifest, RecordError, RunStatus, StepTable, read_steps};

const DEPTH: usize = 4;
const WIDTH: usize = 16;
const STEPS: u64 = 30;
const HEALTHY_STD: f64 = 0.3;
const EXPLODING_STD: f64 = 30.0;

/// A small perceptron on the digits. It records the model and the batch of each loss.
struct Watched {
    inner: TableMlp,
    /// At this step the loss is NaN, and with it every gradient.
    nan_at: Option<usize>,
    seen: Mutex<Vec<(Mlp, Vec<usize>)>>,
}

impl Watched {
    fn new(init_std: f64) -> Self {
        let config = MlpConfig {
            depth: DEPTH,
            width: WIDTH,
            activation: Activation::Relu,
            init_std,
        };
        Self {
            inner: TableMlp::new("digits", "digits", digits(), config, 0.9, device()),
            nan_at: None,
            seen: Mutex::default(),
        }
    }

    /// The weights at the start of each step.
    fn weights(&self) -> Vec<Weights> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().map(|(model, _)| weights(model)).collect()
    }
}

impl Subject for Watched {
    type Model = Mlp;

    fn summary(&self) -> Summary {
        self.inner.summary()
    }

    fn build(&self, structure: &Structure, rng: &mut dyn Rng, device: &Device) -> Mlp {
        self.inner.build(structure, rng, device)
    }

    fn loss(&self, model: &Mlp, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        let mut seen = self.seen.lock().expect("no panic");
        let step = seen.len();
        seen.push((model.clone(), rows.to_vec()));
        let loss = self.inner.loss(model, rows, tape);
        if self.nan_at == Some(step) {
            loss.mul_scalar(f32::NAN)
        } else {
            loss
        }
    }

    fn validate(&self, model: &Mlp) -> f64 {
        self.inner.validate(model)
    }

    fn input_rms(&self, rows: &[usize]) -> f64 {
        self.inner.input_rms(rows)
    }
}

type Weights = HashMap<String, Vec<f32>>;

fn weights<M: Module>(model: &M) -> Weights {
    let mut weights = HashMap::new();
    for_each_parameter(model, |parameter, values| {
        weights.insert(parameter.name, values.to_vec());
    });
    weights
}

fn moved(before: &Weights, after: &Weights) -> f64 {
    let square = |(name, before): (&String, &Vec<f32>)| -> f64 {
        let pairs = before.iter().zip(&after[name]);
        pairs
            .map(|(before, after)| (f64::from(*after) - f64::from(*before)).powi(2))
            .sum()
    };
    before.iter().map(square).sum::<f64>().sqrt()
}

fn hidden(layer: usize) -> String {
    format!("hidden.{layer}.linear.weight")
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn plan() -> Plan {
    Plan {
        seed: 11,
        learning_rate: 1e-3,
        momentum: 0.0,
        steps: STEPS,
        batch_size: 32,
        optimizer: Optimizer::Sgd,
        schedule: Schedule::default(),
        remedies: vec![],
    }
}

fn spec(remedy: Option<&Remedy>) -> TrialSpec<'_> {
    TrialSpec {
        name: "trial",
        remedy,
        observe: remedy.is_none(),
        run_dir: None,
        margin: false,
    }
}

fn run(subject: &impl Subject, plan: &Plan, spec: TrialSpec<'_>) -> Outcome {
    let control = Control {
        cancelled: &AtomicBool::new(false),
        progress: &Silent,
    };
    let mut outcome = run_trial(subject, plan, spec, &device(), control).expect("it can record");
    outcome.seconds = 0.0;
    outcome
}

fn bits(values: &[f64]) -> Vec<u64> {
    // This comparison treats all NaN as equal.
    let bits = |value: &f64| {
        if value.is_nan() {
            f64::NAN.to_bits()
        } else {
            value.to_bits()
        }
    };
    values.iter().map(bits).collect()
}

fn manifest(run_dir: &Path) -> Manifest {
    let text = std::fs::read(run_dir.join("run.json")).expect("it was written");
    serde_json::from_slice(&text).expect("it is a manifest")
}

#[test]
fn the_seed_decides_everything_but_the_seconds() {
    let subject = Watched::new(HEALTHY_STD);
    let measured = TrialSpec {
        margin: true,
        ..spec(None)
    };
    let first = run(&subject, &plan(), measured);
    assert_eq!(first.end, End::Completed);
    assert_eq!(first.steps_done, STEPS);
    assert!(first.verdict.survived() && first.stability_margin.is_some());
    assert_eq!(first, run(&subject, &plan(), measured));

    let other = run(&subject, &Plan { seed: 12, ..plan() }, measured);
    assert_ne!(first.initial_loss, other.initial_loss);
    assert_ne!(first.trace, other.trace);
}

#[test]
fn the_seed_decides_an_explosion_too() {
    let subject = Watched::new(EXPLODING_STD);
    let [first, second] = [(); 2].map(|()| run(&subject, &plan(), spec(None)));
    assert!(first.first_non_finite_step.is_some());
    // Compare as text, because NaN does not equal itself.
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

/// Runs a plain Burn loop that starts from the trial's first model and uses its batches.
fn plain_burn(subject: &Watched, plan: &Plan) -> (Vec<f64>, f64) {
    let seen = std::mem::take(&mut *subject.seen.lock().expect("no panic"));
    let momentum = MomentumConfig::new()
        .with_momentum(plan.momentum)
        .with_dampening(0.0);
    let mut optimizer = SgdConfig::new()
        .with_momentum((plan.momentum > 0.0).then_some(momentum))
        .init();
    let mut model = seen[0].0.clone();
    let mut losses = Vec::new();
    for (_, rows) in &seen {
        let loss = subject.inner.loss(&model, rows, &mut Tape::off());
        losses.push(f64::from(loss.clone().into_scalar::<f32>()));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(plan.learning_rate, model, gradients);
    }
    (losses, subject.inner.validate(&model))
}

#[test]
fn a_trial_that_only_observes_equals_plain_burn_to_the_bit() {
    for momentum in [0.0, 0.9] {
        let plan = Plan { momentum, ..plan() };
        let subject = Watched::new(HEALTHY_STD);
        let outcome = run(&subject, &plan, spec(None));
        let (losses, metric) = plain_burn(&subject, &plan);
        assert_eq!(losses.len() as u64, STEPS);
        assert!(losses.iter().all(|loss| loss.is_finite()));
        assert_ne!(losses[0], losses[1]);
        assert_eq!(bits(&outcome.trace.loss), bits(&losses));
        assert_eq!(outcome.validation_metric, metric);
    }
}

#[test]
fn observing_an_explosion_does_not_soften_it() {
    let subject = Watched::new(EXPLODING_STD);
    let outcome = run(&subject, &plan(), spec(None));
    let (losses, _) = plain_burn(&subject, &plan());
    let lost = losses.iter().position(|loss| !loss.is_finite());
    // The trial continues after the first non-finite loss.
    assert!(
        lost.is_some_and(|lost| lost + 1 < losses.len()),
        "{losses:?}"
    );
    assert_eq!(bits(&outcome.trace.loss), bits(&losses));
}

#[test]
fn a_clip_that_never_binds_changes_nothing() {
    let subject = Watched::new(HEALTHY_STD);
    let watched = run(&subject, &plan(), spec(None));
    let loose = Remedy::ClipGlobalNorm(ClipGlobalNorm { max_norm: 1e30 });
    assert_eq!(watched, run(&subject, &plan(), spec(Some(&loose))));
}

#[test]
fn clipping_bounds_every_move_of_the_weights() {
    let max_norm = 0.5;
    let subject = Watched::new(HEALTHY_STD);
    let clip = Remedy::ClipGlobalNorm(ClipGlobalNorm { max_norm });
    let outcome = run(&subject, &plan(), spec(Some(&clip)));
    assert_eq!(outcome.clip_rate, 1.0);
    let bound = plan().learning_rate * max_norm;
    for pair in subject.weights().windows(2) {
        let moved = moved(&pair[0], &pair[1]);
        // The weights are rounded to f32, so a change can exceed the bound slightly.
        assert!((moved / bound - 1.0).abs() < 1e-3, "{moved} for {bound}");
    }

    let untreated = Watched::new(HEALTHY_STD);
    run(&untreated, &plan(), spec(None));
    let [before, after] = &untreated.weights()[..2] else {
        panic!("two steps")
    };
    assert!(moved(before, after) > 2.0 * bound);
}

/// Makes one guarded step of a linear layer on a batch filled with this value.
fn linear_step(config: GuardConfig, input: f32) -> (Weights, StepOutcome<Linear>) {
    const LEARNING_RATE: f64 = 0.1;
    let device = device();
    let mut model = LinearConfig::new(3, 2).init(&device);
    let weight = TensorData::new(vec![0.5f32, -0.25, 1.0, 0.75, -1.0, 0.1], [3, 2]);
    model.weight = Param::from_tensor(Tensor::from_data(weight, &device));
    let before = weights(&model);
    let input = Tensor::<2>::full([4, 3], input, &device);
    let loss = model.forward(input).square().mean();
    let value = f64::from(loss.clone().into_scalar::<f32>());
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let mut optimizer = SgdConfig::new().init();
    let mut guard = Guard::new(config).unwrap();
    let done = StepWithoutRollback::new(&mut guard, &mut optimizer, 0).run(
        LEARNING_RATE,
        model,
        gradients,
        value,
    );
    (before, done)
}

#[test]
fn an_oversized_gradient_moves_the_weights_by_the_bound() {
    let clipping = GuardConfig::default().with_clip(GlobalNormClip::new(2.0));
    let (before, done) = linear_step(clipping, 1e4);
    assert!(done.report.reading.gradients.global_norm() > 1e6);
    assert!(matches!(
        done.report.judgement.decision,
        Decision::ScaleGlobal { .. }
    ));
    let distance = moved(&before, &weights(&done.model));
    assert!((distance / (0.1 * 2.0) - 1.0).abs() < 1e-5, "{distance}");

    let (before, done) = linear_step(GuardConfig::default(), 1e4);
    assert!(moved(&before, &weights(&done.model)) > 1e5);
}

#[test]
fn a_nan_batch_reaches_no_weight_when_the_guard_stops() {
    let (before, done) = linear_step(GuardConfig::stop_on_non_finite(), f32::NAN);
    assert!(matches!(
        done.report.judgement.decision,
        Decision::Stop { .. }
    ));
    assert_eq!(weights(&done.model), before);

    let (_, done) = linear_step(GuardConfig::observe(), f32::NAN);
    assert_eq!(done.report.judgement.decision, Decision::Keep);
    let after = weights(&done.model);
    assert!(after["weight"].iter().all(|value| value.is_nan()));
}

#[test]
fn a_nan_loss_ends_a_guarded_trial_at_once_and_an_observed_one_soon() {
    let mut subject = Watched::new(HEALTHY_STD);
    subject.nan_at = Some(7);
    let clip = Remedy::ClipGlobalNorm(ClipGlobalNorm { max_norm: 1e30 });
    let guarded = run(&subject, &plan(), spec(Some(&clip)));
    assert!(matches!(guarded.end, End::Failed { .. }));
    assert_eq!((guarded.steps_done, guarded.trace.loss.len()), (7, 8));
    assert_eq!(guarded.first_non_finite_step, Some(7));
    assert!(guarded.validation_metric.is_nan() && !guarded.verdict.survived());

    subject.seen = Mutex::default();
    let watched = run(&subject, &plan(), spec(None));
    assert!(matches!(watched.end, End::Failed { .. }));
    assert_eq!(watched.first_non_finite_step, Some(7));
    assert!(watched.trace.loss.len() > 8 && watched.steps_done < STEPS);
    // The test makes only step 7 NaN. Later steps are NaN because its update was applied.
    assert!(watched.trace.loss[8].is_nan());
    assert!(subject.weights()[8][&hidden(1)].iter().all(|w| w.is_nan()));
}

/// A trial with its record, and the weights of each step.
struct Recorded {
    outcome: Outcome,
    manifest: Manifest,
    steps: StepTable,
    weights: Vec<Weights>,
}

fn recorded(remedy: Option<Remedy>) -> Recorded {
    recorded_at(plan().learning_rate, remedy)
}

fn recorded_at(learning_rate: f64, remedy: Option<Remedy>) -> Recorded {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run_dir = folder.path().join("run");
    let subject = Watched::new(HEALTHY_STD);
    let plan = Plan {
        learning_rate,
        ..plan()
    };
    let recording = TrialSpec {
        run_dir: Some(&run_dir),
        ..spec(remedy.as_ref())
    };
    Recorded {
        outcome: run(&subject, &plan, recording),
        manifest: manifest(&run_dir),
        steps: read_steps(&run_dir).expect("it was written").value,
        weights: subject.weights(),
    }
}

#[test]
fn the_record_equals_the_trial() {
    let Recorded {
        outcome,
        manifest,
        steps,
        weights,
    } = recorded(None);
    assert_eq!(manifest.status, RunStatus::Ended);
    assert_eq!((manifest.seed, manifest.steps), (11, STEPS));
    assert_eq!(manifest.parameters.len(), 2 * (DEPTH + 1));
    assert_eq!(steps.parameters, manifest.parameters);
    assert!(
        manifest
            .parameters
            .iter()
            .all(|name| weights[0].contains_key(name))
    );
    let column = |value: fn(&steadygrad_record::StepRecord) -> f64| -> Vec<f64> {
        steps.rows.iter().map(value).collect()
    };
    assert_eq!(column(|row| row.loss), outcome.trace.loss);
    assert_eq!(column(|row| row.grad_norm), outcome.trace.grad_norm);
    assert!(steps.rows.iter().all(|row| row.learning_rate == 1e-3));
    assert_eq!((outcome.work, outcome.clip_rate), (1.0, 0.0));
}

#[test]
fn clip_global_norm_scales_the_gradients_and_not_the_initial_weights() {
    let plain = recorded(None);
    let treated = recorded(Some(Remedy::ClipGlobalNorm(ClipGlobalNorm {
        max_norm: 0.5,
    })));
    assert_eq!(treated.outcome.initial_loss, plain.outcome.initial_loss);
    for row in &treated.steps.rows {
        assert_eq!(row.decision, "scale_global");
        assert!(row.grad_norm > 0.5);
        assert!((row.grad_norm_clipped - 0.5).abs() < 1e-9);
    }
    assert!(plain.steps.rows.iter().all(|row| row.decision == "keep"));
}

#[test]
fn cap_spectral_norm_holds_the_hidden_matrices_at_every_step() {
    const CAP: f64 = 1.0;
    // The learning rate is so large that every hidden matrix would exceed a cap that acts only
    // once.
    const LEARNING_RATE: f64 = 0.2;
    let norm = |weights: &Weights, name: &str| {
        SpectralNorm::new(WIDTH).estimate(weights[name].as_slice(), 500)
    };
    let cap = Remedy::CapSpectralNorm(CapSpectralNorm {
        max_spectral_norm: CAP,
    });
    let plain = recorded(None);
    let treated = recorded_at(LEARNING_RATE, Some(cap));
    assert_eq!(treated.weights.len() as u64, STEPS);
    for layer in 1..DEPTH {
        let name = hidden(layer);
        assert!(norm(&plain.weights[0], &name) > 1.5 * CAP);
        for weights in &treated.weights {
            // One power iteration a step underestimates the norm.
            let norm = norm(weights, &name);
            assert!(norm < 1.15 * CAP, "{name}: {norm}");
        }
    }
    for name in [hidden(0), "output.weight".into()] {
        assert_eq!(treated.weights[0][&name], plain.weights[0][&name]);
    }
    assert_ne!(treated.outcome.initial_loss, plain.outcome.initial_loss);
}

#[test]
fn critical_init_sets_the_gains() {
    let (gain, input_rms) = (2.0, 5.0);
    let plain = recorded(None);
    let treated = recorded(Some(Remedy::CriticalInit(CriticalInit { gain, input_rms })));
    // Gain is std * sqrt(fan_in).
    let measured = |weights: &Weights, name: &str, fan_in: usize| {
        let squares: f64 = weights[name].iter().map(|w| f64::from(*w).powi(2)).sum();
        (squares / weights[name].len() as f64 * fan_in as f64).sqrt()
    };
    let mut wanted = vec![
        (hidden(0), 64, gain / input_rms),
        ("output.weight".into(), WIDTH, 1.0),
    ];
    wanted.extend((1..DEPTH).map(|layer| (hidden(layer), WIDTH, gain)));
    for (name, fan_in, wanted) in wanted {
        let now = measured(&treated.weights[0], &name, fan_in);
        assert!((now / wanted - 1.0).abs() < 1e-5, "{name}: {now}");
        let before = measured(&plain.weights[0], &name, fan_in);
        assert!((before / wanted - 1.0).abs() > 0.03, "{name}: {before}");
        // The remedy only scales the matrix; the random numbers stay the same.
        let ratio = treated.weights[0][&name][0] / plain.weights[0][&name][0];
        assert!((f64::from(ratio) * before / now - 1.0).abs() < 1e-5);
    }
    assert_ne!(treated.outcome.initial_loss, plain.outcome.initial_loss);
}

#[test]
fn rms_norm_adds_a_norm_to_every_nth_layer() {
    let norms = |every| -> Vec<String> {
        let treated = recorded(Some(Remedy::RmsNorm(RmsNorm { every })));
        let plain = recorded(None).outcome;
        assert_ne!(treated.outcome.initial_loss, plain.initial_loss);
        assert!(treated.outcome.work > plain.work);
        let names = treated.manifest.parameters.into_iter();
        names.filter(|name| name.contains("norm")).collect()
    };
    assert_eq!(
        norms(1),
        (0..DEPTH)
            .map(|layer| format!("hidden.{layer}.norm.gamma"))
            .collect::<Vec<_>>()
    );
    assert_eq!(norms(3), ["hidden.0.norm.gamma", "hidden.3.norm.gamma"]);
}

#[test]
fn reduce_depth_builds_fewer_layers() {
    let plain = recorded(None);
    let treated = recorded(Some(Remedy::ReduceDepth(ReduceDepth { depth: 2 })));
    assert_eq!(treated.manifest.parameters.len(), 2 * (2 + 1));
    let values = |depth: usize| 65 * WIDTH + (depth - 1) * (WIDTH + 1) * WIDTH + (WIDTH + 1) * 10;
    let work = values(2) as f64 / values(DEPTH) as f64;
    assert!((treated.outcome.work - work).abs() < 1e-12);
    assert_ne!(treated.outcome.initial_loss, plain.outcome.initial_loss);
}

#[test]
fn lower_learning_rate_shortens_the_first_step_in_proportion() {
    let plain = recorded(None);
    let treated = recorded(Some(Remedy::LowerLearningRate(LowerLearningRate {
        learning_rate: 2.5e-4,
    })));
    assert_eq!(treated.outcome.initial_loss, plain.outcome.initial_loss);
    assert!(
        treated
            .steps
            .rows
            .iter()
            .all(|row| row.learning_rate == 2.5e-4)
    );
    let first = |run: &Recorded| moved(&run.weights[0], &run.weights[1]);
    let ratio = first(&treated) / first(&plain);
    assert!((ratio - 0.25).abs() < 1e-3, "{ratio}");
}

#[test]
fn remedies_of_the_plan_act_before_those_of_the_trial() {
    let subject = Watched::new(HEALTHY_STD);
    let mut plan = plan();
    plan.remedies = vec![Remedy::ReduceDepth(ReduceDepth { depth: 2 })];
    let clip = Remedy::ClipGlobalNorm(ClipGlobalNorm { max_norm: 0.5 });
    let outcome = run(&subject, &plan, spec(Some(&clip)));
    // The baseline has the plan's remedies too, so that the work is the same.
    assert_eq!((outcome.work, outcome.clip_rate), (1.0, 1.0));
    assert!(!subject.weights()[0].contains_key(&hidden(2)));
}

/// Cancels the job after this step.
struct CancelAfter<'a>(u64, &'a AtomicBool);

impl Progress for CancelAfter<'_> {
    fn started(&self, _trial: &str, _steps: u64) {}
    fn stepped(&self, _trial: &str, done: StepProgress<'_>) {
        self.1.fetch_or(done.step == self.0, Ordering::Relaxed);
    }
    fn ended(&self, _trial: &str, outcome: &Outcome) {
        assert_eq!(outcome.end, End::Interrupted);
    }
    fn phase(&self, _name: &str) {}
}

#[test]
fn a_cancelled_trial_is_interrupted_after_its_current_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run_dir = folder.path().join("run");
    let cancelled = AtomicBool::new(false);
    let control = Control {
        cancelled: &cancelled,
        progress: &CancelAfter(4, &cancelled),
    };
    let subject = Watched::new(HEALTHY_STD);
    let recording = TrialSpec {
        run_dir: Some(&run_dir),
        ..spec(None)
    };
    let outcome = run_trial(&subject, &plan(), recording, &device(), control).expect("it records");
    assert_eq!((outcome.end, outcome.steps_done), (End::Interrupted, 5));
    assert!(outcome.validation_metric.is_nan());
    assert_eq!(manifest(&run_dir).status, RunStatus::Interrupted);
    let steps = read_steps(&run_dir).expect("whole").value;
    assert_eq!(steps.rows.len(), 5);

    // The flag is still set, so the trial makes no step.
    let outcome = run_trial(&subject, &plan(), spec(None), &device(), control).expect("no record");
    assert_eq!((outcome.end, outcome.steps_done), (End::Interrupted, 0));
}

#[test]
fn a_run_directory_that_cannot_be_created_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("it can be written");
    let subject = Watched::new(HEALTHY_STD);
    let refused = |run_dir: &Path| {
        let recording = TrialSpec {
            run_dir: Some(run_dir),
            ..spec(None)
        };
        let control = Control {
            cancelled: &AtomicBool::new(false),
            progress: &Silent,
        };
        run_trial(&subject, &plan(), recording, &device(), control).expect_err("it is refused")
    };
    assert!(matches!(refused(&file.join("run")), RecordError::Io { .. }));
    assert!(matches!(
        refused(folder.path()),
        RecordError::NotEmpty { .. }
    ));
    assert!(subject.weights().is_empty(), "it trained before it looked");
}
