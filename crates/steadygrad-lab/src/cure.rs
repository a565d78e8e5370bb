use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use rand::RngExt;
use steadygrad::cure::unstable::{Start, contenders};
use steadygrad::cure::{
    BASELINE, CureReport, End, Outcome, SeedOutcome, SubjectSummary, Trial, Verification,
    prescribe, ranking, winner,
};
use steadygrad::diagnose::{Finding, ModelCase, diagnose};
use steadygrad::measurements::{Measurements, TrainingSetup};
use steadygrad::remedy::Remedy;
use steadygrad_record::RecordError;

use crate::build::build;
use crate::measure::measure;
use crate::random::{Purpose, generator};
use crate::remedies::effect_of;
use crate::trial::{TrialSpec, run_trial};
use crate::{Control, Plan, Subject, Summary};

/// The settings of a cure, apart from the subject and its plan.
#[derive(Debug, Clone)]
pub struct Job {
    /// Folder for the run directories; `None` keeps no records.
    pub out: Option<PathBuf>,
    /// Trials that run side by side, one thread each.
    pub workers: usize,
    /// Number of new seeds that the winner is verified on.
    pub fresh_seeds: u64,
    /// The study as TOML, for the report.
    pub study: Option<String>,
}

impl Default for Job {
    /// No records, a worker on each core and three new seeds.
    fn default() -> Self {
        Self {
            out: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            fresh_seeds: 3,
            study: None,
        }
    }
}

/// Finds, explains and cures exploding gradients.
///
/// It measures the subject, runs the baseline, tries the six families and the controls, ranks them,
/// verifies the best on new seeds and prescribes it. `study_diff` returns what a remedy changes in
/// the study, if there is one.
///
/// # Errors
/// Only those of the run directories. A cancelled job returns what has finished.
pub fn cure<S: Subject>(
    subject: &S,
    plan: &Plan,
    job: &Job,
    device: &Device,
    control: Control<'_>,
    study_diff: impl Fn(&Remedy) -> Option<String>,
) -> Result<CureReport, RecordError> {
    let begin = Instant::now();
    let summary = subject.summary();
    let setup = plan.setup(&summary);
    let bench = Bench {
        subject,
        plan,
        job,
        device,
        control,
    };
    let (measurements, outcome, findings) = bench.diagnose(&setup)?;
    control.progress.phase("remedies");
    let start = Start {
        measurements: &measurements,
        setup: &setup,
        baseline: &outcome,
        optimizer: plan.optimizer.name(),
        plain_layers: true,
    };
    let mut trials = trials(&start, plan.seed, &summary);
    bench.run_all(&mut trials)?;
    let ranking = ranking(&trials, summary.metric, summary.validation_samples);
    let winner = winner(&trials, &ranking).cloned();
    let baseline = Trial::baseline(Some(outcome));

    control.progress.phase("verify");
    let verification = bench.verify_winner(winner.as_ref(), &baseline, &trials)?;
    let interrupted = control.is_cancelled();
    let prescription = winner
        .filter(|_| !interrupted)
        .and_then(|winner| prescribe(&winner, &verification, study_diff));

    trials.insert(0, baseline);
    Ok(CureReport {
        version: env!("CARGO_PKG_VERSION").into(),
        subject: bench.subject_summary(summary),
        seed: plan.seed,
        steps: plan.steps,
        batch_size: plan.batch_size,
        setup,
        study: job.study.clone(),
        measurements,
        findings,
        trials,
        ranking,
        verification,
        prescription,
        interrupted,
        seconds: begin.elapsed().as_secs_f64(),
    })
}

/// The trials to run: the families and the controls.
fn trials(start: &Start<'_>, seed: u64, summary: &Summary) -> Vec<Trial> {
    let mut rng = generator(seed, Purpose::Control);
    start.trials(
        || [rng.random(), rng.random()],
        // A random control must not change layers that the subject cannot change.
        |remedy| {
            let layers = effect_of(remedy).structure.changes_layers();
            !layers || summary.depth.is_some() || summary.sequence_length.is_some()
        },
    )
}

struct Bench<'a, S> {
    subject: &'a S,
    plan: &'a Plan,
    job: &'a Job,
    device: &'a Device,
    control: Control<'a>,
}

