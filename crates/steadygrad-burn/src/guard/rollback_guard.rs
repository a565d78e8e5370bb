//! The guard's full step: snapshots, measurement, decision, rollback, update.

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::guard::Judgement;
use steadygrad::{Decision, Guard, StepReading, Workers};

use super::loop_measurements::LoopMeasurements;
use super::self_measured::{SelfMeasured, StepMeasurement, measure_step, update_norms};
use super::training_state::TrainingState;
use crate::apply::{apply, shorten_update};
use crate::optim::ledger;
use crate::outcome::{GuardReport, StepOutcome};

/// The learning rate of a step.
pub(crate) enum StepRate {
    /// One for all parameters.
    Shared(f64),
    /// One for each group of parameters.
    Groups(ModuleLearningRate),
}

impl StepRate {
    /// The rate of the parameters that belong to no group.
    fn base(&self) -> f64 {
        match self {
            StepRate::Shared(rate) => *rate,
            StepRate::Groups(rates) => rates.base(),
        }
    }
}

/// A guard with the snapshots that it can roll back to. The optimizer belongs to the caller.
#[derive(Clone)]
pub(crate) struct RollbackGuard<M> {
    pub(crate) guard: Guard,
    /// Number of the next step.
    pub(crate) next_step: u64,
    /// Snapshots with the number of the step before which each was taken, oldest first.
    pub(crate) snapshots: Vec<(u64, TrainingState<M>)>,
    /// L2 norm of each parameter's change at the last step, in the order of its gradients. Empty
    /// when that step was not applied.
    pub(crate) update_norms: Vec<f64>,
    self_measured: SelfMeasured,
}

