use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::setting::{self, SettingError};
use crate::{Place, StepReading};

/// The weights jump from one step to the next, as a flipped bit makes them, or grow and grow.
///
/// - [`Severity::Damage`]: the norm of all weights changed by more than a millionth (f32 keeps
///   seven digits), although the step before was not applied: something else writes to them.
/// - [`Severity::Damage`]: the norm of all weights is above `jump` times what it was one step
///   before; or one parameter's is above `parameter_jump` times, by at least a tenth of all
///   weights. An optimizer would have to make an update as large as the weights for it.
/// - [`Severity::Note`]: the norm of all weights grew by more than `growth` within `window` steps;
///   seen once a window.
///
/// Jumps are not judged in the first `warmup` readings, where weights that start at zero double.
/// Silent when the parameters are not those of the step before, in number or by name (experts of
/// which one trains at a time). Silent for zero and non-finite norms as well; the latter are
/// harmful to [`NonFinite`](struct@super::NonFinite).
///
/// Defaults: jump 2, an update as large as the weights; parameter jump 10 (SageMaker Debugger's
/// WeightUpdateRatio); growth 10 in 64 steps, 3.7 % each; warm-up 10.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WeightGrowth {
    /// Multiple of the norm of all weights, in one step.
    pub jump: f64,
    /// Multiple of the norm of one parameter, in one step.
    pub parameter_jump: f64,
    /// Multiple of the norm of all weights, in `window` steps.
    pub growth: f64,
    /// How many norms are remembered.
    pub window: usize,
    /// Readings before the first judgement of a jump.
    pub warmup: usize,
}

/// Relative change of a norm that rounding does not make.
const UNCHANGED: f64 = 1e-6;

/// The least share of all weights that a jump of one parameter is judged from.
const LEAST_SHARE: f64 = 0.1;

impl Default for WeightGrowth {
    fn default() -> Self {
        Self {
            jump: 2.0,
            parameter_jump: 10.0,
            growth: 10.0,
            window: 64,
            warmup: 10,
        }
    }
}

/// The weights of the previous reading, and the last norms of all together, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WeightGrowthState {
    norms: Vec<f64>,
    /// The parameters' names, as far as the readings had any.
    names: Vec<String>,
    totals: VecDeque<f64>,
    seen: usize,
    /// The step before was not applied: the weights should be what they were.
    frozen: bool,
}

impl WeightGrowthState {
    /// Whether a reading's norms are those of the same parameters, in the same order.
    fn has_parameters_of(&self, reading: &StepReading) -> bool {
        self.norms.len() == reading.weight_norms.len()
            && self.names.iter().eq(named_parameters(reading))
    }

    /// The last norm of all weights.
    pub(super) fn last_norm(&self) -> Option<f64> {
        self.totals.back().copied()
    }
}

/// The names of the parameters that a weight norm stands for.
fn named_parameters(reading: &StepReading) -> impl Iterator<Item = &String> {
    let tensors = reading.gradients.tensors.iter();
    tensors
        .take(reading.weight_norms.len())
        .map(|tensor| &tensor.name)
}

impl WeightGrowth {
    /// Weights that changed without a step.
    fn see_write(&self, before: f64, total: f64) -> Option<Sighting> {
        ((total - before).abs() > UNCHANGED * before).then(|| Sighting {
            severity: Severity::Damage,
            place: Place::Run,
            value: total / before,
            threshold: 1.0 + UNCHANGED,
            message: format!(
                "the norm of all weights went from {before:.6e} to {total:.6e}, although the step \
                 before was not applied"
            ),
        })
    }

    /// One parameter that jumped.
    fn see_parameter_jump(
        &self,
        state: &WeightGrowthState,
        before: f64,
        reading: &StepReading,
    ) -> Option<Sighting> {
        let pairs = reading.weight_norms.iter().zip(&state.norms);
        let (index, (now, then)) = pairs.enumerate().find(|(_, (now, then))| {
            **now > self.parameter_jump * then.max(0.0) && **now - **then > LEAST_SHARE * before
        })?;
        let (place, name) = reading.parameter(index);
        Some(Sighting {
            severity: Severity::Damage,
            place,
            value: now / then,
            threshold: self.parameter_jump,
            message: format!(
                "the weights of {name} jumped from {then:.3e} to {now:.3e} in one step"
            ),
        })
    }

