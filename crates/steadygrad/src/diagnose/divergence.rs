use serde::{Deserialize, Serialize};

use super::History;
use super::logistic::{Logistic, log_ratio};
use crate::trace::Role;
use crate::{Evidence, float};

/// Rows that the forecast reads.
const ROWS: usize = 8;

/// The least relative change of the weights' norm that counts.
const LEAST_MOVED: f64 = 1e-6;

/// The probability that a run diverges, from its first rows alone.
///
/// A logistic model of four dimensionless features:
/// `1 / (1 + exp(-(bias + sum weight * feature)))`. Three features say how much larger loss and
/// gradient norm became. The fourth says how far one step moves the weights: the largest change of
/// their norm, over that norm. In a log without `weight_norm` at each step it is the learning rate
/// times the squared gradient norm over the loss, which holds for SGD only.
///
/// The model was fitted to the tuning part of the zoo, runs of 160 steps without a fault; its
/// accuracy on other runs is in `benches/runs`. For a much longer run it describes the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DivergenceForecast {
    /// Between 0 and 1.
    #[serde(with = "float")]
    pub probability: f64,
    /// The features, in logarithms.
    pub features: Vec<Evidence>,
}

const LARGEST_LOSS: &str = "ln largest loss over the first";
const LAST_LOSS: &str = "ln last loss over the first";
const LARGEST_NORM: &str = "ln largest gradient norm over the first";

/// The `forecast` example of `steadygrad-lab` fits these weights and prints them.
const WITH_WEIGHTS: Logistic<4> = Logistic {
    names: [
        LARGEST_LOSS,
        LAST_LOSS,
        LARGEST_NORM,
        "ln largest change of the weights' norm over it",
    ],
    bias: -0.4495,
    weights: [0.6555, 0.1337, 0.3117, 0.4779],
};
const WITHOUT: Logistic<4> = Logistic {
    names: [
        LARGEST_LOSS,
        LAST_LOSS,
        LARGEST_NORM,
        "ln learning rate * norm^2 over the loss",
    ],
    bias: -2.8555,
    weights: [0.8625, 0.4168, 0.6428, 0.2065],
};

impl DivergenceForecast {
    /// Steps of the runs that the model was fitted to.
    pub const BUDGET: u64 = 160;

    /// Forecasts from the first eight rows.
    ///
    /// `None` if there are fewer rows, if the first loss or gradient norm is not positive, or if
    /// the log has neither weight norms at each step nor a learning rate. A NaN or infinite value
    /// counts as the largest there is.
    pub fn of(history: &History<'_>) -> Option<Self> {
        let [loss, last, norm] = growth(history)?;
        let moved = moved(history).map(|moved| (moved, WITH_WEIGHTS));
        let (fourth, model) = moved.or_else(|| Some((drive(history)?, WITHOUT)))?;
        let features = [loss, last, norm, fourth];
        Some(Self {
            probability: model.probability(&features),
            features: model.named(features),
        })
    }
}

/// Loss and gradient norm over their first values, in logarithms.
fn growth(history: &History<'_>) -> Option<[f64; 3]> {
    let rows = history.rows().get(..ROWS)?;
    let losses: Vec<f64> = rows.iter().filter_map(|row| row.loss).collect();
    let norms: Vec<f64> = rows.iter().filter_map(|row| row.grad_norm).collect();
    let (first_loss, first_norm) = (*losses.first()?, *norms.first()?);
    if !(first_loss > 0.0 && first_norm > 0.0) {
        return None;
    }
    Some([
        log_ratio(worst(losses.iter().copied()) / first_loss),
        log_ratio(losses.last()? / first_loss),
        log_ratio(worst(norms.into_iter()) / first_norm),
    ])
}

/// The largest value; infinite if one is not finite.
fn worst(mut values: impl Iterator<Item = f64>) -> f64 {
    let larger = |largest: f64, value: f64| value.is_finite().then(|| largest.max(value));
    values.try_fold(f64::MIN, larger).unwrap_or(f64::INFINITY)
}