impl<M: Module> RollbackGuard<M> {
    /// A guard before its first step.
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            next_step: 0,
            snapshots: Vec::new(),
            update_norms: Vec::new(),
            self_measured: SelfMeasured::default(),
        }
    }

    /// Measures gradients and weights, asks the guard and acts on its decision.
    pub(crate) fn step(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: StepRate,
        mut model: M,
        mut gradients: GradientsParams,
        measurements: LoopMeasurements,
    ) -> StepOutcome<M> {
        let step = self.next_step;
        self.next_step += 1;
        self.take_snapshot(step, &model, optimizer);
        let needs = self.guard.needs();
        let mut measured = measure_step(&model, &gradients, needs, &self.self_measured);
        let reading = self.reading(step, learning_rate.base(), measurements, &mut measured);
        let judgement = self.guard.step_with(&reading, &measured.gradients.reading);
        let (judgement, rolled_back_to) = self.roll_back(step, judgement, &mut model, optimizer);
        if let Decision::Stop { .. } = judgement.decision {
            self.restore_last_good(&mut model, optimizer);
        }
        let mut update_norm = None;
        if judgement.decision.applies() {
            let workers = Workers::single();
            apply(
                &model,
                &mut gradients,
                &judgement.decision,
                None,
                &[],
                &workers,
            );
            let scale = judgement.learning_rate_scale;
            (model, update_norm) =
                self.update(optimizer, learning_rate, scale, model, gradients, measured);
        }
        let wanted: Vec<u64> = self.guard.snapshots().collect();
        self.snapshots.retain(|(kept, _)| wanted.contains(kept));
        StepOutcome {
            model,
            report: GuardReport {
                reading,
                judgement,
                rolled_back_to,
                update_norm,
            },
        }
    }

    fn take_snapshot(&mut self, step: u64, model: &M, optimizer: &ModuleOptimizer) {
        if self.guard.wants_snapshot(step) {
            let state = TrainingState {
                model: model.clone(),
                optimizer: optimizer.clone(),
            };
            self.keep(step, state);
            self.guard.snapshot_taken(step);
        }
    }

    /// Keeps a snapshot. It replaces one of the same step: a regular snapshot may be due at the
    /// very step from which the guard rolls back.
    fn keep(&mut self, step: u64, state: TrainingState<M>) {
        self.snapshots.retain(|(kept, _)| *kept != step);
        self.snapshots.push((step, state));
    }

    /// Gathers what the guard judges by.
    fn reading(
        &mut self,
        step: u64,
        learning_rate: f64,
        measurements: LoopMeasurements,
        measured: &mut StepMeasurement,
    ) -> StepReading {
        let LoopMeasurements {
            loss,
            loss_after,
            depth_growth,
            time_growth,
        } = measurements;
        let update_norms = std::mem::take(&mut self.update_norms);
        let stats = measured.gradients.gradient_stats();
        let mut reading = StepReading::new(step, loss, learning_rate, stats);
        reading.weight_norms = std::mem::take(&mut measured.weights.norms);
        if !measured.weights.replaced {
            reading.update_norms = update_norms;
        }
        reading.loss_after = loss_after;
        reading.depth_growth = depth_growth;
        reading.time_growth = time_growth;
        reading
    }

    /// Restores the snapshot that the judgement asks for, and returns its step. Where that snapshot
    /// is missing, the guard judges again.
    fn roll_back(
        &mut self,
        step: u64,
        mut judgement: Judgement,
        model: &mut M,
        optimizer: &mut ModuleOptimizer,
    ) -> (Judgement, Option<u64>) {
        while let Decision::Rollback { to_step, .. } = judgement.decision {
            if let Some(state) = self.snapshot(to_step) {
                let abandoned = TrainingState {
                    model: std::mem::replace(model, state.model),
                    optimizer: std::mem::replace(optimizer, state.optimizer),
                };
                if self.guard.wants_abandoned() {
                    self.keep(step, abandoned);
                    self.guard.rolled_back_from(step, to_step);
                } else {
                    self.guard.rolled_back(to_step);
                }
                return (judgement, Some(to_step));
            }
            judgement = self
                .guard
                .rollback_failed(to_step, "its snapshot is not kept");
        }
        (judgement, None)
    }

    fn restore_last_good(&self, model: &mut M, optimizer: &mut ModuleOptimizer) {
        if let Some(good) = self.guard.last_good()
            && let Some(state) = self.snapshot(good)
        {
            *model = state.model;
            *optimizer = state.optimizer;
        }
    }

    fn snapshot(&self, step: u64) -> Option<TrainingState<M>> {
        let mut snapshots = self.snapshots.iter();
        let (_, state) = snapshots.find(|(kept, _)| *kept == step)?;
        Some(state.clone())
    }

    /// Lets the optimizer step. Returns the model after it and the L2 norm of its change, if that
    /// is known. The guard multiplies the learning rate by `scale`.
    fn update(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: StepRate,
        scale: f64,
        model: M,
        gradients: GradientsParams,
        measured: StepMeasurement,
    ) -> (M, Option<f64>) {
        let StepMeasurement {
            gradients: measurement,
            weights,
        } = measured;
        // Burn does not show the rates of groups, so they cannot be lowered. Their updates can.
        let shortened = scale != 1.0 && matches!(learning_rate, StepRate::Groups(_));
        let covered = self.self_measured.covers(&weights.ids) && !weights.replaced;
        // The model is now the only owner of its weights, so the optimizer can change them in
        // place.
        self.self_measured = SelfMeasured::default();
        let before = (shortened || !covered).then(|| model.clone());
        let (after, mut entries) = ledger::record(|| match learning_rate {
            StepRate::Shared(rate) => optimizer.step(rate * scale, model, gradients),
            StepRate::Groups(rates) => optimizer.step(rates, model, gradients),
        });
        let model = match &before {
            Some(before) if shortened => {
                entries.clear();
                shorten_update(before, after, scale)
            }
            _ => after,
        };
        let trusted = weights.as_measured;
        self.self_measured = SelfMeasured::new(weights.ids, &model, &measurement, entries, trusted);
        // Unknown when an optimizer that measured the last step does not measure this one: it is
        // another optimizer, or the model moved to another device or number type.
        let norms = update_norms(before.as_ref(), &model, &measurement, &self.self_measured);
        let whole = |norms: &Vec<f64>| norms.iter().fold(0.0, |all: f64, norm| all.hypot(*norm));
        let update_norm = norms.as_ref().map(whole);
        self.update_norms = norms.unwrap_or_default();
        (model, update_norm)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::AdamConfig;
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::optim::Adam;

    /// Whether the weights after two steps need no second look.
    fn measures_itself(mut optimizer: ModuleOptimizer) -> bool {
        let device = Device::flex().autodiff();
        let mut model: Linear = LinearConfig::new(4, 2).init(&device);
        let mut guard = RollbackGuard::new(Guard::default());
        for _ in 0..2 {
            let loss = model.forward(Tensor::<2>::ones([3, 4], &device)).square();
            let gradients = GradientsParams::from_grads(loss.mean().backward(), &model);
            let rate = StepRate::Shared(0.1);
            let outcome = guard.step(&mut optimizer, rate, model, gradients, 1.0.into());
            model = outcome.model;
        }
        let loss = model.forward(Tensor::<2>::ones([3, 4], &device)).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let needs = guard.guard.needs();
        let weights = measure_step(&model, &gradients, needs, &guard.self_measured).weights;
        assert_eq!(weights.ids.len(), 2);
        let covered = guard.self_measured.covers(&weights.ids);
        assert_eq!(weights.as_measured, covered);
        weights.as_measured
    }

    #[test]
    fn only_the_optimizers_of_this_crate_measure_themselves() {
        assert!(measures_itself(Adam::default().into()));
        assert!(!measures_itself(AdamConfig::new().init()));
    }
}
