use serde::{Deserialize, Serialize};

use crate::dynamics::Exponent;

/// The source of a gradient's growth rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrowthSource {
    /// The measured gradient at both ends of the network.
    Profile,
    /// The mean of the layers' own Jacobians in a random direction, because an end of the profile
    /// underflowed or overflowed.
    Jacobians,
    /// Mean-field theory, from the weight scale, because nothing could be measured.
    MeanField,
}

/// The growth of the gradient per step, backwards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradientGrowth {
    /// Its source.
    pub source: GrowthSource,
    /// The natural logarithm of the factor per step, with its error over the steps.
    pub rate: Exponent,
}
