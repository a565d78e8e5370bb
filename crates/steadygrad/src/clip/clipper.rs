use serde::{Deserialize, Serialize};

use super::{ClipConfigError, ClipReading, Gradients, Policy, PolicyState};
use crate::Decision;

/// A policy with its running state. Saved and loaded in mid-stream, it goes on to the bit as it
/// would have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clipper {
    policy: Policy,
    state: PolicyState,
}

/// What one call of [`Clipper::clip`] saw and did.
#[derive(Debug, Clone, PartialEq)]
pub struct Clipped {
    /// The gradients as they were before.
    pub before: ClipReading,
    /// One decision a policy, in order.
    pub decisions: Vec<Decision>,
}

impl Clipper {
    /// A policy that has seen nothing yet.
    ///
    /// # Errors
    /// When a setting cannot be used; names the field.
    pub fn new(policy: impl Into<Policy>) -> Result<Self, ClipConfigError> {
        let policy = policy.into();
        policy.validate()?;
        let state = policy.first_state();
        Ok(Self { policy, state })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Measures the gradients, decides, and acts; a chain does so policy by policy, measuring again
    /// only after a decision whose effect on the norms does not follow from the norms.
    ///
    /// # Errors
    /// The adapter's, when it cannot measure or act. The state is then as before the call.
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

    /// Judges a reading that the caller measured; for a policy that is not a chain.
    ///
    /// A chain cannot decide on one reading: it keeps everything.
    pub fn step(&mut self, reading: &ClipReading) -> Decision {
        let decision;
        (self.state, decision) = self.policy.step_one(self.state.clone(), reading);
        decision
    }
}

/// A chain's policies with their states, in order; chains within chains laid out flat.
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
