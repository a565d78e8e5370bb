use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::architecture::Architecture;
use super::configuration::{Configuration, STEPS};
use crate::Optimizer;
use crate::faults::Fault;
use crate::subjects::NetKind;

/// The attempt at which a fault begins.
const FAULT_AT: u64 = 80;

/// Runs of each network that trains well and fault.
const RUNS_OF_A_FAULT: usize = 3;

/// Runs of each network that trains well without a fault: as many as with one, because false alarms
/// on healthy runs count most.
const RUNS_WITHOUT_FAULT: usize = 33;

/// Each optimizer with its momentum and its scale of the learning rate.
const OPTIMIZERS: [(Optimizer, f64, f64); 3] = [
    (Optimizer::Sgd, 0.0, 1.0),
    (Optimizer::Sgd, 0.9, 0.3),
    (Optimizer::Adam, 0.0, 0.03),
];

/// All configurations, in a fixed order.
pub fn configurations() -> Vec<Configuration> {
    let mut all = List(Vec::new());
    for architecture in architectures() {
        for (optimizer, momentum, scale) in OPTIMIZERS {
            // Five decades of learning rates.
            for rate in [1e-3, 1e-2, 1e-1, 1.0, 10.0] {
                all.push((architecture, optimizer, momentum, rate * scale), 0, None);
            }
        }
    }
    for network in well_trained() {
        for fault in Fault::all(FAULT_AT) {
            for _ in 0..RUNS_OF_A_FAULT {
                all.push(network, 0, Some(fault.clone()));
            }
        }
        for _ in 0..RUNS_WITHOUT_FAULT {
            all.push(network, 0, None);
        }
    }
    // A warm-up beyond the stable learning rate: the run fails late, after visible signs.
    for architecture in architectures() {
        for (optimizer, momentum, scale) in OPTIMIZERS {
            for rate in [0.3, 1.0, 3.0] {
                let network = (architecture, optimizer, momentum, rate * scale);
                all.push(network, STEPS, None);
            }
        }
    }
    all.0
}

/// A network with its optimizer, momentum and learning rate.
type Network = (Architecture, Optimizer, f64, f64);

struct List(Vec<Configuration>);

impl List {
    /// Adds a configuration whose seed is its number.
    fn push(&mut self, network: Network, warmup_steps: u64, fault: Option<Fault>) {
        let (architecture, optimizer, momentum, learning_rate) = network;
        self.0.push(Configuration {
            architecture,
            optimizer,
            momentum,
            learning_rate,
            warmup_steps,
            fault,
            seed: self.0.len() as u64,
        });
    }
}

/// As many new runs of the same kinds, which belong to neither part. They are a held-out set that
/// no earlier table has used.
///
/// Each run has a new seed, a learning rate up to a quarter of a decade from the list's and a new
/// step for its fault. Another `sample` number gives other runs.
pub fn fresh(sample: u64) -> Vec<Configuration> {
    let rng = &mut ChaCha8Rng::seed_from_u64(sample);
    let mut all = configurations();
    for one in &mut all {
        one.learning_rate *= 10f64.powf(rng.random_range(-0.25..0.25));
        let at_step = rng.random_range(FAULT_AT - 20..=FAULT_AT + 20);
        if let Some(fault) = &mut one.fault {
            let name = fault.name();
            let moved = Fault::all(at_step)
                .into_iter()
                .find(|one| one.name() == name);
            *fault = moved.expect("both lists have the same faults");
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

/// Networks that train well. Faults are put into them.
fn well_trained() -> [Network; 6] {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::zoo::Part;

    #[test]
    fn fresh_runs_are_of_the_same_kinds_and_none_is_in_the_list() {
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
    fn the_zoo_is_large_and_split_in_half_with_all_seeds_of_a_configuration_in_one_part() {
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
