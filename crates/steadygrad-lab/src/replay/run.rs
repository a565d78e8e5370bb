use std::path::Path;

use burn::tensor::Device;
use steadygrad::GuardConfig;
use steadygrad_record::{Dump, Problem, list_dumps, read_dump};

use super::counterfactual;
use super::error::ReplayError;
use super::locate::{Pass, pass};
use super::record::Record;
use super::report::{InF64, ReplayReport};
use crate::faults::Faults;
use crate::train::{AttemptInput, Attempts};
use crate::{Plan, Subject, flat};

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct ReplayOptions<'a> {
    /// The run directory.
    pub run: &'a Path,
    /// The number of the dump in `incidents/`.
    pub incident: u32,
    /// The guard's settings that the run was started with.
    pub guard: GuardConfig,
    /// The faults that the run was started with.
    pub faults: &'a Faults,
    /// Also runs the incident's step in f64.
    pub in_f64: bool,
    /// Continues for this many steps, with and without the guard.
    pub without_decision: Option<u64>,
}

/// Replays one incident of a run of [`crate::train`].
///
/// It repeats the steps before the incident with the run's batches, faults and guard, from the
/// snapshot in the incident's dump or else from the start of the run. It compares each step with
/// the record to the bit. Then it inspects the incident's own step operation by operation.
///
/// Returns the report, and what was damaged in the dump.
///
/// # Errors
/// [`ReplayError`]: no such incident, a damaged dump, another study, or a subject without f64.
pub fn replay<S: Subject>(
    subject: &S,
    plan: &Plan,
    options: &ReplayOptions<'_>,
    device: &Device,
) -> Result<(ReplayReport, Vec<Problem>), ReplayError> {
    let (dump, problems) = read(options)?;
    let incident = dump.incidents.first().cloned();
    let incident = incident.ok_or(ReplayError::Empty {
        number: options.incident,
    })?;
    let (guard, faults) = (&options.guard, options.faults);
    let (mut attempts, mut model) = Attempts::start(subject, plan, guard, faults, device)?;
    // A snapshot that the guard took when the incident fired is later than the incident's step.
    let earlier = dump.snapshot.filter(|kept| kept.step <= incident.step);
    if let Some(snapshot) = &earlier {
        (attempts, model) = attempts.restore(model, snapshot)?;
    }
    let from_step = attempts.next_step();

    let mut record = Record::new(&dump.steps);
    let mut before: Option<(AttemptInput, S::Model)> = None;
    while attempts.next_step() < incident.step {
        let input = attempts.draw();
        let start = model.clone();
        let done = attempts.make(&input, model)?;
        record.compare(&input, &done);
        model = done.model;
        before = Some((input, start));
    }
    let here = attempts.clone();
    let input = attempts.draw();
    let start = model.clone();
    record.compare(&input, &attempts.make(&input, model)?);

    let inspected = InspectedRun { subject, faults };
    let usual = before.and_then(|(input, model)| inspected.pass(&model, &input));
    let now = inspected
        .pass(&start, &input)
        .ok_or_else(|| ReplayError::CannotDistort {
            subject: subject.summary().name,
        })?;
    let in_f64 = match options.in_f64 {
        true => inspected.in_f64(&start, &input, &now)?,
        false => None,
    };
    let counterfactual = options
        .without_decision
        .map(|steps| counterfactual::run(subject, plan, here, start, incident.step, steps))
        .transpose()?;
    let report = ReplayReport {
        culprit: now.culprit(usual.as_ref()),
        incident,
        from_step,
        compared: record.compared,
        difference: record.difference,
        in_f64,
        counterfactual,
    };
    Ok((report, problems))
}

fn read(options: &ReplayOptions<'_>) -> Result<(Dump, Vec<Problem>), ReplayError> {
    let there = list_dumps(options.run)?;
    if !there.contains(&options.incident) {
        return Err(ReplayError::NoIncident {
            run: options.run.to_owned(),
            number: options.incident,
            there,
        });
    }
    let found = read_dump(options.run, options.incident)?;
    Ok((found.value, found.problems))
}

/// A subject with its run's faults, whose steps are inspected.
struct InspectedRun<'a, S> {
    subject: &'a S,
    faults: &'a Faults,
}

impl<S: Subject> InspectedRun<'_, S> {
    /// The step's forward and backward pass; `None` if the subject cannot distort its data.
    fn pass(&self, model: &S::Model, input: &AttemptInput) -> Option<Pass> {
        let model = self.faults.model(input.step, model.clone());
        let after = |gradients| self.faults.gradients(input.step, &model, gradients);
        pass(self.subject, &model, &input.rows, &input.distortion, after)
    }

    /// The step in f64 without the faults of its gradients, compared with the one that ran.
    fn in_f64(
        &self,
        model: &S::Model,
        input: &AttemptInput,
        own: &Pass,
    ) -> Result<Option<InF64>, ReplayError> {
        let model = self.faults.model(input.step, model.clone());
        if !self.subject.loss_in_f64(&model) {
            return Err(ReplayError::NoF64 {
                subject: self.subject.summary().name,
            });
        }
        let model = flat::in_f64(model);
        let (rows, distortion) = (&input.rows, &input.distortion);
        let in_f64 = pass(self.subject, &model, rows, distortion, |same| same);
        Ok(in_f64.map(|in_f64| InF64::compare(own, &in_f64)))
    }
}
