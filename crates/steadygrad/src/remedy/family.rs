use serde::{Deserialize, Serialize};

/// The six families of fixes for exploding gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Bound the gradient.
    Clip,
    /// Keep the weights small or near-isometric.
    Regularize,
    /// Start at criticality.
    Initialize,
    /// Normalise the activations.
    Normalize,
    /// Fewer layers, or a shorter backward pass through time.
    Simplify,
    /// A smaller learning rate.
    SlowDown,
}

impl Family {
    /// All six, in the order in which they are tried and shown.
    pub const ALL: [Family; 6] = [
        Family::Clip,
        Family::Regularize,
        Family::Initialize,
        Family::Normalize,
        Family::Simplify,
        Family::SlowDown,
    ];

    /// Its name, as in JSON and in a table.
    pub fn name(self) -> &'static str {
        match self {
            Family::Clip => "clip",
            Family::Regularize => "regularize",
            Family::Initialize => "initialize",
            Family::Normalize => "normalize",
            Family::Simplify => "simplify",
            Family::SlowDown => "slow_down",
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
