use steadygrad::measurements::{TrainingSetup, UpdateRule};
use steadygrad::remedy::Remedy;

use crate::remedies::structure_of;
use crate::{Optimizer, Schedule, Summary};

/// How a subject is trained: optimizer, budget and seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Seed of weights and data order.
    pub seed: u64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Learning rate after the warm-up and before the decay.
    pub learning_rate: f64,
    /// Momentum coefficient of SGD, from 0 up to but excluding 1. The other optimizers have their
    /// own.
    pub momentum: f64,
    /// Warm-up and decay of the learning rate.
    pub schedule: Schedule,
    /// Number of optimizer steps.
    pub steps: u64,
    /// Samples of a step.
    pub batch_size: usize,
    /// Remedies that the baseline has. Of two that change the same setting, the last one counts.
    pub remedies: Vec<Remedy>,
}

impl Default for Plan {
    /// 1,000 steps of SGD on batches of 64, at a constant learning rate of 0.01 without momentum,
    /// from seed 42.
    fn default() -> Self {
        Self {
            seed: 42,
            optimizer: Optimizer::Sgd,
            learning_rate: 0.01,
            momentum: 0.0,
            schedule: Schedule::default(),
            steps: 1000,
            batch_size: 64,
            remedies: vec![],
        }
    }
}

impl Plan {
    /// The scheduled learning rate of a step, if `full` is the full learning rate.
    pub fn scheduled(&self, full: f64, step: u64) -> f64 {
        full * self.schedule.factor(step, self.steps)
    }

    /// The settings that rules and remedies need.
    pub fn setup(&self, summary: &Summary) -> TrainingSetup {
        let depth = structure_of(&self.remedies).depth;
        TrainingSetup {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            update_rule: Some(match self.optimizer {
                Optimizer::Sgd => UpdateRule::Sgd,
                Optimizer::Adam | Optimizer::AdamW => UpdateRule::Adam,
            }),
            depth: depth.filter(|_| summary.depth.is_some()).or(summary.depth),
            sequence_length: summary.sequence_length,
        }
    }
}
