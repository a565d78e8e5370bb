use std::f64::consts::SQRT_2;
use std::fmt::Write as _;
use std::hash::Hasher as _;

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use steadygrad::dynamics::Activation;
use steadygrad::remedy::{Remedy, RmsNorm};

use crate::faults::Fault;
use crate::models::{CnnConfig, MlpConfig};
use crate::subjects::{DigitsCnn, NetKind, TableMlp, TemporalOrderRnn, healthy};
use crate::{Decay, Optimizer, Plan, Schedule};

/// Whether thresholds may be chosen on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// They may.
    Tuning,
    /// None ever sees it.
    HeldOut,
}

/// A network, by what makes it explode: depth, and weight scale over the critical one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Architecture {
    /// Fully connected.
    Mlp {
        /// Hidden layers.
        depth: usize,
        /// Weight scale over the critical one.
        gain: f64,
    },
    /// The same with RMSNorm in every layer.
    NormalizedMlp {
        /// Hidden layers.
        depth: usize,
        /// Weight scale over the critical one.
        gain: f64,
    },
    /// Convolutional.
    Cnn {
        /// Convolutions.
        depth: usize,
        /// Weight scale over the critical one.
        gain: f64,
    },
    /// Recurrent, plain.
    Rnn {
        /// Time steps.
        length: usize,
        /// Weight scale over the critical one.
        gain: f64,
    },
    /// Of Burn's own layers.
    Net {
        /// Which.
        kind: NetKind,
        /// Layers.
        depth: usize,
        /// Weights over Burn's own.
        gain: f64,
    },
}

impl Architecture {
    /// Its family's name.
    pub fn family(self) -> &'static str {
        match self {
            Self::Mlp { .. } => "mlp",
            Self::NormalizedMlp { .. } => "mlp-norm",
            Self::Cnn { .. } => "cnn",
            Self::Rnn { .. } => "rnn",
            Self::Net { kind, .. } => match kind {
                NetKind::Residual => "residual",
                NetKind::Lstm => "lstm",
                NetKind::Gru => "gru",
                NetKind::Transformer => "transformer",
            },
        }
    }
}

/// How one run of the zoo is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The network.
    pub architecture: Architecture,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// SGD's momentum.
    pub momentum: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate climbs to that; 0 for none.
    pub warmup_steps: u64,
    /// What is put into the run.
    pub fault: Option<Fault>,
    /// Seed of weights and batches.
    pub seed: u64,
}

/// Steps of each run.
const STEPS: u64 = 160;

/// The attempt at which a fault begins.
const FAULT_AT: u64 = 80;

/// Units of a layer.
const WIDTH: usize = 64;

/// All runs, in a fixed order.
pub fn configurations() -> Vec<Configuration> {
    let mut all = Vec::new();
    let optimizers = [
        (Optimizer::Sgd, 0.0, 1.0),
        (Optimizer::Sgd, 0.9, 0.3),
        (Optimizer::Adam, 0.0, 0.03),
    ];
    for architecture in architectures() {
        for (optimizer, momentum, scale) in optimizers {
            // Five decades.
            for rate in [1e-3, 1e-2, 1e-1, 1.0, 10.0] {
                all.push(Configuration {
                    architecture,
                    optimizer,
                    momentum,
                    learning_rate: rate * scale,
                    warmup_steps: 0,
                    fault: None,
                    seed: all.len() as u64,
                });
            }
        }
    }
    for (architecture, optimizer, momentum, learning_rate) in sound() {
        for fault in Fault::all(FAULT_AT) {
            for _ in 0..3 {
                all.push(Configuration {
                    architecture,
                    optimizer,
                    momentum,
                    learning_rate,
                    warmup_steps: 0,
                    fault: Some(fault.clone()),
                    seed: all.len() as u64,
                });
            }
        }
        // As many without a fault: the alarms of healthy runs are what counts most.
        for _ in 0..33 {
            all.push(Configuration {
                architecture,
                optimizer,
                momentum,
                learning_rate,
                warmup_steps: 0,
                fault: None,
                seed: all.len() as u64,
            });
        }
    }
    // A warm-up that leads beyond what the network bears: it fails late, and what leads there can be seen.
    for architecture in architectures() {
        for (optimizer, momentum, scale) in optimizers {
            for rate in [0.3, 1.0, 3.0] {
                all.push(Configuration {
                    architecture,
                    optimizer,
                    momentum,
                    learning_rate: rate * scale,
                    warmup_steps: STEPS,
                    fault: None,
                    seed: all.len() as u64,
                });
            }
        }
    }
    all
}

/// As many runs of the same kinds that are in neither part: a held-out part that no earlier table has shown.
///
/// Each has a learning rate of its own, up to a quarter of a decade from the grid's, its fault at a step of its
/// own and a seed of its own; another `draw` gives others.
pub fn fresh(draw: u64) -> Vec<Configuration> {
    let rng = &mut ChaCha8Rng::seed_from_u64(draw);
    let mut all = configurations();
    for one in &mut all {
        one.learning_rate *= 10f64.powf(rng.random_range(-0.25..0.25));
        let at_step = rng.random_range(FAULT_AT - 20..=FAULT_AT + 20);
        if let Some(fault) = &mut one.fault {
            let name = fault.name();
            let moved = Fault::all(at_step)
                .into_iter()
                .find(|one| one.name() == name);
            *fault = moved.expect("it came from the same list");
        }
        one.seed = rng.random();
    }
    all
}