    /// All weights that jumped.
    fn see_jump(&self, before: f64, total: f64) -> Option<Sighting> {
        (total > self.jump * before).then(|| Sighting {
            severity: Severity::Damage,
            place: Place::Run,
            value: total / before,
            threshold: self.jump,
            message: format!(
                "the norm of all weights jumped from {before:.3e} to {total:.3e} in one step"
            ),
        })
    }

    /// All weights that grew too much within the window.
    fn see_growth(&self, state: &WeightGrowthState, total: f64) -> Option<Sighting> {
        let then = self.grown_from(state, total)?;
        Some(Sighting {
            severity: Severity::Note,
            place: Place::Run,
            value: total / then,
            threshold: self.growth,
            message: format!(
                "the norm of all weights grew from {then:.3e} to {total:.3e} in {} steps",
                state.totals.len()
            ),
        })
    }

    /// The norm at the begin of the window, where it has grown too much since.
    fn grown_from(&self, state: &WeightGrowthState, total: f64) -> Option<f64> {
        let then = *state.totals.front()?;
        let whole = state.totals.len() >= self.window.max(2);
        (whole && then > 0.0 && total > self.growth * then).then_some(then)
    }

    /// Remembers the weights, and whether the step from here is applied.
    fn remember(&self, state: &mut WeightGrowthState, signals: &Signals<'_>, applied: bool) {
        let (total, norms) = (signals.weight_norm, &signals.reading.weight_norms);
        if !state.has_parameters_of(signals.reading) {
            *state = WeightGrowthState {
                names: named_parameters(signals.reading).cloned().collect(),
                ..WeightGrowthState::default()
            };
        }
        if norms.is_empty() || !total.is_finite() || norms.iter().any(|norm| !norm.is_finite()) {
            return;
        }
        if self.grown_from(state, total).is_some() {
            // Told: the next window begins here.
            state.totals.clear();
        }
        state.frozen = !applied;
        state.norms.clone_from(norms);
        state.totals.push_back(total);
        while state.totals.len() > self.window.max(2) {
            state.totals.pop_front();
        }
        state.seen = state.seen.saturating_add(1);
    }
}

impl Detect for WeightGrowth {
    type State = WeightGrowthState;

