use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    AdaGc, AdaptiveGradientClip, AutoClip, ClipConfigError, ClipReading, Clippy, GlobalNormClip,
    Needs, SpikeAwareClip, TensorNormClip, UpdateRmsClip, ValueClip, ZClip,
};
use crate::Decision;

/// What a policy's decision is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The gradients, before the optimizer.
    Gradient,
    /// The change that the optimizer makes to the weights.
    Update,
}

/// One clipping rule: a pure function of its settings, its state and what was measured.
pub trait ClipPolicy {
    /// What it remembers from step to step.
    type State: Clone + Default + PartialEq + Serialize + DeserializeOwned;

    /// What it has to know beside the statistics.
    fn needs(&self) -> Needs {
        Needs::Stats
    }

    /// What it acts on.
    fn target(&self) -> Target {
        Target::Gradient
    }

    /// Whether every setting can be used.
    ///
    /// # Errors
    /// Names the first field that cannot.
    fn validate(&self) -> Result<(), ClipConfigError>;

    /// Judges one step.
    fn step(&self, state: Self::State, reading: &ClipReading) -> (Self::State, Decision);
}

macro_rules! policies {
    ($($(#[$doc:meta])* $name:ident($config:ty)),+ $(,)?) => {
        /// Any clipping policy, as a configuration file or another language names it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", tag = "policy")]
        pub enum Policy {
            $($(#[$doc])* $name($config),)+
            /// Several policies in turn: each sees the gradients as the one before left them.
            Chain {
                /// In the order in which they act. All act on the gradient.
                policies: Vec<Policy>,
            },
        }

        /// The state of any policy.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", tag = "policy", content = "state")]
        pub enum PolicyState {
            $($(#[$doc])* $name(<$config as ClipPolicy>::State),)+
            /// One state a policy.
            Chain(Vec<PolicyState>),
        }

        impl Policy {
            /// What it has to know beside the statistics; for a chain, its first policy.
            pub fn needs(&self) -> Needs {
                match self {
                    $(Self::$name(config) => config.needs(),)+
                    Self::Chain { policies } => policies.first().map_or(Needs::Stats, Self::needs),
                }
            }

            /// What it acts on.
            pub fn target(&self) -> Target {
                match self {
                    $(Self::$name(config) => config.target(),)+
                    Self::Chain { .. } => Target::Gradient,
                }
            }

            /// Whether every setting can be used.
            ///
            /// # Errors
            /// Names the first field that cannot.
            pub fn validate(&self) -> Result<(), ClipConfigError> {
                match self {
                    $(Self::$name(config) => config.validate(),)+
                    Self::Chain { policies } => policies.iter().enumerate().try_for_each(|(index, policy)| {
                        super::error::check(
                            "chain",
                            index as f64,
                            policy.target() == Target::Gradient,
                            "the policy at this place acts on the update; a chain holds policies that act on the gradient",
                        )?;
                        policy.validate()
                    }),
                }
            }

            /// The state before the first step.
            pub fn first_state(&self) -> PolicyState {
                match self {
                    $(Self::$name(_) => PolicyState::$name(Default::default()),)+
                    Self::Chain { policies } => {
                        PolicyState::Chain(policies.iter().map(Self::first_state).collect())
                    }
                }
            }

            /// Whether this is a state of this policy.
            pub(super) fn fits(&self, state: &PolicyState) -> bool {
                match (self, state) {
                    $((Self::$name(_), PolicyState::$name(_)) => true,)+
                    (Self::Chain { policies }, PolicyState::Chain(states)) => {
                        policies.len() == states.len()
                            && policies.iter().zip(states).all(|(policy, state)| policy.fits(state))
                    }
                    _ => false,
                }
            }

            /// Judges one step. A chain has no single decision: see [`Clipper`](super::Clipper).
            /// A state of another policy counts as a first state.
            pub(super) fn step_one(&self, state: PolicyState, reading: &ClipReading) -> (PolicyState, Decision) {
                match (self, state) {
                    $((Self::$name(config), state) => {
                        let state = match state {
                            PolicyState::$name(state) => state,
                            _ => Default::default(),
                        };
                        let (state, decision) = config.step(state, reading);
                        (PolicyState::$name(state), decision)
                    })+
                    (Self::Chain { .. }, state) => (state, Decision::Keep),
                }
            }
        }

        $(impl From<$config> for Policy {
            fn from(config: $config) -> Self {
                Self::$name(config)
            }
        })+
    };
}

policies! {
    /// Each value.
    Value(ValueClip),
    /// Each tensor's norm.
    TensorNorm(TensorNormClip),
    /// The norm over all tensors.
    GlobalNorm(GlobalNormClip),
    /// Each unit's norm, by its weights.
    AdaptiveGradient(AdaptiveGradientClip),
    /// The global norm, by a percentile of its history.
    Autoclip(AutoClip),
    /// The global norm, by its z-score.
    Zclip(ZClip),
    /// Each tensor's norm, by its own history.
    Adagc(AdaGc),
    /// Each value, by the second moment.
    SpikeAware(SpikeAwareClip),
    /// Each tensor's update, by the second moment.
    UpdateRms(UpdateRmsClip),
    /// Each tensor's update, by its weights.
    Clippy(Clippy),
}
