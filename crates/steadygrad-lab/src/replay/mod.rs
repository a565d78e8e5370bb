//! An incident, run once more: the steps before it from the last snapshot, to the bit; what went
//! wrong first; the same step in f64; and what would have become of the run without the guard.

mod counterfactual;
mod error;
mod locate;
mod values;

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use steadygrad::GuardConfig;
use steadygrad::guard::Incident;
use steadygrad_record::{Dump, Problem, RingStep, list_dumps, read_dump};

pub use counterfactual::{After, Counterfactual};
pub use error::ReplayError;
pub use locate::{Culprit, Stage};

use crate::faults::Faults;
use crate::flat;
use crate::train::{Attempt, Attempts, Drawn};
use crate::{Plan, Subject};
use locate::{Pass, pass};

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
    /// Runs the incident's step in f64 as well.
    pub in_f64: bool,
    /// Goes on for so many steps, once with the guard and once without.
    pub without_decision: Option<u64>,
}

/// Where a replay and the record part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The first step that differs.
    pub step: u64,
    /// What differs: the loss, the gradient norm, or the rows of the batch.
    pub what: String,
    /// In the record.
    #[serde(with = "steadygrad::float")]
    pub recorded: f64,
    /// In the replay.
    #[serde(with = "steadygrad::float")]
    pub replayed: f64,
}

/// The incident's step in f64, beside the same in the run's own type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InF64 {
    /// Loss in the run's type, by the operations that were looked at.
    #[serde(with = "steadygrad::float")]
    pub loss: f64,
    /// Loss in f64.
    #[serde(with = "steadygrad::float")]
    pub loss_f64: f64,
    /// Global gradient norm in the run's type, as the backward pass left it.
    #[serde(with = "steadygrad::float")]
    pub grad_norm: f64,
    /// Global gradient norm in f64.
    #[serde(with = "steadygrad::float")]
    pub grad_norm_f64: f64,
    /// What follows from these.
    pub fault: FaultOf,
}

/// Whose fault an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultOf {
    /// f64 has the same non-finite values: the data or the weights were broken before.
    WhatWentIn,
    /// Finite in f64 only: the numbers are beyond what the type can hold.
    TheNumberFormat,
    /// The same in f64: the training itself, or its data.
    TheTraining,
    /// Finite in both, and not the same: round-off of an ill-conditioned step, or a kernel.
    RoundOffOrKernel,
}

/// Relative difference of gradient norms from which on round-off is worth a word: a hundred times
/// what f32 sums of a million terms lose (2^-24 times the square root of a million).
const SAME: f64 = 6e-3;

/// An incident, replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// What fired.
    pub incident: Incident,
    /// The step that the replay went on from; 0 is the start of the run.
    pub from_step: u64,
    /// Recorded steps that were compared.
    pub compared: u64,
    /// Where record and replay part; `None` when they are the same to the bit.
    pub difference: Option<Difference>,
    /// What went wrong first in the incident's step; `None` when nothing in it is out of place.
    pub culprit: Option<Culprit>,
    /// The same step in f64, where that was asked for.
    pub in_f64: Option<InF64>,
    /// The run with and without the guard, where that was asked for.
    pub counterfactual: Option<Counterfactual>,
}

