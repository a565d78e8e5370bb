use serde::{Deserialize, Serialize};

/// The way an optimizer turns a gradient into an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRule {
    /// The learning rate times the gradient, with or without momentum.
    Sgd,
    /// Adam and its relatives, whose first update moves every parameter by the learning rate.
    Adam,
}

/// The settings of a run that rules and remedies need.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSetup {
    /// The learning rate of the baseline.
    pub learning_rate: f64,
    /// The momentum coefficient of SGD; 0 without momentum.
    pub momentum: f64,
    /// The optimizer's rule; `None` where it is not known, or another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_rule: Option<UpdateRule>,
    /// The number of repeated layers, if the model has a depth that can be changed.
    pub depth: Option<usize>,
    /// The number of time steps, if the model is recurrent.
    pub sequence_length: Option<usize>,
}

impl TrainingSetup {
    /// The sharpness above which gradient descent with this momentum is unstable on a quadratic:
    /// `2 (1 + momentum) / learning_rate` (Cohen et al., 2021, section 2).
    pub fn stable_sharpness(&self) -> f64 {
        2.0 * (1.0 + self.momentum) / self.learning_rate
    }
}
