use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::interface::{Detect, MOST_REMEMBERED, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::Place;
use crate::setting::{self, SettingError};
use crate::statistics::median;

/// The global norm grows explosively, by more than `factor`.
///
/// - *Fast*: it rose in each of the last `steps` steps, beyond `margin` times everything in the
///   window before.
/// - *Slowly*: of the last four blocks of `steps`, or of `4 steps`, each has a higher median than
///   the one before, and the last one's is beyond `margin` times everything before the last two.
///   Noise hides a slow rise from one step to the next, not from block to block.
///
/// It is [`Severity::Harmful`] when the loss rose as well, beyond everything before. Over a fast
/// rise the loss may fall in one of the steps; over a slow one it rises from block to block. Else
/// it is a [`Severity::Note`]: a norm that rises while the loss falls is a network that leaves a
/// plateau. The message says after how many steps the largest gradient value overflows f32 at this
/// rate. Silent where norm or loss is not finite.
///
/// Defaults: 8 steps, the lead that StableAdamW's authors measured between the first sign and a
/// loss spike (1 to 8 steps, arXiv 2304.13013); factor 10, so that fast is 33 % a step, slow 10 %
/// and slowest 2.4 %; margin 4; window 128. Measured: `examples/guard_on_streams.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct NormGrowth {
    /// How many steps a rise is followed over.
    pub steps: usize,
    /// How much of a rise over these steps is too much.
    pub factor: f64,
    /// Multiple of the largest norm before the rise.
    pub margin: f64,
    /// How many norms and losses are remembered.
    pub window: usize,
}

impl Default for NormGrowth {
    fn default() -> Self {
        Self {
            steps: 8,
            factor: 10.0,
            margin: 4.0,
            window: 128,
        }
    }
}

/// The last accepted norms and losses, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NormGrowthState {
    norms: VecDeque<f64>,
    losses: VecDeque<f64>,
}

/// How far a quantity rose.
struct Rise {
    /// Over how many steps.
    steps: usize,
    /// Where it stood before.
    from: f64,
    /// Where it stands now.
    to: f64,
    /// The largest value that it has to be beyond.
    before: f64,
}

/// The rise over the last `steps` steps to `now`, of which at most `falls` do not go up.
fn fast(past: &VecDeque<f64>, now: f64, steps: usize, falls: usize) -> Option<Rise> {
    let first = past.len().checked_sub(steps)?;
    let recent = past.iter().skip(first);
    let next = recent.clone().skip(1).chain([&now]);
    let fell = recent.clone().zip(next).filter(|(a, b)| a >= b).count();
    let from = *recent.clone().next()?;
    (fell <= falls && now > from).then(|| Rise {
        steps,
        from,
        to: now,
        before: largest(past, first),
    })
}

/// The rise from the first to the last of the four last blocks, `now` included, where every median
/// is above the one before.
fn slow(past: &VecDeque<f64>, now: f64, block: usize) -> Option<Rise> {
    let first = (past.len() + 1).checked_sub(4 * block)?;
    let mut values: Vec<f64> = past.iter().skip(first).copied().chain([now]).collect();
    let mut medians = [0.0; 4];
    for (of_block, block) in medians.iter_mut().zip(values.chunks_mut(block)) {
        *of_block = median(block)?;
    }
    let [from, _, _, to] = medians;
    medians.is_sorted_by(|a, b| a < b).then(|| Rise {
        steps: 3 * block,
        from,
        to,
        before: largest(past, first + 2 * block),
    })
}

/// The largest of the first `count` values.
fn largest(values: &VecDeque<f64>, count: usize) -> f64 {
    values.iter().take(count).copied().fold(f64::MIN, f64::max)
}

impl NormGrowth {
    /// A rise of the norm that is too much, and whether the loss rose with it.
    fn rise(&self, state: &NormGrowthState, norm: f64, loss: f64) -> Option<(Rise, bool)> {
        let NormGrowthState { norms, losses } = state;
        let steps = self.steps.max(2);
        let too_much =
            |rise: &Rise| rise.to > self.factor * rise.from && rise.to > self.margin * rise.before;
        if let Some(of_norm) = fast(norms, norm, steps, 0).filter(too_much) {
            let of_loss = fast(losses, loss, steps, 1);
            return Some((of_norm, of_loss.is_some_and(|rise| rise.to > rise.before)));
        }
        [steps, 4 * steps].into_iter().find_map(|block| {
            // Cheap to rule out, nearly always.
            let first = (norms.len() + 1).checked_sub(4 * block)?;
            let of_norm = (norm > self.factor * norms.get(first)?)
                .then(|| slow(norms, norm, block))?
                .filter(too_much)?;
            let of_loss = slow(losses, loss, block);
            Some((of_norm, of_loss.is_some_and(|rise| rise.to > rise.before)))
        })
    }
}

impl Detect for NormGrowth {
    type State = NormGrowthState;

    const TITLE: &'static str = "norm growth";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = false;

    fn validate(&self) -> Result<(), SettingError> {
        setting::count("steps", self.steps, 2, MOST_REMEMBERED)?;
        setting::above("factor", self.factor, 1.0)?;
        setting::at_least("margin", self.margin, 1.0)?;
        setting::count("window", self.window, self.steps, MOST_REMEMBERED)
    }

    fn with_power(self, power: f64) -> Self {
        Self {
            factor: self.factor.powf(power),
            margin: self.margin.powf(power),
            ..self
        }
    }

