use steadygrad::measurements::TrainingSetup;
use steadygrad::remedy::Remedy;

use crate::Summary;

/// How a subject is trained: plain stochastic gradient descent with momentum.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Seed of weights and data order.
    pub seed: u64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Momentum coefficient in `0..1`; 0 without.
    pub momentum: f64,
    /// Optimizer steps.
    pub steps: u64,
    /// Samples a step.
    pub batch_size: usize,
    /// Remedies that the baseline has already.
    pub remedies: Vec<Remedy>,
}

impl Plan {
    /// The numbers that rules and remedies need.
    pub fn setup(&self, summary: &Summary) -> TrainingSetup {
        let depth = self.remedies.iter().rev().find_map(|remedy| match remedy {
            Remedy::ReduceDepth { depth } => Some(*depth),
            _ => None,
        });
        TrainingSetup {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            depth: depth.filter(|_| summary.depth.is_some()).or(summary.depth),
            sequence_length: summary.sequence_length,
        }
    }
}
