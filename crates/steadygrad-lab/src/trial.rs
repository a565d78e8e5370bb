use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use steadygrad::clip::{GlobalNormClip, Policy};
use steadygrad::cure::{End, Outcome, TrialEnd, TrialRecorder};
use steadygrad::guard::{GuardSummary, Preset, Response};
use steadygrad::measurements::MatrixRole;
use steadygrad::remedy::Remedy;
use steadygrad::{Guard, GuardConfig};
use steadygrad_burn::{SpectralCap, StepWithoutRollback, for_each_parameter, scale_weights};
use steadygrad_record::{Manifest, RecordError, RunDir, RunStatus, StepRecord};

use crate::batches::Batches;
use crate::measure::weight_matrices;
use crate::random::{Purpose, generator};
use crate::{Decay, Plan, Schedule, Structure, Subject, Tape};

/// Burn's generator is one for the whole process: models are built one at a time.
static BUILDING: Mutex<()> = Mutex::new(());

/// What a person who watches is told of a step.
#[derive(Debug, Clone, Copy)]
pub struct Stepped<'a> {
    /// Counted from 0.
    pub step: u64,
    /// Of its batch.
    pub loss: f64,
    /// Global norm of its gradients, before clipping.
    pub grad_norm: f64,
    /// What the guard has done so far.
    pub guard: &'a GuardSummary,
}

/// Told what the trials are doing. Called from several threads.
pub trait Progress: Sync {
    /// A trial begins.
    fn started(&self, trial: &str, steps: u64);
    /// One of its steps is done.
    fn stepped(&self, trial: &str, done: Stepped<'_>);
    /// It ended.
    fn ended(&self, trial: &str, outcome: &Outcome);
    /// The job enters its next phase.
    fn phase(&self, name: &str);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _trial: &str, _steps: u64) {}
    fn stepped(&self, _trial: &str, _done: Stepped<'_>) {}
    fn ended(&self, _trial: &str, _outcome: &Outcome) {}
    fn phase(&self, _name: &str) {}
}

/// Who can stop a job, and who is told about it.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Set it to stop every trial after its current step.
    pub cancelled: &'a AtomicBool,
    /// Is told about the progress.
    pub progress: &'a dyn Progress,
}

/// Which trial to run.
#[derive(Debug, Clone, Copy)]
pub struct TrialSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it changes; `None` is the baseline.
    pub remedy: Option<&'a Remedy>,
    /// Only watch: even a non-finite update is applied.
    pub observe: bool,
    /// Where its run directory goes; `None` keeps no record.
    pub run_dir: Option<&'a Path>,
    /// Whether to measure the stability margin of a surviving trial.
    pub margin: bool,
}

/// Runs one trial from its start to its end.
///
/// # Errors
/// Only those of the run directory. A failed training is an outcome, not an error.
pub fn run_trial<S: Subject>(
    subject: &S,
    plan: &Plan,
    spec: TrialSpec<'_>,
    device: &Device,
    control: Control<'_>,
) -> Result<Outcome, RecordError> {
    control.progress.started(spec.name, plan.steps);
    let mut outcome = train(subject, plan, spec, device, control)?;
    let (untreated, _) = build(subject, plan, &plan.remedies, device);
    outcome.work /= subject.work(&untreated);
    if spec.margin && outcome.verdict.survived() {
        outcome.stability_margin = stability_margin(subject, plan, spec, device, control)?;
    }
    control.progress.ended(spec.name, &outcome);
    Ok(outcome)
}

/// What remains of a list of remedies once the model is built: what acts during training.
#[derive(Debug, Clone)]
pub(crate) struct Acting {
    pub(crate) clip: Option<GlobalNormClip>,
    pub(crate) cap: Option<SpectralCap>,
    pub(crate) learning_rate: Option<f64>,
}

