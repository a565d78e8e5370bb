use serde::{Deserialize, Serialize};

use crate::float;

/// Values below the smallest normal f32, 1.2e-38, in the first backward pass, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Subnormals {
    /// Share of the parameters' gradient that is subnormal, in `0..=1`.
    #[serde(with = "float")]
    pub gradient_share: f64,
    /// Share of the backward signals (the gradients that reach layers or time steps) that are
    /// subnormal, or would be if the subject did not set them to zero.
    #[serde(with = "float")]
    pub signal_share: f64,
    /// Share of the backward signals that have shrunk on, below 1.4e-45, and are zero.
    #[serde(with = "float")]
    pub signal_lost: f64,
    /// What this machine makes of subnormal signals; `None` when it was not timed.
    pub slowdown: Option<Slowdown>,
}

/// A backward pass through layers of the network's own width, timed with normal signals and with
/// subnormal ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slowdown {
    /// Time with subnormal signals over time with normal ones: the ratio of two medians.
    #[serde(with = "float")]
    pub factor: f64,
    /// Layers.
    pub layers: usize,
    /// Their units.
    pub width: usize,
    /// Samples.
    pub rows: usize,
    /// Times that each was timed, by turns.
    pub repeats: usize,
}

impl Subnormals {
    /// By how much the subnormal signals slow down a backward pass that keeps them:
    /// `1 + signal_share (factor - 1)`.
    pub fn cost(&self) -> Option<f64> {
        self.slowdown
            .map(|slowdown| 1.0 + self.signal_share * (slowdown.factor - 1.0).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_subnormals() {
        let cost = |signal_share, factor: Option<f64>| {
            Subnormals {
                gradient_share: 1.0,
                signal_share,
                signal_lost: 1.0,
                slowdown: factor.map(|factor| Slowdown {
                    factor,
                    layers: 1,
                    width: 1,
                    rows: 1,
                    repeats: 1,
                }),
            }
            .cost()
        };
        assert_eq!(cost(0.5, Some(11.0)), Some(6.0));
        assert_eq!(cost(0.0, Some(11.0)), Some(1.0));
        // A machine that is no slower costs nothing.
        assert_eq!(cost(1.0, Some(0.9)), Some(1.0));
        assert_eq!(cost(1.0, None), None);
    }
}