    fn check(&self, state: &Self::State, signals: &Signals<'_>) -> Option<Sighting> {
        let (norm, loss) = (signals.global_norm, signals.reading.loss);
        if !norm.is_finite() || !loss.is_finite() {
            return None;
        }
        let (rise, loss_too) = self.rise(state, norm, loss)?;
        let growth = rise.to / rise.from;
        let largest = signals.reading.gradients.max_abs();
        let overflow = (f64::from(f32::MAX) / largest).ln() / growth.ln() * rise.steps as f64;
        let (severity, also) = if loss_too {
            (Severity::Harmful, "and so did the loss")
        } else {
            (Severity::Note, "but not the loss")
        };
        Some(Sighting {
            severity,
            place: Place::Run,
            value: growth,
            threshold: self.factor,
            message: format!(
                "the global norm rose by {growth:.3e} in {} steps, {also}; at this rate a gradient \
                 overflows in {overflow:.0} steps",
                rise.steps
            ),
        })
    }

    fn accept(&self, state: &mut Self::State, signals: &Signals<'_>, _clipped: bool) {
        let (norm, loss) = (signals.global_norm, signals.reading.loss);
        if !norm.is_finite() || !loss.is_finite() {
            return;
        }
        for (values, value) in [(&mut state.norms, norm), (&mut state.losses, loss)] {
            values.push_back(value);
            while values.len() > self.window.max(1) {
                values.pop_front();
            }
        }
    }

    fn reject(&self, _state: &mut Self::State, _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level(state: &mut Self::State) {
        *state = Self::State::default();
    }

    fn quiet(&self, _state: &Self::State, _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }

    /// The largest norm within the bounds that is no rise, whatever the loss.
    fn quiet_within(&self, state: &Self::State, bounds: Quiet) -> Option<Quiet> {
        let seen = largest(&state.norms, state.norms.len());
        [bounds, bounds.with_norm(seen)].into_iter().find(|within| {
            self.rise(state, within.global_norm, f64::INFINITY)
                .is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reading;
    use super::*;

    fn run(rows: impl IntoIterator<Item = (f64, f32)>) -> Vec<(u64, Severity)> {
        let (rule, mut state) = (NormGrowth::default(), NormGrowthState::default());
        let mut all = Vec::new();
        for (step, (loss, gradient)) in rows.into_iter().enumerate() {
            let reading = reading(step as u64, loss, gradient);
            let signals = Signals::of(&reading);
            all.extend(
                rule.check(&state, &signals)
                    .map(|seen| (reading.step, seen.severity)),
            );
            rule.accept(&mut state, &signals, false);
        }
        all
    }

    /// A plateau, then growth by `rate` a step from step 20 on.
    fn growth(rate: f32, loss: impl Fn(i32) -> f64) -> Vec<(f64, f32)> {
        (0..40)
            .map(|step| (loss(step), rate.powi((step - 20).max(0))))
            .collect()
    }

    #[test]
    fn a_diverging_run_is_seen_and_a_plateau_that_ends_is_no_harm() {
        let rising = |step: i32| 1.0 + 0.1 * f64::from((step - 20).max(0));
        let seen = run(growth(1.5, rising));
        // Eight rises, 1.5^8 = 26 times.
        assert_eq!(seen.first(), Some(&(28, Severity::Harmful)));
        let falling = |step: i32| 1.0 - 0.01 * f64::from(step);
        let seen = run(growth(1.5, falling));
        assert_eq!(seen.first(), Some(&(28, Severity::Note)));
        assert!(seen.iter().all(|(_, severity)| *severity == Severity::Note));
    }

    #[test]
    fn from_the_first_step_on() {
        let diverging = (0..30).map(|step| (1.1f64.powi(step), 1.4f32.powi(step)));
        assert_eq!(run(diverging).first(), Some(&(8, Severity::Harmful)));
    }

    #[test]
    fn a_slow_rise_is_seen_from_block_to_block_in_spite_of_noise() {
        let noisy = |rate: f32| {
            (0..300i32).map(move |step| {
                let noise = [1.0f32, 1.6, 0.7, 1.2, 0.8][step as usize % 5];
                let grown = rate.powi((step - 100).max(0));
                (f64::from(1.0 + 0.1 * noise + 0.2 * grown), noise * grown)
            })
        };
        let first = |rate| run(noisy(rate)).first().copied();
        assert!(
            matches!(first(1.2), Some((115..130, Severity::Harmful))),
            "{:?}",
            first(1.2)
        );
        assert!(
            matches!(first(1.05), Some((160..230, Severity::Harmful))),
            "{:?}",
            first(1.05)
        );
        assert_eq!(first(1.01), None);
    }

    #[test]
    fn noise_and_a_way_back_are_silent() {
        assert_eq!(run((0..40).map(|step| (1.0, [1.0, 50.0][step % 2]))), []);
        let back = (0..40i32).map(|step| (f64::from(step), 1.5f32.powi((step - 20).abs())));
        // Rising again, but not above where it came from.
        assert_eq!(run(back), []);
    }

    #[test]
    fn zero_empty_and_non_finite_rows() {
        assert_eq!(run([(0.0, 0.0); 40]), []);
        assert_eq!(run([]), []);
        let holes = growth(1.5, f64::from).into_iter().flat_map(|row| {
            [
                row,
                (f64::NAN, row.1),
                (row.0, f32::NAN),
                (f64::INFINITY, 1.0),
            ]
        });
        assert_eq!(
            run(holes).first().map(|seen| seen.1),
            Some(Severity::Harmful)
        );
    }
}
