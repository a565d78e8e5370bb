use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use steadygrad::guard::{GuardSummary, Judgement};
use steadygrad::{Decision, Guard};

use super::loop_measurements::LoopMeasurements;
use super::rollback_guard::{RollbackGuard, StepRate};
use crate::outcome::StepOutcome;

/// A guard inside `burn-train`'s `Learner`, which owns the optimizer and the loop. Clones share
/// one guard.
///
/// Wrap the network in a module that also has the guard, as a `#[module(skip)]` field. Implement
/// `TrainStep` for the wrapper: call [`record_loss`](Self::record_loss) in `step` and
/// [`optimize`](Self::optimize) in `optimize`. `examples/burn-train` is a whole program.
///
/// - **Gradient accumulation**: the learner calls `step` several times before `optimize`. The guard
///   judges the accumulated gradients and the mean of the losses.
/// - **Parameter groups** keep their own learning rates. Where the guard lowers the rate, all
///   updates shrink by the same factor.
/// - **Several devices**: the learner then calls `optimize_multi`, which is not guarded.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use burn::tensor::{Device, Tensor};
/// use steadygrad::Guard;
/// use steadygrad_burn::LearnerGuard;
///
/// let device = Device::flex().autodiff();
/// let network: Linear = LinearConfig::new(8, 1).init(&device);
/// let before = network.weight.val().into_data();
/// let mut optimizer = SgdConfig::new().init();
/// let guard = LearnerGuard::new(Guard::default(), |reason| eprintln!("stopped: {reason}"));
///
/// // In `TrainStep::step`:
/// let loss = network.forward(Tensor::<2>::ones([4, 8], &device) * f32::NAN).mean();
/// guard.record_loss(loss.clone().into_scalar());
/// let gradients = GradientsParams::from_grads(loss.backward(), &network);
/// // In `TrainStep::optimize`:
/// let network = guard.optimize(&mut optimizer, 0.01.into(), network, gradients);
///
/// assert_eq!(network.weight.val().into_data(), before);
/// assert_eq!(guard.summary().skipped, 1);
/// ```
#[derive(Clone)]
pub struct LearnerGuard<M>(Arc<Mutex<Shared<M>>>);

struct Shared<M> {
    rollback: RollbackGuard<M>,
    /// Sum of the losses since the last update, and their number.
    loss_sum: f64,
    batches: u64,
    last: Option<Judgement>,
    on_stop: Box<dyn Fn(&str) + Send>,
}

// Not derived: a module prints its fields, and a snapshot is a whole module.
impl<M> fmt::Debug for LearnerGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LearnerGuard")
    }
}

impl<M: Module> LearnerGuard<M> {
    /// Creates a guard for a learner.
    ///
    /// When the guard gives up, it calls `on_stop` with the reason. Stop the learner's
    /// `Interrupter` there. From then on no update is applied.
    pub fn new(guard: Guard, on_stop: impl Fn(&str) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            rollback: RollbackGuard::new(guard),
            loss_sum: 0.0,
            batches: 0,
            last: None,
            on_stop: Box::new(on_stop),
        })))
    }

    fn shared(&self) -> MutexGuard<'_, Shared<M>> {
        // A step that panicked has left no half-made decision behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the loss of a batch whose gradients the next [`optimize`](Self::optimize) gets.
    pub fn record_loss(&self, loss: f64) {
        let mut shared = self.shared();
        shared.loss_sum += loss;
        shared.batches += 1;
    }

    /// Measures the gradients, asks the guard and acts on its decision. Returns the network
    /// updated, unchanged, or restored from a snapshot.
    ///
    /// Without a recorded loss since the last call, the guard judges by gradients alone.
    pub fn optimize(
        &self,
        optimizer: &mut ModuleOptimizer,
        learning_rate: ModuleLearningRate,
        network: M,
        gradients: GradientsParams,
    ) -> M {
        let shared = &mut *self.shared();
        // Without a loss it is zero, which no detector takes for a fault.
        let loss = shared.loss_sum / shared.batches.max(1) as f64;
        (shared.loss_sum, shared.batches) = (0.0, 0);
        let rate = StepRate::Groups(learning_rate);
        let measurements = LoopMeasurements::new(loss);
        let StepOutcome { model, report } =
            shared
                .rollback
                .step(optimizer, rate, network, gradients, measurements);
        if let Decision::Stop { reason } = &report.judgement.decision {
            (shared.on_stop)(reason);
        }
        shared.last = Some(report.judgement);
        model
    }

    /// The counts of what the guard did so far.
    pub fn summary(&self) -> GuardSummary {
        self.shared().rollback.guard.summary().clone()
    }

    /// The judgement of the last step; `None` before the first.
    pub fn last_judgement(&self) -> Option<Judgement> {
        self.shared().last.clone()
    }
}

#[cfg(all(test, feature = "flex"))]
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
    fn a_healthy_step_is_kept_and_a_nan_step_is_skipped() {
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
            guard.record_loss(loss);
            guard.record_loss(loss);
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
        assert_eq!(guard.last_judgement().unwrap().decision, Decision::Keep);
    }

    #[test]
    fn giving_up_calls_on_stop() {
        let device = Device::flex().autodiff();
        let called = Arc::new(AtomicBool::new(false));
        let flag = called.clone();
        let guard = LearnerGuard::new(Guard::from(Preset::Default), move |reason| {
            assert!(!reason.is_empty());
            flag.store(true, Ordering::Relaxed);
        });
        let mut network = network(&device);
        let before = weights(&network);
        let mut optimizer = SgdConfig::new().init();
        for _ in 0..200 {
            let (loss, grads) = gradients(&network, f32::NAN);
            guard.record_loss(loss);
            network = guard.optimize(&mut optimizer, 0.05.into(), network, grads);
        }
        assert!(called.load(Ordering::Relaxed));
        assert_eq!(weights(&network), before);
    }

    #[test]
    fn a_shortened_update_goes_a_share_of_the_way() {
        let device = Device::flex().autodiff();
        let before = network(&device);
        let after = crate::weights::perturb(before.clone(), &[vec![1.0; 4], vec![2.0]], 1.0);
        let half = crate::apply::shorten_update(&before, after.clone(), 0.5);
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