/// Replays one incident of a run of [`crate::train`].
///
/// The steps before it are run again from the snapshot in its dump (or from the start of the run,
/// when there was none yet), with the batches, faults and guard that the run had; each is compared
/// with the record, to the bit. The incident's own step is then looked at operation by operation.
///
/// Returns, beside what was found, what of the dump was damaged.
///
/// # Errors
/// [`ReplayError`]: no such incident, a damaged dump, another study, or a subject without f64.
pub fn replay<S: Subject>(
    subject: &S,
    plan: &Plan,
    options: &ReplayOptions<'_>,
    device: &Device,
) -> Result<(Replayed, Vec<Problem>), ReplayError> {
    let (dump, problems) = read(options)?;
    let incident = dump.incidents.first().cloned();
    let incident = incident.ok_or(ReplayError::Empty {
        number: options.incident,
    })?;
    let (guard, faults) = (&options.guard, options.faults);
    let (mut attempts, mut model) = Attempts::start(subject, plan, guard, faults, device)?;
    // A snapshot that was taken in memory when the incident fired comes after it.
    let earlier = dump.snapshot.filter(|kept| kept.step <= incident.step);
    if let Some(snapshot) = &earlier {
        (attempts, model) = attempts.restore(model, snapshot)?;
    }
    let from_step = attempts.next_step();

    let mut record = Record::new(&dump.steps);
    let mut before: Option<(Drawn, S::Model)> = None;
    while attempts.next_step() < incident.step {
        let drawn = attempts.draw();
        let start = model.clone();
        let done = attempts.make(&drawn, model)?;
        record.compare(&drawn, &done);
        model = done.model;
        before = Some((drawn, start));
    }
    let here = attempts.clone();
    let drawn = attempts.draw();
    let start = model.clone();
    record.compare(&drawn, &attempts.make(&drawn, model)?);

    let look = |model: &S::Model, drawn: &Drawn| -> Option<Pass> {
        let model = faults.model(drawn.step, model.clone());
        let after = |gradients| faults.gradients(drawn.step, &model, gradients);
        pass(subject, &model, &drawn.rows, &drawn.distortion, after)
    };
    let usual = before.and_then(|(drawn, model)| look(&model, &drawn));
    let now = look(&start, &drawn).ok_or(ReplayError::CannotDistort {
        subject: subject.summary().name,
    })?;
    let in_f64 = options
        .in_f64
        .then(|| {
            let model = faults.model(drawn.step, start.clone());
            if !subject.loss_in_f64(&model) {
                return Err(ReplayError::NoF64 {
                    subject: subject.summary().name,
                });
            }
            let model = flat::in_f64(model);
            let pass = pass(subject, &model, &drawn.rows, &drawn.distortion, |same| same);
            Ok(pass.map(|in_f64| told_apart(&now, &in_f64)))
        })
        .transpose()?
        .flatten();
    let counterfactual = options
        .without_decision
        .map(|steps| counterfactual::run(subject, plan, here, start, incident.step, steps))
        .transpose()?;
    let replayed = Replayed {
        culprit: now.culprit(usual.as_ref()),
        incident,
        from_step,
        compared: record.compared,
        difference: record.difference,
        in_f64,
        counterfactual,
    };
    Ok((replayed, problems))
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

/// What a run recorded before an incident, and how far a replay meets it.
struct Record<'a> {
    ring: &'a [RingStep],
    compared: u64,
    difference: Option<Difference>,
}

impl<'a> Record<'a> {
    fn new(ring: &'a [RingStep]) -> Self {
        Self {
            ring,
            compared: 0,
            difference: None,
        }
    }

    /// Compares a step with its row, if the ring goes back so far; keeps the first difference.
    fn compare<M>(&mut self, drawn: &Drawn, done: &Attempt<M>) {
        let Some(row) = self.ring.iter().find(|row| row.record.step == drawn.step) else {
            return;
        };
        self.compared += 1;
        // One NaN is as good as another: their bits are nobody's choice.
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let rows: Vec<u64> = drawn.rows.iter().map(|row| *row as u64).collect();
        let first = |rows: &[u64]| rows.first().map_or(f64::NAN, |row| *row as f64);
        let (loss, norm) = (done.loss, done.reading.gradients.global_norm());
        let (old_loss, old_norm) = (row.record.loss, row.record.grad_norm);
        let differs = if rows != row.rows {
            ("the batch's first row", first(&row.rows), first(&rows))
        } else if !same(old_loss, loss) {
            ("the loss", old_loss, loss)
        } else if !same(old_norm, norm) {
            ("the gradient norm", old_norm, norm)
        } else {
            return;
        };
        let (what, recorded, replayed) = differs;
        self.difference.get_or_insert(Difference {
            step: drawn.step,
            what: what.to_owned(),
            recorded,
            replayed,
        });
    }
}

fn told_apart(own: &Pass, in_f64: &Pass) -> InF64 {
    let fault = match (own.is_finite(), in_f64.is_finite()) {
        (_, false) => FaultOf::WhatWentIn,
        (false, true) => FaultOf::TheNumberFormat,
        (true, true) => {
            let difference = (own.grad_norm / in_f64.grad_norm - 1.0).abs();
            if difference <= SAME || own.grad_norm == in_f64.grad_norm {
                FaultOf::TheTraining
            } else {
                FaultOf::RoundOffOrKernel
            }
        }
    };
    InF64 {
        loss: own.loss,
        loss_f64: in_f64.loss,
        grad_norm: own.grad_norm,
        grad_norm_f64: in_f64.grad_norm,
        fault,
    }
}
