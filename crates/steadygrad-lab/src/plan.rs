use steadygrad::measurements::{TrainingSetup, UpdateRule};
use steadygrad::remedy::Remedy;

use crate::remedies::structure_of;
use crate::{Optimizer, Schedule, Summary};

/// How a subject is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Seed of weights and data order.
    pub seed: u64,
    /// What turns gradients into updates.
    pub optimizer: Optimizer,
    /// Learning rate.
    pub learning_rate: f64,
    /// Momentum coefficient of SGD in `0..1`; 0 without. The other optimizers have their own.
    pub momentum: f64,
    /// What becomes of the learning rate in the course of the run.
    pub schedule: Schedule,
    /// Optimizer steps.
    pub steps: u64,
    /// Samples a step.
    pub batch_size: usize,
    /// Remedies that the baseline has already.
    pub remedies: Vec<Remedy>,
}

impl Plan {
    /// The learning rate of a step, on the schedule of this plan, where `full` is the full one.
    pub fn scheduled(&self, full: f64, step: u64) -> f64 {
        full * self.schedule.factor(step, self.steps)
    }

    /// The numbers that rules and remedies need.
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
