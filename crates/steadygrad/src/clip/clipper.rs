use serde::{Deserialize, Serialize};

use super::{ClipReading, Gradients, Policy, PolicyState};
use crate::Decision;
use crate::setting::SettingError;

/// A policy with its running state. Saved and loaded in mid-stream, it continues to the bit.
///
/// Loading fails when a setting cannot be used or the state belongs to another policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct Clipper {
    policy: Policy,
    state: PolicyState,
}

/// A [`Clipper`] as it is read, before the check.
#[derive(Deserialize)]
struct Saved {
    policy: Policy,
    state: PolicyState,
}

impl TryFrom<Saved> for Clipper {
    type Error = LoadError;

    fn try_from(Saved { policy, state }: Saved) -> Result<Self, LoadError> {
        policy.validate()?;
        if policy.fits(&state) {
            Ok(Self { policy, state })
        } else {
            Err(LoadError::OtherState)
        }
    }
}

/// A saved clipper that cannot be used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Config(#[from] SettingError),
    #[error("the state is that of another policy; load it with the policy it was saved with")]
    OtherState,
}

/// The result of one call of [`Clipper::clip`].
#[derive(Debug, Clone, PartialEq)]
pub struct Clipped {
    /// The reading before any change.
    pub before: ClipReading,
    /// One decision per policy, in order.
    pub decisions: Vec<Decision>,
}

