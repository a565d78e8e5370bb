use std::fmt;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use steadygrad::Guard;
use steadygrad_record::Snapshot;

use super::loop_measurements::LoopMeasurements;
use super::restore_error::RestoreError;
use super::rollback_guard::{RollbackGuard, StepRate};
use super::training_state::TrainingState;
use crate::outcome::StepOutcome;

/// An optimizer with a guard around it. It takes the optimizer's place in a training loop.
///
/// Before each update the guard judges the gradients and the loss. Snapshots of weights and
/// optimizer are kept in memory for rollbacks. While nothing is wrong, the optimizer gets the same
/// gradients and the same learning rate as without a guard, bit for bit.
///
/// - **Gradient accumulation**: call [`step`](Self::step) once, with the accumulated gradients.
/// - **Parameter groups**: use Burn's [`ModuleOptimizer::with_group`].
/// - **Several models, trained alternately**: give each its own guarded optimizer.
/// - **After a rollback**: go on with the next batch. The batches since the snapshot, the offending
///   ones among them, are dropped. If going back shows that the data were at fault and not the
///   weights, a second rollback restores the state that the first one abandoned.
///
/// The optimizers of [`optim`](crate::optim) measure themselves. With one of them, the guard shares
/// the memory of the last weights until the next step: code that changes weights in between works
/// on a copy.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use steadygrad::{Decision, Guard};
/// use steadygrad_burn::GuardedOptimizer;
///
/// let device = Device::flex().autodiff();
/// let mut model: Linear = LinearConfig::new(8, 1).init(&device);
/// let mut optimizer = GuardedOptimizer::new(Guard::default(), SgdConfig::new().init());
/// for step in 0..20 {
///     let mut input = Tensor::<2>::random([16, 8], Distribution::Default, &device);
///     if step == 7 {
///         input = input * f32::NAN;
///     }
///     let loss = model.forward(input).powi_scalar(2).mean();
///     let value = f64::from(loss.clone().into_scalar::<f32>());
///     let gradients = GradientsParams::from_grads(loss.backward(), &model);
///     let outcome = optimizer.step(0.01, model, gradients, value);
///     let decision = &outcome.report.judgement.decision;
///     assert_eq!(step == 7, matches!(decision, Decision::Skip { .. }));
///     model = outcome.model;
/// }
/// assert_eq!(optimizer.guard().summary().skipped, 1);
/// ```
#[derive(Clone)]
pub struct GuardedOptimizer<M> {
    rollback: RollbackGuard<M>,
    optimizer: ModuleOptimizer,
}

impl<M: Module> GuardedOptimizer<M> {
    /// Puts a guard around an optimizer, before its first step.
    pub fn new(guard: Guard, optimizer: ModuleOptimizer) -> Self {
        Self {
            rollback: RollbackGuard::new(guard),
            optimizer,
        }
    }

