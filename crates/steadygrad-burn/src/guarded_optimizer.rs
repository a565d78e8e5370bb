//! An optimizer with a guard around it: what a training loop puts in its optimizer's place.

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use serde::{Deserialize, Serialize};
use steadygrad::guard::Judgement;
use steadygrad::{Guard, StepReading};
use steadygrad_record::Snapshot;

use crate::guarded_steps::{Beside, GuardedSteps, Rate};
use crate::training_state::{RestoreError, TrainingState};

/// What one step of a [`GuardedOptimizer`] did.
#[derive(Debug)]
pub struct Stepped<M> {
    /// The model after it: updated, as it was, or restored.
    pub model: M,
    /// What was measured, before any intervention.
    pub reading: StepReading,
    /// What was decided, and on what grounds.
    pub judgement: Judgement,
    /// The step whose snapshot was restored, after a rollback.
    pub rolled_back_to: Option<u64>,
    /// L2 norm of the change of all weights; `None` when the step was not applied, and for the one
    /// step after which an optimizer that measured itself ([`optim`](crate::optim)) no longer does. Where
    /// one around it keeps those weights and gives the model others, at a step that is not the first, it
    /// is that of the kept ones, once; the guard does not judge by it.
    pub update_norm: Option<f64>,
}

/// An optimizer that asks a guard before each update, and keeps the last good states in memory to
/// go back to.
///
/// Give it the gradients of a whole optimizer step, after any accumulation: it measures them once.
/// Several parameter groups are Burn's own [`ModuleOptimizer::with_group`]; for models that are
/// trained by turns, give each a guarded optimizer of its own. With nothing wrong, the optimizer
/// gets the very gradients and the very learning rate that it would have got without a guard.
///
/// With an optimizer that measures itself ([`optim`](crate::optim)), the memory of the last weights is
/// shared until the next step: whoever changes weights in between gets a copy of them.
///
/// After a rollback, go on with the next batch: the batches since the snapshot, the offending
/// ones among them, are dropped. Where going back shows that the data were at fault and not the weights,
/// a second rollback takes up the state that the first one left.
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
///     let done = optimizer.step(0.01, model, gradients, value);
///     assert_eq!(step == 7, matches!(done.judgement.decision, Decision::Skip { .. }));
///     model = done.model;
/// }
/// assert_eq!(optimizer.guard().summary().skipped, 1);
/// ```
#[derive(Clone)]
pub struct GuardedOptimizer<M> {
    steps: GuardedSteps<M>,
    optimizer: ModuleOptimizer,
}

impl<M: Module> GuardedOptimizer<M> {
    /// Puts a guard around an optimizer, before its first step.
    pub fn new(guard: Guard, optimizer: ModuleOptimizer) -> Self {
        Self {
            steps: GuardedSteps::new(guard),
            optimizer,
        }
    }

    /// Goes on under another guard. The states that the old one wanted kept are dropped.
    pub fn with_guard(self, guard: Guard) -> Self {
        Self {
            steps: GuardedSteps {
                guard,
                kept: Vec::new(),
                ..self.steps
            },
            ..self
        }
    }

    /// The guard, with the counts of what it did.
    pub fn guard(&self) -> &Guard {
        &self.steps.guard
    }

    /// The step that runs next, counted from 0; a rollback does not turn it back.
    pub fn next_step(&self) -> u64 {
        self.steps.step
    }

    /// Measures the gradients, asks the guard and acts on its decision: lets the optimizer step,
    /// leaves the model as it is, or restores the last good state. After [`steadygrad::Decision::Stop`] the run
    /// should end: model and optimizer are those of the last state that is known to be good, if there is one, and every
    /// later step is refused as well.
    pub fn step(
        &mut self,
        learning_rate: f64,
        model: M,
        gradients: GradientsParams,
        loss: f64,
    ) -> Stepped<M> {
        self.step_with(learning_rate, model, gradients, loss, Beside::default())
    }