fn architectures() -> Vec<Architecture> {
    let mut all = Vec::new();
    for depth in [3, 10, 24] {
        for gain in [0.7, 1.0, 1.5, 2.5] {
            all.push(Architecture::Mlp { depth, gain });
        }
        for gain in [1.0, 2.5] {
            all.push(Architecture::NormalizedMlp { depth, gain });
        }
    }
    for gain in [0.7, 1.0, 1.5, 2.5] {
        all.push(Architecture::Cnn { depth: 3, gain });
        all.push(Architecture::Rnn { length: 20, gain });
    }
    for gain in [1.0, 3.0] {
        for (kind, depth) in [
            (NetKind::Residual, 8),
            (NetKind::Lstm, 1),
            (NetKind::Gru, 1),
            (NetKind::Transformer, 2),
        ] {
            all.push(Architecture::Net { kind, depth, gain });
        }
    }
    all
}

/// Set-ups that train well: what faults are put into.
fn sound() -> [(Architecture, Optimizer, f64, f64); 6] {
    let net = |kind, depth| Architecture::Net {
        kind,
        depth,
        gain: 1.0,
    };
    [
        (
            Architecture::Mlp {
                depth: 3,
                gain: 1.0,
            },
            Optimizer::Sgd,
            0.9,
            0.02,
        ),
        (
            Architecture::Cnn {
                depth: 3,
                gain: 1.0,
            },
            Optimizer::Sgd,
            0.9,
            0.05,
        ),
        (
            Architecture::Rnn {
                length: 10,
                gain: 1.0,
            },
            Optimizer::Adam,
            0.0,
            0.003,
        ),
        (net(NetKind::Residual, 4), Optimizer::Sgd, 0.9, 0.01),
        (net(NetKind::Lstm, 1), Optimizer::Adam, 0.0, 0.01),
        (net(NetKind::Transformer, 2), Optimizer::Adam, 0.0, 0.003),
    ]
}

impl Configuration {
    /// A name that says all of it.
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

    /// The part it belongs to, by all that is set up but the seed: no two seeds of one configuration are
    /// in different parts.
    pub fn part(&self) -> Part {
        let mut hash = Fnv::default();
        let fault = self.fault.as_ref().map(Fault::name);
        let set_up = format!(
            "{:?} {:?} {} {:e} {fault:?}",
            self.architecture, self.optimizer, self.momentum, self.learning_rate
        );
        hash.write(set_up.as_bytes());
        // The rest of the zoo is older than warm-ups, and stays in its parts.
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

    pub(super) fn mlp(&self, device: &Device) -> TableMlp {
        let (Architecture::Mlp { depth, gain } | Architecture::NormalizedMlp { depth, gain }) =
            self.architecture
        else {
            unreachable!("asked of fully connected networks only");
        };
        let config = MlpConfig {
            depth,
            width: WIDTH,
            activation: Activation::Relu,
            init_std: gain * SQRT_2 / (WIDTH as f64).sqrt(),
        };
        let source = "1,797 handwritten digits of unit size";
        TableMlp::new(
            "zoo",
            source,
            healthy::images(),
            config,
            healthy::GOAL,
            device.clone(),
        )
    }

    pub(super) fn cnn(&self, device: &Device) -> DigitsCnn {
        let Architecture::Cnn { depth, gain } = self.architecture else {
            unreachable!("asked of convolutional networks only");
        };
        let config = CnnConfig {
            depth,
            channels: 8,
            gain: gain * SQRT_2,
        };
        DigitsCnn::on(healthy::images(), config, healthy::GOAL, device.clone())
    }

    pub(super) fn rnn(&self) -> TemporalOrderRnn {
        const HIDDEN: usize = 32;
        let Architecture::Rnn { length, gain } = self.architecture else {
            unreachable!("asked of recurrent networks only");
        };
        TemporalOrderRnn::new(length, HIDDEN, gain / (HIDDEN as f64).sqrt(), healthy::GOAL)
    }
}

/// FNV-1a: the standard library's hash may change with its release, and the parts must not.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        // Its low bits are even in too many inputs; the high ones are mixed.
        self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_fresh_draw_is_of_the_same_kinds_and_shares_no_run() {
        let all = configurations();
        let (one, other) = (fresh(1), fresh(2));
        assert_eq!(one, fresh(1));
        for ((old, one), other) in all.iter().zip(&one).zip(&other) {
            assert_eq!(old.architecture, one.architecture);
            let fault = |one: &Configuration| one.fault.as_ref().map(Fault::name);
            assert_eq!(fault(old), fault(one));
            let ratio = one.learning_rate / old.learning_rate;
            assert!((0.56..1.79).contains(&ratio), "{ratio}");
            assert!(old.seed != one.seed && one.seed != other.seed);
            assert!(old.learning_rate != one.learning_rate);
            assert!(one.learning_rate != other.learning_rate);
        }
    }

    #[test]
    fn the_zoo_is_large_and_split_in_half_without_a_twin_on_the_other_side() {
        let all = configurations();
        assert!(all.len() >= 800, "{}", all.len());
        let names: BTreeSet<String> = all.iter().map(Configuration::name).collect();
        assert_eq!(names.len(), all.len());
        let held_out = all.iter().filter(|one| one.part() == Part::HeldOut).count();
        let share = held_out as f64 / all.len() as f64;
        assert!((0.4..0.6).contains(&share), "{share}");
        for one in &all {
            let twin = Configuration {
                seed: one.seed + 1,
                ..one.clone()
            };
            assert_eq!(twin.part(), one.part());
        }
    }
}