/// The largest change of the weights' norm from one step to the next, over the first norm. `None`
/// if it was not logged at each step. By the triangle inequality an update is at least this large.
fn moved(history: &History<'_>) -> Option<f64> {
    let series = history.trace().series(&Role::WeightNorm)?;
    let (steps, norms) = (series.steps().get(..ROWS)?, series.values().get(..ROWS)?);
    let rows = history.rows().iter().map(|row| row.step);
    // Between rows further apart, several steps change the norm.
    let each = steps.iter().copied().eq(rows.take(ROWS)) && steps.is_sorted_by(|a, b| a + 1 == *b);
    let (first, rest) = norms.split_first().filter(|_| each)?;
    let changes = norms.iter().zip(rest).map(|(a, b)| (b - a).abs());
    (*first > 0.0).then(|| log_ratio(LEAST_MOVED + worst(changes) / first))
}

/// How much a step of SGD lowers a linear loss, over the loss.
fn drive(history: &History<'_>) -> Option<f64> {
    let rows = history.rows().get(..ROWS)?;
    let loss = rows.iter().find_map(|row| row.loss)?;
    let norm = rows.iter().find_map(|row| row.grad_norm)?;
    let rate = rows.iter().find_map(|row| row.learning_rate())?;
    (rate > 0.0).then(|| log_ratio(rate * norm * norm / loss))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Sketch, diverging, healthy};
    use super::*;
    use crate::trace::Trace;

    fn of(trace: &Trace) -> Option<f64> {
        DivergenceForecast::of(&History::of(trace)).map(|forecast| forecast.probability)
    }

    #[test]
    fn growth_from_the_start_is_likely_to_go_on() {
        let calm = of(&healthy()).unwrap();
        // Later rows do not count.
        assert_eq!(of(&diverging().trace()), Some(calm));
        let growing = |rate: f64| {
            let grown = move |row: usize, value: f64| value * rate.powi(row as i32);
            of(&Sketch::healthy(50).loss(0, grown).norm(0, grown).trace()).unwrap()
        };
        assert!(
            calm < 0.1 && growing(1.1) > calm && growing(3.0) > 0.99,
            "{calm}"
        );
        let broken = of(&Sketch::healthy(50).loss(5, |_, _| f64::NAN).trace()).unwrap();
        assert!(broken > 0.99);
    }

    #[test]
    fn weights_that_move_far_are_likely_to_move_on() {
        let moving = |share: f64| {
            let norm = move |row: usize| 10.0 * (1.0 + share * (row % 2) as f64);
            of(&Sketch::healthy(50)
                .rate(0, |_, _| f64::NAN)
                .with(Role::WeightNorm, norm)
                .trace())
        };
        // The weights are enough: the log has no learning rate.
        let all: Vec<f64> = [0.0, 1e-3, 0.1, 10.0, 1e5]
            .map(|share| moving(share).unwrap())
            .into();
        assert!(all.is_sorted() && all[0] < 0.01 && all[4] > 0.9, "{all:?}");
        let lost = Sketch::healthy(50).with(Role::WeightNorm, |row| match row {
            0..4 => 10.0,
            _ => f64::INFINITY,
        });
        assert!(of(&lost.trace()) > moving(10.0));
        // Weight norms that are not positive count as none.
        let seldom = Sketch::healthy(50).with(Role::WeightNorm, |_| 0.0);
        assert_eq!(of(&seldom.trace()), of(&healthy()));
    }

    #[test]
    fn without_a_start_there_is_none() {
        assert_eq!(of(&Trace::default()), None);
        assert_eq!(of(&Sketch::healthy(7).trace()), None);
        assert_eq!(
            of(&Sketch::healthy(50).loss(0, |_, loss| -loss).trace()),
            None
        );
        assert_eq!(of(&Sketch::healthy(50).norm(0, |_, _| 0.0).trace()), None);
        assert_eq!(
            of(&Sketch::healthy(50).rate(0, |_, _| f64::NAN).trace()),
            None
        );
    }
}