impl Clipper {
    /// Starts a policy in its first state.
    ///
    /// # Errors
    /// [`SettingError`] names the first setting that cannot be used.
    pub fn new(policy: impl Into<Policy>) -> Result<Self, SettingError> {
        let policy = policy.into();
        policy.validate()?;
        let state = policy.first_state();
        Ok(Self { policy, state })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Measures the gradients, decides, and acts. A chain does so policy by policy. It measures
    /// again only after a decision whose effect on the norms does not follow from the norms.
    ///
    /// # Errors
    /// The adapter's error, when it cannot measure or act. The state is then as before the call.
    pub fn clip<G: Gradients>(&mut self, gradients: &mut G) -> Result<Clipped, G::Error> {
        let mut state = self.state.clone();
        let mut states: Vec<&mut PolicyState> = Vec::new();
        let mut policies: Vec<&Policy> = Vec::new();
        flatten(&self.policy, &mut state, &mut policies, &mut states);

        let mut before = None;
        let mut known: Option<ClipReading> = None;
        let mut decisions = Vec::with_capacity(policies.len());
        for (policy, state) in policies.into_iter().zip(states) {
            let reading = match known.take() {
                Some(reading) if policy.needs() == super::Needs::Stats => reading,
                _ => gradients.read(policy.needs())?,
            };
            let decision;
            (*state, decision) = policy.step_one(state.clone(), &reading);
            gradients.apply(&decision)?;
            known = reading.after(&decision);
            before.get_or_insert(reading);
            decisions.push(decision);
        }
        let before = match before {
            Some(before) => before,
            None => gradients.read(super::Needs::Stats)?,
        };
        self.state = state;
        Ok(Clipped { before, decisions })
    }

    /// Judges a reading that the caller measured. A chain cannot decide on one reading and keeps
    /// everything.
    pub fn step(&mut self, reading: &ClipReading) -> Decision {
        let decision;
        (self.state, decision) = self.policy.step_one(self.state.clone(), reading);
        decision
    }
}

/// Lists the policies of a chain with their states, in order. Chains within chains become one list.
fn flatten<'a>(
    policy: &'a Policy,
    state: &'a mut PolicyState,
    policies: &mut Vec<&'a Policy>,
    states: &mut Vec<&'a mut PolicyState>,
) {
    match (policy, state) {
        (Policy::Chain { policies: inner }, PolicyState::Chain(inner_states)) => {
            for (policy, state) in inner.iter().zip(inner_states) {
                flatten(policy, state, policies, states);
            }
        }
        (policy, state) => {
            policies.push(policy);
            states.push(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        AdaptiveGradientClip, AutoClip, GlobalNorm, GlobalNormClip, Needs, ParameterSlices,
        SliceGradients, ValueClip,
    };
    use super::*;
    use crate::Workers;
    use crate::stats::TensorStats;

    /// One tensor that counts its readings.
    struct Counted {
        values: Vec<f32>,
        reads: usize,
        broken: bool,
    }

    impl Counted {
        fn new(values: &[f32]) -> Self {
            Self {
                values: values.to_vec(),
                reads: 0,
                broken: false,
            }
        }
    }

    impl Gradients for Counted {
        type Error = &'static str;

        fn read(&mut self, _needs: Needs) -> Result<ClipReading, Self::Error> {
            self.reads += 1;
            Ok(ClipReading::from_stats([TensorStats::of(&self.values)]))
        }

        fn apply(&mut self, decision: &Decision) -> Result<(), Self::Error> {
            if self.broken {
                return Err("the device is gone");
            }
            for value in &mut self.values {
                match decision {
                    Decision::Clamp { max_abs } => {
                        *value = value.clamp(-*max_abs as f32, *max_abs as f32)
                    }
                    Decision::ScaleGlobal { coefficient } => *value *= *coefficient as f32,
                    _ => {}
                }
            }
            Ok(())
        }
    }

    fn chain(policies: Vec<Policy>) -> Clipper {
        Clipper::new(Policy::Chain { policies }).unwrap()
    }

    fn largest(max_norm: f64) -> Policy {
        GlobalNormClip {
            max_norm,
            norm: GlobalNorm::LInf,
        }
        .into()
    }

    #[test]
    fn a_chain_reads_again_only_when_it_must() {
        let mut gradients = Counted::new(&[6.0, 8.0]);
        let mut clipper = chain(vec![GlobalNormClip::new(5.0).into(), largest(2.0)]);
        let clipped = clipper.clip(&mut gradients).unwrap();
        assert_eq!(
            (gradients.reads, &gradients.values[..]),
            (1, &[1.5, 2.0][..])
        );
        assert_eq!(clipped.before.global_norm(), 10.0);
        assert_eq!(clipped.decisions.len(), 2);

        let mut gradients = Counted::new(&[6.0, 8.0]);
        let mut clipper = chain(vec![ValueClip { max_abs: 6.0 }.into(), largest(3.0)]);
        clipper.clip(&mut gradients).unwrap();
        assert_eq!(
            (gradients.reads, &gradients.values[..]),
            (2, &[3.0, 3.0][..])
        );
    }

    /// The reading after the first policy is not enough for a policy that needs more than norms.
    #[test]
    fn each_policy_of_a_chain_gets_the_reading_it_needs() {
        let mut gradient = [6.0f32, 8.0];
        let mut clipper = chain(vec![
            GlobalNormClip::new(5.0).into(),
            AdaptiveGradientClip {
                clipping: 0.5,
                eps: 1e-3,
            }
            .into(),
        ]);
        let Ok(clipped) = clipper.clip(&mut SliceGradients {
            parameters: vec![ParameterSlices {
                weight: Some((&[2.0f32, 0.0]).into()),
                ..ParameterSlices::new(&mut gradient[..])
            }],
            workers: &Workers::single(),
        });
        assert_eq!(
            clipped.decisions,
            [
                Decision::ScaleGlobal { coefficient: 0.5 },
                Decision::ScalePerUnit {
                    coefficients: vec![vec![0.2]]
                }
            ]
        );
    }

    #[test]
    fn chains_within_chains_are_one_chain_and_an_empty_chain_only_measures() {
        let inner = Policy::Chain {
            policies: vec![largest(4.0), largest(2.0)],
        };
        let mut gradients = Counted::new(&[8.0]);
        let clipped = chain(vec![inner, largest(1.0)])
            .clip(&mut gradients)
            .unwrap();
        assert_eq!(
            (clipped.decisions.len(), &gradients.values[..]),
            (3, &[1.0][..])
        );

        let mut gradients = Counted::new(&[8.0]);
        let clipped = chain(vec![]).clip(&mut gradients).unwrap();
        assert_eq!(
            (clipped.before.global_norm(), clipped.decisions),
            (8.0, vec![])
        );
        assert_eq!(gradients.values, [8.0]);
    }

    #[test]
    fn a_failed_step_leaves_the_state_as_it_was() {
        let mut clipper = Clipper::new(AutoClip::default()).unwrap();
        clipper.clip(&mut Counted::new(&[1.0])).unwrap();
        let before = clipper.clone();
        let mut gradients = Counted {
            broken: true,
            ..Counted::new(&[5.0])
        };
        assert_eq!(clipper.clip(&mut gradients), Err("the device is gone"));
        assert_eq!(clipper, before);
    }

    #[test]
    fn a_saved_clipper_is_checked() {
        let load =
            |text: &str| serde_json::from_str::<Clipper>(text).map_err(|error| error.to_string());
        let saved = serde_json::to_string(&chain(vec![largest(1.0)])).unwrap();
        assert_eq!(load(&saved).unwrap(), chain(vec![largest(1.0)]));
        let shorter = saved.replace(r#"[{"policy":"global_norm","state":null}]"#, "[]");
        assert_ne!(shorter, saved);
        assert!(
            load(&shorter)
                .unwrap_err()
                .contains("that of another policy")
        );
        let auto = serde_json::to_string(&Clipper::new(AutoClip::default()).unwrap()).unwrap();
        let other = auto.replace(
            r#""state":{"policy":"autoclip","state":[]}"#,
            r#""state":{"policy":"value","state":null}"#,
        );
        assert_ne!(other, auto);
        assert!(load(&other).unwrap_err().contains("that of another policy"));
        let window = auto.replace("10000", "0");
        assert_ne!(window, auto);
        assert!(load(&window).unwrap_err().contains("autoclip.window is 0"));
    }

    #[test]
    fn one_policy_decides_on_a_reading_and_a_chain_keeps() {
        let reading = ClipReading::from_stats([TensorStats::of(&[8.0f32])]);
        let mut one = Clipper::new(GlobalNormClip::new(2.0)).unwrap();
        assert_eq!(
            one.step(&reading),
            Decision::ScaleGlobal { coefficient: 0.25 }
        );
        assert_eq!(chain(vec![largest(1.0)]).step(&reading), Decision::Keep);
        let mut history = Clipper::new(AutoClip::default()).unwrap();
        let first = history.clone();
        history.step(&reading);
        assert_ne!(history, first);
    }
}
