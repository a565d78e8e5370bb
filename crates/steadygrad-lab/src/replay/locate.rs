use burn::optim::GradientsParams;
use serde::{Deserialize, Serialize};

use super::values::{gradients as read, weights};
use crate::faults::Distortion;
use crate::tape::{Operation, PerSample};
use crate::{Subject, Tape};

/// A value counts as out of proportion if it is this many times the value that the step before had
/// at the same place. It is an order of magnitude, and only says where to look first.
const OUT_OF_PLACE: f64 = 10.0;

/// Part of a training step in which a value is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Before the step: its initial weights.
    Weights,
    /// The forward pass, with its input and the loss.
    Forward,
    /// The backward pass.
    Backward,
    /// Changes of the gradients after the backward pass.
    AfterBackward,
}

/// The first operation with bad values, in the order of the computation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Culprit {
    /// Part of the step.
    pub stage: Stage,
    /// The layer, time step or parameter.
    pub layer: String,
    /// The operation.
    pub operation: String,
    /// Number of non-finite values; 0 if the step is finite and this is its first outlier.
    pub non_finite: u64,
    /// Largest magnitude of the finite values.
    #[serde(with = "steadygrad::float")]
    pub largest: f64,
    /// Largest magnitude at this place in the step before; `None` if that step is not known.
    #[serde(with = "steadygrad::float::option")]
    pub usual: Option<f64>,
    /// Rows of the training data with bad values; empty if the values do not belong to samples.
    pub samples: Vec<u64>,
    /// Number of later places that have non-finite values too.
    pub passed_on: usize,
}

/// The values at one place of a step. Each step has the same places in the same order.
struct Place {
    stage: Stage,
    layer: String,
    operation: String,
    values: PerSample,
}

impl Place {
    fn new(stage: Stage, layer: &str, operation: impl Into<String>, values: PerSample) -> Self {
        Self {
            stage,
            layer: layer.to_owned(),
            operation: operation.into(),
            values,
        }
    }
}

/// One forward and backward pass, with the values at each place.
pub(super) struct Pass {
    pub(super) loss: f64,
    pub(super) grad_norm: f64,
    places: Vec<Place>,
    rows: Vec<u64>,
}

/// Runs a step on a tape of operations. `after` changes the gradients after the backward pass.
/// `None` if the subject cannot distort its data.
pub(super) fn pass<S: Subject>(
    subject: &S,
    model: &S::Model,
    rows: &[usize],
    distortion: &Distortion,
    after: impl FnOnce(GradientsParams) -> GradientsParams,
) -> Option<Pass> {
    let mut tape = Tape::of_operations();
    let loss = subject.distorted_loss(model, rows, distortion, &mut tape)?;
    let (loss, gradients) = tape.backward(loss, model);
    let operations = tape.into_operations();
    let mut places = Vec::new();
    for (name, values) in weights(model) {
        let values = PerSample::of(&values, 1);
        places.push(Place::new(Stage::Weights, &name, "weights", values));
    }
    for operation in &operations {
        let Operation {
            layer,
            name,
            output,
            ..
        } = operation;
        places.push(Place::new(Stage::Forward, layer, *name, output.clone()));
    }
    // The gradient at an operation's output comes from the next operation's backward pass.
    for pair in operations.windows(2).rev() {
        if let [before, after] = pair
            && let Some(gradient) = &before.gradient
        {
            let (layer, name) = (&after.layer, format!("{}, backward", after.name));
            places.push(Place::new(Stage::Backward, layer, name, gradient.clone()));
        }
    }
    for (name, values) in read(model, &gradients).into_iter().rev() {
        let values = PerSample::of(&values, 1);
        let operation = "gradient of the weights";
        places.push(Place::new(Stage::Backward, &name, operation, values));
    }
    let gradients = read(model, &after(gradients));
    let values = gradients.iter().flat_map(|(_, values)| values);
    let squares: f64 = values.map(|value| value * value).sum();
    for (name, values) in gradients.into_iter().rev() {
        let values = PerSample::of(&values, 1);
        let operation = "gradient after the backward pass";
        places.push(Place::new(Stage::AfterBackward, &name, operation, values));
    }
    Some(Pass {
        loss,
        grad_norm: squares.sqrt(),
        places,
        rows: rows.iter().map(|row| *row as u64).collect(),
    })
}

impl Pass {
    /// Whether the loss and all gradients are finite.
    pub(super) fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }

    /// The first place with a non-finite value. Without one, the first place whose values are out
    /// of proportion to those of `before`, a step on an ordinary batch.
    pub(super) fn culprit(&self, before: Option<&Pass>) -> Option<Culprit> {
        // A place that the step before does not have is not compared.
        let usual = |index: usize| {
            let same = before?.places.get(index)?;
            let here = &self.places[index];
            (same.layer == here.layer && same.operation == here.operation)
                .then(|| same.values.largest())
        };
        let broken: Vec<usize> = (0..self.places.len())
            .filter(|index| self.places[*index].values.broken() > 0)
            .collect();
        if let Some(&first) = broken.first() {
            let bad = |sample: usize| self.places[first].values.non_finite[sample] > 0;
            return Some(self.culprit_at(first, usual(first), bad, broken.len() - 1));
        }
        let first = (0..self.places.len()).find(|index| {
            usual(*index).is_some_and(|usual| {
                usual > 0.0 && self.places[*index].values.largest() >= OUT_OF_PLACE * usual
            })
        })?;
        let limit = usual(first).unwrap_or(f64::INFINITY) * OUT_OF_PLACE;
        let bad = |sample: usize| self.places[first].values.max_abs[sample] >= limit;
        Some(self.culprit_at(first, usual(first), bad, 0))
    }

    fn culprit_at(
        &self,
        index: usize,
        usual: Option<f64>,
        bad: impl Fn(usize) -> bool,
        passed_on: usize,
    ) -> Culprit {
        let Place {
            stage,
            layer,
            operation,
            values,
        } = &self.places[index];
        let samples = if values.max_abs.len() == self.rows.len() {
            let rows = self.rows.iter().enumerate();
            rows.filter(|(sample, _)| bad(*sample))
                .map(|(_, row)| *row)
                .collect()
        } else {
            Vec::new()
        };
        Culprit {
            stage: *stage,
            layer: layer.clone(),
            operation: operation.clone(),
            non_finite: values.broken(),
            largest: values.largest(),
            usual,
            samples,
            passed_on,
        }
    }
}
