use std::fmt::Write as _;
use std::hash::Hasher as _;

use burn::tensor::Device;
use steadygrad::remedy::{Remedy, RmsNorm};

use super::architecture::Architecture;
use crate::faults::Fault;
use crate::{Decay, Optimizer, Plan, Schedule, SubjectVisitor};

/// Steps of each run.
pub(super) const STEPS: u64 = 160;

/// A part of the zoo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Thresholds are chosen on these runs.
    Tuning,
    /// No threshold is chosen on these runs.
    HeldOut,
}

/// The set-up of a run of the zoo.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The network.
    pub architecture: Architecture,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// SGD's momentum.
    pub momentum: f64,
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises; 0 for none.
    pub warmup_steps: u64,
    /// The fault that is put into the run.
    pub fault: Option<Fault>,
    /// Seed of weights and batches.
    pub seed: u64,
}

impl Configuration {
    /// A name that lists all settings.
    pub fn name(&self) -> String {
        let mut name = format!("{:?} {:?}", self.architecture, self.optimizer);
        // Writing to a string cannot fail.
        let _ = write!(
            name,
            " {} {:e} seed {}",
            self.momentum, self.learning_rate, self.seed
        );
        if let Some(fault) = &self.fault {
            let _ = write!(name, " {}", fault.name());
        }
        if self.warmup_steps > 0 {
            let _ = write!(name, " warm-up {}", self.warmup_steps);
        }
        name
    }

    /// The configuration's part. It does not depend on the seed: all seeds of a configuration are
    /// in the same part.
    pub fn part(&self) -> Part {
        let mut hash = Fnv::default();
        let fault = self.fault.as_ref().map(Fault::name);
        let set_up = format!(
            "{:?} {:?} {} {:e} {fault:?}",
            self.architecture, self.optimizer, self.momentum, self.learning_rate
        );
        hash.write(set_up.as_bytes());
        // Runs without a warm-up keep the parts that they had before warm-ups were added.
        if self.warmup_steps > 0 {
            hash.write(&self.warmup_steps.to_le_bytes());
        }
        match hash.finish() % 2 {
            0 => Part::Tuning,
            _ => Part::HeldOut,
        }
    }

    pub(super) fn plan(&self) -> Plan {
        let normalized = matches!(self.architecture, Architecture::NormalizedMlp { .. });
        Plan {
            seed: self.seed,
            optimizer: self.optimizer,
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            schedule: Schedule {
                warmup_steps: self.warmup_steps,
                decay: Decay::Constant,
            },
            steps: STEPS,
            batch_size: 32,
            remedies: normalized
                .then_some(Remedy::RmsNorm(RmsNorm { every: 1 }))
                .into_iter()
                .collect(),
        }
    }

    pub(super) fn visit<V: SubjectVisitor>(&self, device: &Device, visitor: V) -> V::Output {
        self.architecture.visit(device, visitor)
    }
}

/// FNV-1a. The standard library's hash may change with a release, and the parts must not.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        // The low bits are too often even; the high ones are well mixed.
        self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