/// Builds the untrained model with these remedies in it.
pub(crate) fn build<S: Subject>(
    subject: &S,
    plan: &Plan,
    remedies: &[Remedy],
    device: &Device,
) -> (S::Model, Acting) {
    let mut structure = Structure::default();
    for remedy in remedies {
        match *remedy {
            Remedy::RmsNorm { every } => structure.rms_norm_every = Some(every),
            Remedy::ReduceDepth { depth } => structure.depth = Some(depth),
            Remedy::TruncateBptt { time_steps } => structure.bptt_steps = Some(time_steps),
            _ => (),
        }
    }
    let mut model = {
        // A panic in another build leaves nothing half-done in here.
        let _one_at_a_time = BUILDING
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        device.seed(plan.seed);
        let model = subject.build(
            &structure,
            &mut generator(plan.seed, Purpose::Weights),
            device,
        );
        // Burn draws weights lazily: make it draw them now, in order.
        for_each_parameter(&model, |_, _| ());
        model
    };
    let mut acting = Acting {
        clip: None,
        cap: None,
        learning_rate: None,
    };
    for remedy in remedies {
        match *remedy {
            Remedy::ClipGlobalNorm { max_norm } => {
                acting.clip = Some(GlobalNormClip::new(max_norm))
            }
            Remedy::CapSpectralNorm { max_spectral_norm } => {
                let names = weight_matrices(subject, &model)
                    .into_iter()
                    .filter(|matrix| matrix.role.is_repeated())
                    .map(|matrix| matrix.name);
                let mut cap = SpectralCap::new(max_spectral_norm, names);
                model = cap.apply(model);
                acting.cap = Some(cap);
            }
            Remedy::CriticalInit { gain, input_rms } => {
                model = rescale(subject, model, gain, input_rms);
            }
            Remedy::LowerLearningRate { learning_rate } => {
                acting.learning_rate = Some(learning_rate);
            }
            // Part of the structure above.
            Remedy::RmsNorm { .. } | Remedy::ReduceDepth { .. } | Remedy::TruncateBptt { .. } => (),
            // Not given where no `skip_share` was measured.
            Remedy::ScaleResidual { .. } => (),
        }
    }
    (model, acting)
}

/// [`Remedy::CriticalInit`].
fn rescale<S: Subject>(subject: &S, model: S::Model, gain: f64, input_rms: f64) -> S::Model {
    let recurrent = subject.summary().sequence_length.is_some();
    let factors: HashMap<String, f64> = weight_matrices(subject, &model)
        .into_iter()
        .filter_map(|matrix| {
            let wanted = match matrix.role {
                MatrixRole::Hidden | MatrixRole::Recurrent => gain,
                MatrixRole::Input if !recurrent => gain / input_rms,
                MatrixRole::Output if !recurrent => 1.0,
                MatrixRole::Input | MatrixRole::Output => return None,
            };
            let factor = wanted / matrix.gain();
            factor.is_finite().then_some((matrix.name, factor))
        })
        .collect();
    scale_weights(model, &factors)
}