    /// Replaces the guard and drops the snapshots of the old one.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.rollback.guard = guard;
        self.rollback.snapshots.clear();
        self
    }

    /// The guard, with the counts of what it did.
    pub fn guard(&self) -> &Guard {
        &self.rollback.guard
    }

    /// Number of the next step, counted from 0. A rollback does not turn it back.
    pub fn next_step(&self) -> u64 {
        self.rollback.next_step
    }

    /// Measures the gradients, asks the guard and acts on its decision.
    ///
    /// The optimizer steps, or the model stays as it is, or the last good state is restored.
    /// `measurements` is the loss of the batch, or [`LoopMeasurements`] from a loop that measures
    /// more. NaN and infinity in loss and gradients are faults that the guard acts on.
    ///
    /// After [`Decision::Stop`](steadygrad::Decision::Stop), end the run. Model and optimizer are
    /// then those of the last state known to be good, if there is one. Every later step is refused.
    pub fn step(
        &mut self,
        learning_rate: f64,
        model: M,
        gradients: GradientsParams,
        measurements: impl Into<LoopMeasurements>,
    ) -> StepOutcome<M> {
        let rate = StepRate::Shared(learning_rate);
        let measurements = measurements.into();
        self.rollback
            .step(&mut self.optimizer, rate, model, gradients, measurements)
    }

    /// Saves all that the next step depends on: model, optimizer, guard and the snapshots that it
    /// can roll back to. A run restored from it goes on as if it had never stopped, bit for bit.
    ///
    /// # Errors
    /// [`RestoreError::Type`] and [`RestoreError::Optimizer`].
    pub fn save(&self, model: &M) -> Result<Snapshot, RestoreError> {
        let mut snapshot = Snapshot {
            step: self.rollback.next_step,
            ..Snapshot::default()
        };
        let now = TrainingState {
            model: model.clone(),
            optimizer: self.optimizer.clone(),
        };
        now.save(NOW, &mut snapshot)?;
        let mut steps = Vec::new();
        for (step, state) in &self.rollback.snapshots {
            state.save(&kept_prefix(*step), &mut snapshot)?;
            steps.push(*step);
        }
        let guard = to_value(GUARD, &self.rollback.guard)?;
        snapshot.state.insert(GUARD.into(), guard);
        let update_norms = UpdateNorms(self.rollback.update_norms.clone());
        let update_norms = to_value(UPDATE_NORMS, &update_norms)?;
        snapshot.state.insert(UPDATE_NORMS.into(), update_norms);
        snapshot.state.insert(KEPT.into(), serde_json::json!(steps));
        Ok(snapshot)
    }

    /// Goes on from a snapshot.
    ///
    /// `model` must have the same layers as the saved one, and `self` an optimizer with the same
    /// settings. Both are overwritten. The guard is the saved one, with its settings.
    ///
    /// # Errors
    /// [`RestoreError`] names what is missing or does not fit.
    pub fn restore(self, model: M, snapshot: &Snapshot) -> Result<(Self, M), RestoreError> {
        let guard = from_value(GUARD, snapshot)?;
        let steps: Vec<u64> = from_value(KEPT, snapshot)?;
        let UpdateNorms(update_norms) = from_value(UPDATE_NORMS, snapshot)?;
        let fresh = TrainingState {
            model,
            optimizer: self.optimizer,
        };
        let now = fresh.clone().restore(NOW, snapshot)?;
        let mut rollback = RollbackGuard::new(guard);
        rollback.next_step = snapshot.step;
        rollback.update_norms = update_norms;
        for step in steps {
            let state = fresh.clone().restore(&kept_prefix(step), snapshot)?;
            rollback.snapshots.push((step, state));
        }
        let restored = Self {
            rollback,
            optimizer: now.optimizer,
        };
        Ok((restored, now.model))
    }
}

// Not derived: Burn's optimizer has no `Debug`, and a snapshot is a whole model.
impl<M> fmt::Debug for GuardedOptimizer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshots: Vec<u64> = self
            .rollback
            .snapshots
            .iter()
            .map(|(step, _)| *step)
            .collect();
        f.debug_struct("GuardedOptimizer")
            .field("guard", &self.rollback.guard)
            .field("next_step", &self.rollback.next_step)
            .field("snapshots", &snapshots)
            .finish_non_exhaustive()
    }
}

// Names in a snapshot.
const NOW: &str = "now/";
const KEPT: &str = "kept";
const GUARD: &str = "guard";
const UPDATE_NORMS: &str = "update_norms";

/// The norms, written so that NaN and infinity survive JSON.
#[derive(Serialize, Deserialize)]
struct UpdateNorms(#[serde(with = "steadygrad::float::list")] Vec<f64>);

fn kept_prefix(step: u64) -> String {
    format!("kept/{step}/")
}

fn to_value(name: &str, value: &impl Serialize) -> Result<serde_json::Value, RestoreError> {
    serde_json::to_value(value).map_err(|error| RestoreError::Value {
        name: name.into(),
        reason: error.to_string(),
    })
}

fn from_value<T: DeserializeOwned>(name: &str, snapshot: &Snapshot) -> Result<T, RestoreError> {
    let value = snapshot.state.get(name).cloned();
    let value = value.ok_or_else(|| RestoreError::Missing { name: name.into() })?;
    serde_json::from_value(value).map_err(|error| RestoreError::Value {
        name: name.into(),
        reason: error.to_string(),
    })
}
