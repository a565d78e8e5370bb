use serde::{Deserialize, Serialize};

use crate::float;

/// Values below the smallest normal f32, 1.2e-38, in the first backward pass, and their cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Subnormals {
    /// The share of the parameters' gradient that is subnormal, in `0..=1`.
    #[serde(with = "float")]
    pub gradient_share: f64,
    /// The share of the backward signals (the gradients at layers or time steps) that are
    /// subnormal, or would be if the subject did not set them to zero.
    #[serde(with = "float")]
    pub signal_share: f64,
    /// The share of the backward signals that have shrunk below 1.4e-45 and are zero.
    #[serde(with = "float")]
    pub signal_lost: f64,
    /// The slowdown of this machine on subnormal signals. `None` when it was not timed.
    pub slowdown: Option<Slowdown>,
}

/// A backward pass through layers of the network's own width, timed with normal and with subnormal
/// signals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slowdown {
    /// The time with subnormal signals over the time with normal ones: the ratio of two medians.
    #[serde(with = "float")]
    pub factor: f64,
    /// The number of layers.
    pub layers: usize,
    /// The number of units of a layer.
    pub width: usize,
    /// The number of samples.
    pub rows: usize,
    /// The number of alternating timings of each.
    pub repeats: usize,
}

impl Subnormals {
    /// The factor by which the subnormal signals slow down a backward pass that keeps them:
    /// `1 + signal_share (factor - 1)`. `None` when it was not timed.
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
        // A machine that is not slower has no cost.
        assert_eq!(cost(1.0, Some(0.9)), Some(1.0));
        assert_eq!(cost(1.0, None), None);
    }
}
