use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::{Decision, Guard, StepReading, Workers};

use crate::apply::apply;
use crate::guarded_optimizer::Stepped;
use crate::measure::measure_with_parameters;
use crate::norms::{Known, towards, update_norms, weight_norms};
use crate::optim::ledger;
use crate::training_state::TrainingState;

/// The learning rate of a step.
pub(crate) enum Rate {
    /// The same for all parameters.
    One(f64),
    /// One for each group of parameters.
    Groups(ModuleLearningRate),
}

impl Rate {
    /// That of all parameters which no group has.
    fn base(&self) -> f64 {
        match self {
            Rate::One(rate) => *rate,
            Rate::Groups(rates) => rates.base(),
        }
    }
}

/// What only the training loop can measure, and need not measure at every step: for
/// [`GuardedOptimizer::step_with`](crate::GuardedOptimizer::step_with). What is `None` says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Beside {
    /// The loss of the *previous* step's batch, computed again after that step's update, before this
    /// step. Above what it was: the step went too far.
    pub loss_after: Option<f64>,
    /// Natural logarithm of the gradient's growth per layer, from the output to the input.
    pub depth_growth: Option<f64>,
    /// Natural logarithm of the gradient's growth per time step, backwards.
    pub time_growth: Option<f64>,
}

/// A guard with what it may go back to, around an optimizer that is somebody else's.
#[derive(Clone)]
pub(crate) struct GuardedSteps<M> {
    pub(crate) guard: Guard,
    /// The step that runs next.
    pub(crate) step: u64,
    /// States before a step, oldest first.
    pub(crate) kept: Vec<(u64, TrainingState<M>)>,
    /// Of the last step, in the order of its gradients; empty when it was not applied.
    pub(crate) update_norms: Vec<f64>,
    /// What the optimizer measured of the last step that was applied.
    pub(crate) known: Known,
}

impl<M: Module> GuardedSteps<M> {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            step: 0,
            kept: Vec::new(),
            update_norms: Vec::new(),
            known: Known::default(),
        }
    }

    /// Measures the gradients, asks the guard and acts on its decision.
    pub(crate) fn step(
        &mut self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: Rate,
        model: M,
        mut gradients: GradientsParams,
        loss: f64,
        beside: Beside,
    ) -> Stepped<M> {
        let step = self.step;
        self.step += 1;
        if self.guard.wants_snapshot(step) {
            let state = TrainingState {
                model: model.clone(),
                optimizer: optimizer.clone(),
            };
            self.keep(step, state);
            self.guard.snapshot_taken(step);
        }
        let mut measured = measure_with_parameters(&model, &gradients, self.guard.needs());
        let weights = weight_norms(&model, &mut measured, &self.known);
        if weights.replaced {
            self.update_norms.clear();
        }
        let reading = StepReading {
            weight_norms: weights.norms,
            update_norms: std::mem::take(&mut self.update_norms),
            loss_after: beside.loss_after,
            depth_growth: beside.depth_growth,
            time_growth: beside.time_growth,
            ..StepReading::new(step, loss, learning_rate.base(), measured.gradient_stats())
        };
        let mut judgement = self.guard.step_with(&reading, &measured.reading);
        let (mut rolled_back_to, mut update_norm) = (None, None);
        let mut model = model;
        while let Decision::Rollback { to_step, .. } = judgement.decision {
            let kept = self.kept.iter().find(|(kept, _)| *kept == to_step);
            if let Some((_, state)) = kept {
                let state = state.clone();
                let left = TrainingState {
                    model: std::mem::replace(&mut model, state.model),
                    optimizer: std::mem::replace(optimizer, state.optimizer),
                };
                if self.guard.wants_abandoned() {
                    self.keep(step, left);
                    self.guard.rolled_back_from(step, to_step);
                } else {
                    self.guard.rolled_back(to_step);
                }
                rolled_back_to = Some(to_step);
                break;
            }
            judgement = self
                .guard
                .rollback_failed(to_step, "its snapshot is not kept");
        }
        if let (Decision::Stop { .. }, Some(good)) = (&judgement.decision, self.guard.last_good())
            && let Some((_, state)) = self.kept.iter().find(|(kept, _)| *kept == good)
        {
            model = state.model.clone();
            *optimizer = state.optimizer.clone();
        }
        if judgement.decision.applies() {
            apply(
                &model,
                &mut gradients,
                &judgement.decision,
                None,
                &[],
                &Workers::single(),
            );
            let scale = judgement.learning_rate_scale;
            // Group rates cannot be read out and multiplied; their updates can.
            let shortened = scale != 1.0 && matches!(learning_rate, Rate::Groups(_));
            let covered = self.known.covers(&weights.ids) && !weights.replaced;
            // The weights have one owner again, and can be changed where they lie.
            self.known = Known::default();
            let before = (shortened || !covered).then(|| model.clone());
            let (after, mut entries) = ledger::during(|| match learning_rate {
                Rate::One(rate) => optimizer.step(rate * scale, model, gradients),
                Rate::Groups(rates) => optimizer.step(rates, model, gradients),
            });
            model = match &before {
                Some(before) if shortened => {
                    entries.clear();
                    towards(before, after, scale)
                }
                _ => after,
            };
            self.known = Known::new(weights.ids, &model, &measured, entries, weights.as_known);
            // Unknown when an optimizer that measured the last step does not measure this one: it is
            // another one, or the model went to another device or number type.
            let norms = update_norms(before.as_ref(), &model, &measured, &self.known);
            let whole =
                |norms: &Vec<f64>| norms.iter().fold(0.0, |all: f64, norm| all.hypot(*norm));
            update_norm = norms.as_ref().map(whole);
            self.update_norms = norms.unwrap_or_default();
        }
        let wanted: Vec<u64> = self.guard.snapshots().collect();
        self.kept.retain(|(kept, _)| wanted.contains(kept));
        Stepped {
            model,
            reading,
            judgement,
            rolled_back_to,
            update_norm,
        }
    }

    /// A second one of the same step replaces the first: a snapshot may be due where a rollback begins.
    fn keep(&mut self, step: u64, state: TrainingState<M>) {
        self.kept.retain(|(kept, _)| *kept != step);
        self.kept.push((step, state));
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::AdamConfig;
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::optim::Adam;

    fn knows_after_two_steps(mut optimizer: ModuleOptimizer) -> bool {
        let device = Device::flex().autodiff();
        let mut model: Linear = LinearConfig::new(4, 2).init(&device);
        let mut steps = GuardedSteps::new(Guard::default());
        for _ in 0..2 {
            let loss = model.forward(Tensor::<2>::ones([3, 4], &device)).square();
            let gradients = GradientsParams::from_grads(loss.mean().backward(), &model);
            let rate = Rate::One(0.1);
            let beside = Beside::default();
            let done = steps.step(&mut optimizer, rate, model, gradients, 1.0, beside);
            model = done.model;
        }
        let gradients = GradientsParams::from_grads(
            model
                .forward(Tensor::<2>::ones([3, 4], &device))
                .sum()
                .backward(),
            &model,
        );
        let mut measured = measure_with_parameters(&model, &gradients, steps.guard.needs());
        let weights = weight_norms(&model, &mut measured, &steps.known);
        assert_eq!(weights.ids.len(), 2);
        assert_eq!(weights.as_known, steps.known.covers(&weights.ids));
        weights.as_known
    }

    #[test]
    fn an_optimizer_that_measures_itself_is_known_to() {
        assert!(knows_after_two_steps(Adam::default().into()));
        assert!(!knows_after_two_steps(AdamConfig::new().init()));
    }
}