impl<S: Subject> Bench<'_, S> {
    /// The measurements, the baseline's outcome and the findings.
    fn diagnose(
        &self,
        setup: &TrainingSetup,
    ) -> Result<(Measurements, Outcome, Vec<Finding>), RecordError> {
        self.control.progress.phase("measure");
        let measurements = measure(self.subject, self.plan, self.device);
        self.control.progress.phase(BASELINE);
        let outcome = self.run(self.plan, BASELINE, None, true, BASELINE.into())?;
        let case = ModelCase::new(&measurements, setup).with_detections(&outcome.detections);
        let findings = diagnose(&case);
        Ok((measurements, outcome, findings))
    }

    fn subject_summary(&self, summary: Summary) -> SubjectSummary {
        let (model, _) = build(self.subject, self.plan, &self.plan.remedies, self.device);
        summary.with_parameters(model.num_params())
    }

    fn run(
        &self,
        plan: &Plan,
        name: &str,
        remedy: Option<&Remedy>,
        margin: bool,
        folder: PathBuf,
    ) -> Result<Outcome, RecordError> {
        let run_dir = self.job.out.as_ref().map(|out| out.join(folder));
        let spec = TrialSpec {
            name,
            remedy,
            observe: remedy.is_none(),
            run_dir: run_dir.as_deref(),
            margin,
        };
        run_trial(self.subject, plan, spec, self.device, self.control)
    }

    /// Runs every trial that has a remedy.
    fn run_all(&self, trials: &mut [Trial]) -> Result<(), RecordError> {
        let outcomes = self.side_by_side(trials.len(), |index| {
            let trial = &trials[index];
            let Some(remedy) = &trial.remedy else {
                return Ok(None);
            };
            let folder = Path::new("trials").join(trial.folder_name());
            self.run(self.plan, &trial.name, Some(remedy), true, folder)
                .map(Some)
        })?;
        for (trial, outcome) in trials.iter_mut().zip(outcomes) {
            trial.outcome = outcome
                .flatten()
                .filter(|outcome| outcome.end != End::Interrupted);
        }
        Ok(())
    }

    /// Runs the winner again on new seeds, with the baseline and the controls beside it.
    fn verify_winner(
        &self,
        winner: Option<&Trial>,
        baseline: &Trial,
        trials: &[Trial],
    ) -> Result<Vec<Verification>, RecordError> {
        match winner {
            Some(winner) => self.verify(contenders(winner, baseline, trials)),
            None => Ok(Vec::new()),
        }
    }

    /// Runs these trials again on new seeds. Interrupted runs are left out.
    fn verify(&self, trials: Vec<&Trial>) -> Result<Vec<Verification>, RecordError> {
        let seeds: Vec<u64> = (1..=self.job.fresh_seeds)
            .map(|offset| self.plan.seed.wrapping_add(offset))
            .collect();
        let outcomes = self.side_by_side(trials.len() * seeds.len(), |index| {
            let (trial, seed) = (trials[index / seeds.len()], seeds[index % seeds.len()]);
            let plan = Plan {
                seed,
                ..self.plan.clone()
            };
            let name = format!("{} (seed {seed})", trial.name);
            let folder = Path::new("verify").join(format!("{}-seed-{seed}", trial.folder_name()));
            self.run(&plan, &name, trial.remedy.as_ref(), false, folder)
        })?;
        let mut outcomes = outcomes.into_iter();
        Ok(trials
            .into_iter()
            .map(|trial| {
                let runs = seeds
                    .iter()
                    .filter_map(|seed| Some((*seed, outcomes.next().flatten()?)))
                    .filter(|(_, outcome)| outcome.end != End::Interrupted)
                    .map(|(seed, outcome)| SeedOutcome { seed, outcome })
                    .collect();
                Verification::new(trial.name.clone(), runs)
            })
            .collect())
    }

    /// Calls `work(0..count)` on as many threads as there are workers. The results are in order;
    /// work that a cancelled job has not begun gives `None`.
    fn side_by_side<T: Send>(
        &self,
        count: usize,
        work: impl Fn(usize) -> Result<T, RecordError> + Sync,
    ) -> Result<Vec<Option<T>>, RecordError> {
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<Result<T, RecordError>>>> =
            (0..count).map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..self.job.workers.clamp(1, count.max(1)) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count || self.control.is_cancelled() {
                            break;
                        }
                        let result = work(index);
                        *results[index]
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(result);
                    }
                });
            }
        });
        results
            .into_iter()
            .map(|slot| {
                slot.into_inner()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .transpose()
            })
            .collect()
    }
}