    const TITLE: &'static str = "weight growth";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::above("jump", self.jump, 1.0)?;
        setting::above("parameter_jump", self.parameter_jump, 1.0)?;
        setting::above("growth", self.growth, 1.0)?;
        setting::count("window", self.window, 2, MOST_REMEMBERED)?;
        setting::count("warmup", self.warmup, 0, MOST_REMEMBERED)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            jump: self.jump.powf(power),
            parameter_jump: self.parameter_jump.powf(power),
            growth: self.growth.powf(power),
            ..self
        }
    }

    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let total = signals.weight_norm;
        let before = state.last_norm()?;
        if !state.has_parameters_of(signals.reading) || !total.is_finite() || before <= 0.0 {
            return None;
        }
        if state.frozen
            && let Some(write) = self.see_write(before, total)
        {
            return Some(write);
        }
        if state.seen < self.warmup {
            return None;
        }
        self.see_parameter_jump(state, before, signals.reading)
            .or_else(|| self.see_jump(before, total))
            .or_else(|| self.see_growth(state, total))
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        self.remember(state, signals, true);
    }

    /// Harmful readings are remembered too: the comparison is from step to step.
    fn reject(&self, state: &mut Self::State, signals: &Signals<'_>, applied: bool) {
        self.remember(state, signals, applied);
    }

    fn forget_level(_state: &mut Self::State) {}

    /// After a step that was not applied any change of the weights is too much.
    fn quiet(&self, state: &Self::State, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        let before = state.last_norm()?;
        (!state.frozen && before > 0.0).then_some(Quiet {
            weight_norm: bounds.weight_norm.min(self.jump * before),
            weight_rise: LEAST_SHARE * before,
            ..bounds
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;

    fn run(rows: impl IntoIterator<Item = Vec<f64>>) -> Vec<(u64, Severity, Place)> {
        let (rule, mut state) = (WeightGrowth::default(), WeightGrowthState::default());
        let mut all = Vec::new();
        for (step, norms) in rows.into_iter().enumerate() {
            let reading = reading(step as u64, 1.0, 1.0).with_weight_norms(norms);
            let signals = Signals::of(&reading);
            all.extend(
                rule.check(&state, &signals)
                    .map(|seen| (reading.step, seen.severity, seen.place)),
            );
            rule.accept(&mut state, &signals, false);
        }
        all
    }

    #[test]
    fn weights_that_move_without_an_update_are_damaged() {
        let rule = WeightGrowth::default();
        let seen = |applied: bool, factor: f64| {
            let mut state = WeightGrowthState::default();
            for step in 0..12 {
                let reading = reading(step, 1.0, 1.0).with_weight_norms(vec![3.0, 4.0]);
                rule.remember(&mut state, &Signals::of(&reading), applied || step < 11);
            }
            let reading = reading(12, 1.0, 1.0).with_weight_norms(vec![3.0 * factor, 4.0 * factor]);
            rule.check(&state, &Signals::of(&reading))
                .map(|seen| seen.severity)
        };
        assert_eq!(seen(false, 1.05), Some(Severity::Damage));
        assert_eq!(seen(false, 0.95), Some(Severity::Damage));
        assert_eq!(seen(false, 1.0), None);
        assert_eq!(seen(true, 1.05), None);
    }

    #[test]
    fn a_jump_is_damage_at_its_step_only() {
        let jump = vec![vec![1.0, 10.0]; 12]
            .into_iter()
            .chain(vec![vec![1e30, 10.0]; 5]);
        assert_eq!(run(jump), [(12, Severity::Damage, at_w())]);
        let all = vec![vec![1.0, 10.0]; 12]
            .into_iter()
            .chain([vec![9.0, 21.0]]);
        assert_eq!(run(all), [(12, Severity::Damage, Place::Run)]);
        // A small parameter is not judged.
        let bias = vec![vec![0.0, 10.0]; 12]
            .into_iter()
            .chain([vec![0.9, 10.0]]);
        assert_eq!(run(bias), []);
    }

    #[test]
    fn steady_growth_is_noted_once_a_window() {
        let seen = run((0..200).map(|step| vec![1.06f64.powi(step)]));
        let steps: Vec<u64> = seen.iter().map(|seen| seen.0).collect();
        assert_eq!(steps, [64, 128, 192]);
        assert!(seen.iter().all(|seen| seen.1 == Severity::Note));
        assert_eq!(run((0..200).map(|step| vec![1.01f64.powi(step)])), []);
    }

    #[test]
    fn other_parameters_in_their_places_are_no_jump() {
        // Two experts, one a hundred times the other. One at a time has a gradient.
        let (rule, mut state) = (WeightGrowth::default(), WeightGrowthState::default());
        let mut of = |step: u64, name: &str, norm: f64| {
            let mut reading = reading(step, 1.0, 1.0).with_weight_norms(vec![norm]);
            reading.gradients.tensors[0].name = name.into();
            let signals = Signals::of(&reading);
            let seen = rule.check(&state, &signals);
            rule.remember(&mut state, &signals, step != 24);
            seen
        };
        for step in 0..12 {
            assert_eq!(of(step, "small", 1.0), None);
        }
        assert_eq!(of(12, "large", 100.0), None);
        // The count begins anew, and the same parameter's jump is seen as before.
        for step in 13..25 {
            assert_eq!(of(step, "large", 100.0), None);
        }
        // Not applied, but not the same weights either.
        assert_eq!(of(25, "small", 1.0), None);
        for step in 26..40 {
            assert_eq!(of(step, "small", 1.0), None);
        }
        assert!(of(40, "small", 100.0).is_some());
    }

    #[test]
    fn odd_rows_are_silent() {
        assert_eq!(run((0..9).map(|step| vec![4f64.powi(step)])), []);
        assert_eq!(run(vec![vec![]; 30]), []);
        assert_eq!(run(vec![vec![0.0]; 30]), []);
        let holes = (0..40).map(|step| vec![[1.0, f64::NAN, 1.1, f64::INFINITY][step % 4]]);
        assert_eq!(run(holes), []);
        // A parameter that appears or vanishes is no growth.
        let length = (0..40).map(|step| vec![5.0; 1 + 20 * (step / 15)]);
        assert_eq!(run(length), []);
    }
}