/// The run itself. Its `work` is not yet relative to the baseline's.
fn train<S: Subject>(
    subject: &S,
    plan: &Plan,
    spec: TrialSpec<'_>,
    device: &Device,
    control: Control<'_>,
) -> Result<Outcome, RecordError> {
    let summary = subject.summary();
    let remedies: Vec<Remedy> = plan.remedies.iter().chain(spec.remedy).copied().collect();
    let (mut model, mut acting) = build(subject, plan, &remedies, device);
    let work = subject.work(&model);
    let learning_rate = acting.learning_rate.unwrap_or(plan.learning_rate);
    let response = if spec.observe {
        Response::Observe
    } else {
        Response::Stop
    };
    let (mut guard, mut end) = match Guard::new(GuardConfig {
        clip: acting.clip.map(Policy::from),
        response,
        ..GuardConfig::default()
    }) {
        Ok(guard) => (guard, End::Completed),
        Err(error) => {
            let reason = format!("the remedy cannot be used: {error}");
            (Guard::from(Preset::Observe), End::Failed { reason })
        }
    };
    let steps = if end == End::Completed { plan.steps } else { 0 };
    let mut optimizer = plan.optimizer.init(plan.momentum);
    let mut record = spec
        .run_dir
        .map(|path| RunDir::create(path, manifest(subject, plan, spec, &model)))
        .transpose()?;

    let mut batches = Batches::new(summary.training_samples, plan.batch_size, plan.seed);
    let mut recorder = TrialRecorder::default();
    let mut seconds = 0.0;
    for step in 0..steps {
        if control.cancelled.load(Ordering::Relaxed) {
            end = End::Interrupted;
            break;
        }
        let begin = Instant::now();
        let (loss, gradients) =
            subject.loss_and_gradients(&model, batches.next_batch(), &mut Tape::off());
        let done = StepWithoutRollback::new(&mut guard, &mut optimizer, step).run(
            plan.scheduled(learning_rate, step),
            model,
            gradients,
            loss,
        );
        model = done.model;
        if let Some(cap) = &mut acting.cap {
            model = cap.apply(model);
        }
        seconds += begin.elapsed().as_secs_f64();

        let judgement = done.report.judgement;
        let ended = recorder.step(&done.report.reading, &judgement);
        if let (Some(record), Some(incident)) = (&mut record, judgement.incident(step)) {
            record.push_incident(&incident)?;
        }
        if let Some(record) = &mut record {
            record.push_step(StepRecord::new(&done.report.reading, &judgement.decision))?;
        }
        control.progress.stepped(
            spec.name,
            Stepped {
                step,
                loss,
                grad_norm: done.report.reading.gradients.global_norm(),
                guard: guard.summary(),
            },
        );
        if let Some(ended) = ended {
            end = ended;
            break;
        }
    }
    if let Some(record) = record {
        let status = if end == End::Interrupted {
            RunStatus::Interrupted
        } else {
            RunStatus::Ended
        };
        record.finish(status)?;
    }

    let validation_metric = if end == End::Completed {
        subject.validate(&model)
    } else {
        f64::NAN
    };
    let at = TrialEnd {
        validation_metric,
        goal: summary.goal,
        work,
        seconds,
    };
    Ok(recorder.finish(end, at))
}

/// How far the trial is from the edge: its learning rate is doubled until a run over a twentieth
/// of the steps, from the same start, no longer survives. At most 16 times.
fn stability_margin<S: Subject>(
    subject: &S,
    plan: &Plan,
    spec: TrialSpec<'_>,
    device: &Device,
    control: Control<'_>,
) -> Result<Option<f64>, RecordError> {
    const FACTORS: [f64; 4] = [2.0, 4.0, 8.0, 16.0];
    const MIN_STEPS: u64 = 20;
    let mut margin = 1.0;
    for factor in FACTORS {
        let mut faster = plan.clone();
        faster.steps = (plan.steps / 20).max(MIN_STEPS);
        faster.learning_rate *= factor;
        // The margin is that of the full learning rate, which a short decay would hide.
        faster.schedule = Schedule {
            warmup_steps: plan.schedule.warmup_steps / 20,
            decay: Decay::Constant,
        };
        let remedy = match spec.remedy {
            Some(Remedy::LowerLearningRate { learning_rate }) => Some(Remedy::LowerLearningRate {
                learning_rate: learning_rate * factor,
            }),
            other => other.copied(),
        };
        let short = TrialSpec {
            remedy: remedy.as_ref(),
            observe: false,
            run_dir: None,
            ..spec
        };
        let outcome = train(subject, &faster, short, device, control)?;
        match outcome.end {
            End::Interrupted => return Ok(None),
            _ if !outcome.verdict.survived() => break,
            _ => margin = factor,
        }
    }
    Ok(Some(margin))
}

fn manifest<S: Subject>(
    subject: &S,
    plan: &Plan,
    spec: TrialSpec<'_>,
    model: &S::Model,
) -> Manifest {
    let mut parameters = Vec::new();
    for_each_parameter(model, |parameter, _| parameters.push(parameter.name));
    Manifest {
        format: 1,
        name: spec.name.to_owned(),
        subject: subject.summary().name,
        seed: plan.seed,
        steps: plan.steps,
        parameters,
        status: RunStatus::Running,
    }
}
