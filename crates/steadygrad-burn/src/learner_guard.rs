use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::guard::{GuardSummary, Judgement};
use steadygrad::{Decision, Guard};

use crate::guarded_steps::{Beside, GuardedSteps, Rate};

/// A guard inside `burn-train`'s `Learner`, which owns the optimizer and the loop.
///
/// Wrap the network in a module of your own that has the guard as a `#[module(skip)]` field, and
/// implement `TrainStep` for it: [`LearnerGuard::saw_loss`] in `step`, [`LearnerGuard::optimize`] in
/// `optimize`. `examples/burn-train` is a whole program. Clones share one guard.
///
/// With gradient accumulation the learner calls `step` several times before `optimize`: the guard
/// judges the accumulated gradients and the mean of the losses. Groups of parameters with learning
/// rates of their own keep them: where the guard lowers the rate, all updates shrink alike. Training
/// on several devices goes by `optimize_multi`, which this does not guard.
#[derive(Clone)]
pub struct LearnerGuard<M>(Arc<Mutex<Inner<M>>>);

struct Inner<M> {
    steps: GuardedSteps<M>,
    losses: f64,
    batches: u64,
    last: Option<Judgement>,
    on_stop: Box<dyn Fn(&str) + Send>,
}

// Not derived: a module prints its fields, and the states that are kept are modules.
impl<M> fmt::Debug for LearnerGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LearnerGuard")
    }
}

impl<M: Module> LearnerGuard<M> {
    /// Puts a guard into a learner. `on_stop` is told the reason when the guard gives up: hand it to
    /// the learner's `Interrupter`. From then on no update is applied.
    pub fn new(guard: Guard, on_stop: impl Fn(&str) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            steps: GuardedSteps::new(guard),
            losses: 0.0,
            batches: 0,
            last: None,
            on_stop: Box::new(on_stop),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        // A step that panicked has left no half-made decision behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the loss of a batch, whose gradients [`LearnerGuard::optimize`] is about to get.
    pub fn saw_loss(&self, loss: f64) {
        let mut inner = self.inner();
        inner.losses += loss;
        inner.batches += 1;
    }

    /// Measures the gradients, asks the guard and acts on its decision: the network is updated, as
    /// it was, or restored. Without a loss since the last call, the guard judges by gradients alone.
    pub fn optimize(
        &self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        network: M,
        gradients: GradientsParams,
    ) -> M {
        let inner = &mut *self.inner();
        // Zero says nothing to any detector: a loss that was not seen is no fault.
        let loss = inner.losses / inner.batches.max(1) as f64;
        (inner.losses, inner.batches) = (0.0, 0);
        let rate = Rate::Groups(learning_rate);
        let beside = Beside::default();
        let done = inner
            .steps
            .step(optimizer, rate, network, gradients, loss, beside);
        if let Decision::Stop { reason } = &done.judgement.decision {
            (inner.on_stop)(reason);
        }
        inner.last = Some(done.judgement);
        done.model
    }

    /// What the guard has done so far.
    pub fn summary(&self) -> GuardSummary {
        self.inner().steps.guard.summary().clone()
    }

    /// Its judgement of the last step, with its evidence.
    pub fn last(&self) -> Option<Judgement> {
        self.inner().last.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use burn::nn::{Linear, LinearConfig};
    use burn::optim::SgdConfig;
    use burn::tensor::{Device, Tensor};
    use steadygrad::guard::Preset;

    use super::*;

    fn network(device: &Device) -> Linear {
        LinearConfig::new(4, 1).init(device)
    }

    fn gradients(network: &Linear, scale: f32) -> (f64, GradientsParams) {
        let input = Tensor::<2>::ones([2, 4], &network.weight.val().device());
        let loss = network.forward(input).powi_scalar(2).mean() * scale;
        let value = loss.clone().into_scalar::<f64>();
        (value, GradientsParams::from_grads(loss.backward(), network))
    }

    fn weights(network: &Linear) -> Vec<f32> {
        network.weight.val().into_data().iter::<f32>().collect()
    }

    #[test]
    fn it_keeps_what_is_healthy_and_skips_what_is_not() {
        let device = Device::flex().autodiff();
        let guard = LearnerGuard::new(Guard::default(), |reason| panic!("{reason}"));
        let (mut guarded, mut alone) = {
            let network = network(&device);
            (network.clone(), network)
        };
        let mut optimizers = [SgdConfig::new().init(), SgdConfig::new().init()];
        for step in 0..20 {
            // Two accumulated batches: one update.
            let (loss, _) = gradients(&guarded, 1.0);
            guard.saw_loss(loss);
            guard.saw_loss(loss);
            let poisoned = step == 11;
            let scale = if poisoned { f32::NAN } else { 1.0 };
            let before = weights(&guarded);
            let (_, grads) = gradients(&guarded, scale);
            guarded = guard.optimize(&mut optimizers[0], 0.05.into(), guarded, grads);
            if poisoned {
                assert_eq!(weights(&guarded), before);
            } else {
                let (_, grads) = gradients(&alone, 1.0);
                alone = optimizers[1].step(0.05, alone, grads);
            }
            assert_eq!(weights(&guarded), weights(&alone), "{step}");
        }
        let summary = guard.summary();
        assert_eq!((summary.readings, summary.skipped), (20, 1));
        assert_eq!(guard.last().unwrap().decision, Decision::Keep);
    }

    #[test]
    fn giving_up_is_told() {
        let device = Device::flex().autodiff();
        let told = Arc::new(AtomicBool::new(false));
        let flag = told.clone();
        let guard = LearnerGuard::new(Guard::from(Preset::Default), move |reason| {
            assert!(!reason.is_empty());
            flag.store(true, Ordering::Relaxed);
        });
        let mut network = network(&device);
        let before = weights(&network);
        let mut optimizer = SgdConfig::new().init();
        for _ in 0..200 {
            let (loss, grads) = gradients(&network, f32::NAN);
            guard.saw_loss(loss);
            network = guard.optimize(&mut optimizer, 0.05.into(), network, grads);
        }
        assert!(told.load(Ordering::Relaxed));
        assert_eq!(weights(&network), before);
    }

    #[test]
    fn a_share_of_an_update() {
        let device = Device::flex().autodiff();
        let before = network(&device);
        let after = crate::perturb(before.clone(), &[vec![1.0; 4], vec![2.0]], 1.0);
        let half = crate::norms::towards(&before, after.clone(), 0.5);
        for ((from, to), now) in weights(&before)
            .iter()
            .zip(weights(&after))
            .zip(weights(&half))
        {
            assert!((now - 0.5 * (from + to)).abs() < 1e-6);
        }
        assert_eq!(half.weight.id, before.weight.id);
        assert!(half.weight.val().is_require_grad());
    }
}