    /// [`step`](Self::step), for a loop that now and then measures more than gradients. The guard then
    /// sees as well a step that raised its own batch's loss
    /// ([`Overshoot`](steadygrad::detect::Overshoot)) and gradients that grow through depth or time.
    pub fn step_with(
        &mut self,
        learning_rate: f64,
        model: M,
        gradients: GradientsParams,
        loss: f64,
        beside: Beside,
    ) -> Stepped<M> {
        self.steps.step(
            &mut self.optimizer,
            Rate::One(learning_rate),
            model,
            gradients,
            loss,
            beside,
        )
    }

    /// Everything that the next step depends on, as a snapshot for the disk: the model, the
    /// optimizer, the guard, and the states that it may go back to. A run that is restored from it
    /// goes on to the bit as if it had never stopped.
    ///
    /// # Errors
    /// [`RestoreError::Type`] and [`RestoreError::Optimizer`].
    pub fn save(&self, model: &M) -> Result<Snapshot, RestoreError> {
        let mut snapshot = Snapshot {
            step: self.steps.step,
            ..Snapshot::default()
        };
        let now = TrainingState {
            model: model.clone(),
            optimizer: self.optimizer.clone(),
        };
        now.save(NOW, &mut snapshot)?;
        for (step, state) in &self.steps.kept {
            state.save(&kept_prefix(*step), &mut snapshot)?;
        }
        let steps: Vec<u64> = self.steps.kept.iter().map(|(step, _)| *step).collect();
        let guard =
            serde_json::to_value(&self.steps.guard).map_err(|error| RestoreError::Value {
                name: GUARD.into(),
                reason: error.to_string(),
            })?;
        snapshot.state.insert(GUARD.into(), guard);
        let update_norms = UpdateNorms(self.steps.update_norms.clone());
        let update_norms =
            serde_json::to_value(update_norms).map_err(|error| RestoreError::Value {
                name: UPDATE_NORMS.into(),
                reason: error.to_string(),
            })?;
        snapshot.state.insert(UPDATE_NORMS.into(), update_norms);
        snapshot.state.insert(KEPT.into(), serde_json::json!(steps));
        Ok(snapshot)
    }

    /// Goes on from a snapshot. `model` is one of the same build, `self` was made with an optimizer
    /// of the same settings; both are overwritten. The guard is the snapshot's, with its settings.
    ///
    /// # Errors
    /// [`RestoreError`] names what is missing or does not fit.
    pub fn restore(self, model: M, snapshot: &Snapshot) -> Result<(Self, M), RestoreError> {
        let value = |name: &str| {
            let missing = || RestoreError::Missing { name: name.into() };
            snapshot.state.get(name).cloned().ok_or_else(missing)
        };
        let parsed = |name: &str, reason: serde_json::Error| RestoreError::Value {
            name: name.into(),
            reason: reason.to_string(),
        };
        let guard = serde_json::from_value(value(GUARD)?).map_err(|error| parsed(GUARD, error))?;
        let steps: Vec<u64> =
            serde_json::from_value(value(KEPT)?).map_err(|error| parsed(KEPT, error))?;
        let UpdateNorms(update_norms) = serde_json::from_value(value(UPDATE_NORMS)?)
            .map_err(|error| parsed(UPDATE_NORMS, error))?;
        let fresh = TrainingState {
            model,
            optimizer: self.optimizer,
        };
        let now = fresh.clone().restore(NOW, snapshot)?;
        let kept = steps.into_iter().map(|step| {
            let state = fresh.clone().restore(&kept_prefix(step), snapshot)?;
            Ok((step, state))
        });
        let restored = Self {
            steps: GuardedSteps {
                step: snapshot.step,
                kept: kept.collect::<Result<_, RestoreError>>()?,
                update_norms,
                ..GuardedSteps::new(guard)
            },
            optimizer: now.optimizer,
        };
        Ok((restored, now.model))
    }
}

const NOW: &str = "now/";
const KEPT: &str = "kept";
const GUARD: &str = "guard";
const UPDATE_NORMS: &str = "update_norms";

/// NaN and infinity survive JSON.
#[derive(Serialize, Deserialize)]
struct UpdateNorms(#[serde(with = "steadygrad::float::list")] Vec<f64>);

fn kept_prefix(step: u64) -> String {
    format!("kept/{step}/")
}
