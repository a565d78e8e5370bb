//! The list of all policies. A new policy is a file in the folder `policy` and its two lines here.

mod adagc;
mod adaptive_gradient;
mod autoclip;
mod clippy;
mod global_norm;
mod spike_aware;
mod tensor_norm;
mod update_rms;
mod value;
mod zclip;

use serde::{Deserialize, Serialize};

use super::{ClipPolicy, ClipReading, Needs, Target};
use crate::Decision;
use crate::setting::{SettingError, check};

/// Makes the enums of all policies and of their states, and hands each call on to the policy's
/// file.
macro_rules! policies {
    ($($(#[$doc:meta])* $name:literal => $variant:ident($file:ident::$config:ident)),+ $(,)?) => {
        $(pub use $file::*;)+

        /// Any clipping policy, as a configuration file or another language names it.
        ///
        /// ```
        /// use steadygrad::clip::{AutoClip, Policy};
        ///
        /// let policy: Policy = serde_json::from_str(r#"{"policy": "autoclip", "window": 100}"#)?;
        /// assert_eq!(policy, AutoClip::default().with_window(100).into());
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "policy")]
        #[non_exhaustive]
        pub enum Policy {
            $($(#[$doc])* #[serde(rename = $name)] $variant($config),)+
            /// Runs several policies in turn. Each sees the gradients as the one before left them.
            #[serde(rename = "chain")]
            Chain {
                /// In the order in which they act. All act on the gradient.
                policies: Vec<Policy>,
            },
        }

        /// The state of any policy.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "policy", content = "state")]
        #[non_exhaustive]
        pub enum PolicyState {
            $($(#[$doc])* #[serde(rename = $name)] $variant(<$config as ClipPolicy>::State),)+
            /// One state per policy of a chain.
            #[serde(rename = "chain")]
            Chain(Vec<PolicyState>),
        }

        impl Policy {
            /// The names of all policies but the chain, as JSON and Python spell them. Each is the
            /// name of the policy's file.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The file and the type of each policy, in the order of [`Policy::NAMES`].
            #[cfg(test)]
            const SOURCES: &'static [(&'static str, &'static str)] =
                &[$((stringify!($file), stringify!($config))),+];

            /// Every policy but the chain, as the conformance tests run it: see
            /// [`ClipPolicy::examples`].
            #[doc(hidden)]
            pub fn examples(bound: f64) -> Vec<Self> {
                let mut examples = Vec::new();
                $(examples.extend($config::examples(bound).into_iter().map(Self::$variant));)+
                examples
            }

            /// The measurements that the policy needs beside the statistics. For a chain, those of
            /// its first policy.
            pub fn needs(&self) -> Needs {
                match self {
                    $(Self::$variant(config) => config.needs(),)+
                    Self::Chain { policies } => policies.first().map_or(Needs::Stats, Self::needs),
                }
            }

            /// What the policy changes.
            pub fn target(&self) -> Target {
                match self {
                    $(Self::$variant(config) => config.target(),)+
                    Self::Chain { .. } => Target::Gradient,
                }
            }

            /// Checks every setting.
            ///
            /// # Errors
            /// Names the policy and the first field that cannot be used, for example `zclip.alpha`.
            pub fn validate(&self) -> Result<(), SettingError> {
                match self {
                    $(Self::$variant(config) => {
                        config.validate().map_err(|error| error.within($name))
                    })+
                    Self::Chain { policies } => validate_chain(policies),
                }
            }

            /// The state before the first step.
            pub fn first_state(&self) -> PolicyState {
                match self {
                    $(Self::$variant(_) => PolicyState::$variant(Default::default()),)+
                    Self::Chain { policies } => {
                        PolicyState::Chain(policies.iter().map(Self::first_state).collect())
                    }
                }
            }

            /// Whether this is a state of this policy.
            pub(super) fn fits(&self, state: &PolicyState) -> bool {
                match (self, state) {
                    $((Self::$variant(_), PolicyState::$variant(_)) => true,)+
                    (Self::Chain { policies }, PolicyState::Chain(states)) => {
                        policies.len() == states.len()
                            && policies.iter().zip(states).all(|(policy, state)| policy.fits(state))
                    }
                    _ => false,
                }
            }

            /// Judges one step. A state of another policy counts as a first state. A chain has no
            /// single decision: see [`Clipper`](super::Clipper).
            pub(super) fn step_one(
                &self,
                state: PolicyState,
                reading: &ClipReading,
            ) -> (PolicyState, Decision) {
                match (self, state) {
                    $((Self::$variant(config), state) => {
                        let state = match state {
                            PolicyState::$variant(state) => state,
                            _ => Default::default(),
                        };
                        let (state, decision) = config.step(state, reading);
                        (PolicyState::$variant(state), decision)
                    })+
                    (Self::Chain { .. }, state) => (state, Decision::Keep),
                }
            }
        }

        $(impl From<$config> for Policy {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        })+
    };
}

policies! {
    /// Bounds each value.
    "value" => Value(value::ValueClip),
    /// Bounds the norm of each tensor.
    "tensor_norm" => TensorNorm(tensor_norm::TensorNormClip),
    /// Bounds the norm over all tensors, L2 or L-infinity.
    "global_norm" => GlobalNorm(global_norm::GlobalNormClip),
    /// Bounds the norm of each output unit, by its weights.
    "adaptive_gradient" => AdaptiveGradient(adaptive_gradient::AdaptiveGradientClip),
    /// Bounds the global norm by a percentile of its history.
    "autoclip" => AutoClip(autoclip::AutoClip),
    /// Bounds the global norm by its running mean and deviation.
    "zclip" => ZClip(zclip::ZClip),
    /// Bounds the norm of each tensor by its own running norm.
    "adagc" => AdaGC(adagc::AdaGC),
    /// Bounds each value by the optimizer's second moment.
    "spike_aware" => SpikeAware(spike_aware::SpikeAwareClip),
    /// Bounds the update of each tensor by the age of its second moment.
    "update_rms" => UpdateRms(update_rms::UpdateRmsClip),
    /// Bounds the update of each tensor by the weights that it changes.
    "clippy" => Clippy(clippy::Clippy),
}

impl Policy {
    /// Whether the policy, or one in its chain, looks at the weights.
    pub fn looks_at_weights(&self) -> bool {
        self.any(Needs::include_weights)
    }

    /// Whether the policy, or one in its chain, looks at the optimizer's second moments.
    pub fn looks_at_moments(&self) -> bool {
        self.any(Needs::include_moments)
    }

    fn any(&self, test: fn(Needs) -> bool) -> bool {
        match self {
            Self::Chain { policies } => policies.iter().any(|policy| policy.any(test)),
            policy => test(policy.needs()),
        }
    }
}

/// Checks the policies of a chain. All of them must act on the gradient.
fn validate_chain(policies: &[Policy]) -> Result<(), SettingError> {
    policies.iter().enumerate().try_for_each(|(index, policy)| {
        check(
            "chain",
            index,
            policy.target() == Target::Gradient,
            "the policy at this place acts on the update; give a chain only policies that act on \
             the gradient",
        )?;
        policy.validate()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A policy has one name: of its file, in JSON, of its Python class and in the docs.
    #[test]
    fn no_policy_is_half_a_policy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let python = read("python/steadygrad/clip.py");
        let page = read("docs/choose-a-policy.md");
        for (name, (file, config)) in Policy::NAMES.iter().zip(Policy::SOURCES) {
            assert_eq!(name, file, "the name of `{config}` is not that of its file");
            let quoted = format!("\"{name}\"");
            assert!(
                python.contains(&quoted),
                "python/steadygrad/clip.py has no class with the name {quoted}"
            );
            let row = format!("| `{config}`");
            assert!(
                page.contains(&row),
                "docs/choose-a-policy.md has no row for `{config}`"
            );
        }
    }

    #[test]
    fn every_policy_has_an_example_that_json_names() {
        let examples = Policy::examples(1.0);
        for name in Policy::NAMES {
            let tag = format!("{{\"policy\":\"{name}\"");
            let named = |policy: &&Policy| serde_json::to_string(policy).unwrap().starts_with(&tag);
            assert!(examples.iter().any(|policy| named(&policy)), "{name}");
        }
    }
}
