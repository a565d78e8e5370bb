use burn::optim::GradientsParams;
use serde::{Deserialize, Serialize};

use super::values::{gradients as read, weights};
use crate::faults::Distortion;
use crate::tape::{Operation, PerSample};
use crate::{Subject, Tape};

/// A value counts as out of place when it is so many times what the step before had at the same
/// place: an order of magnitude. It decides nothing, it says where to look first.
const OUT_OF_PLACE: f64 = 10.0;

/// Where in a training step a value was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the step: the weights that it began with.
    Weights,
    /// The forward pass, its input and the loss included.
    Forward,
    /// The backward pass.
    Backward,
    /// What became of the gradients after the backward pass.
    AfterBackward,
}

/// The first operation, in the order of the computation, whose values went wrong. What comes after
/// it passes them on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    /// Where in the step.
    pub stage: Stage,
    /// Layer, time step or parameter.
    pub layer: String,
    /// What was computed there.
    pub operation: String,
    /// Values that are not finite; 0 when the step was finite and this is its first outlier.
    pub non_finite: u64,
    /// Largest magnitude among the finite ones.
    #[serde(with = "steadygrad::float")]
    pub largest: f64,
    /// The same at this place in the step before; `None` when there is none to compare with.
    #[serde(with = "steadygrad::float::option")]
    pub usual: Option<f64>,
    /// The rows of the training data whose values went wrong; empty where the batch has no part in it.
    pub samples: Vec<u64>,
    /// Places after it that had non-finite values as well.
    pub passed_on: usize,
}

/// Values of one place, of which a step has the same ones in the same order as another.
struct Seen {
    stage: Stage,
    layer: String,
    operation: String,
    values: PerSample,
}

impl Seen {
    fn new(stage: Stage, layer: &str, operation: impl Into<String>, values: PerSample) -> Self {
        Self {
            stage,
            layer: layer.to_owned(),
            operation: operation.into(),
            values,
        }
    }
}

/// One forward and backward pass, looked at place by place.
pub(super) struct Pass {
    pub(super) loss: f64,
    pub(super) grad_norm: f64,
    seen: Vec<Seen>,
    rows: Vec<u64>,
}

/// Runs a step on a tape of operations. `after` is what becomes of the gradients. `None` when the
/// subject cannot distort its data so.
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
    let mut seen = Vec::new();
    for (name, values) in weights(model) {
        let values = PerSample::of(&values, 1);
        seen.push(Seen::new(Stage::Weights, &name, "weights", values));
    }
    for operation in &operations {
        let Operation {
            layer,
            name,
            output,
            ..
        } = operation;
        seen.push(Seen::new(Stage::Forward, layer, *name, output.clone()));
    }
    // The gradient at an operation's output was made by the backward pass of the one after it.
    for pair in operations.windows(2).rev() {
        if let [before, after] = pair
            && let Some(gradient) = &before.gradient
        {
            let (layer, name) = (&after.layer, format!("{}, backward", after.name));
            seen.push(Seen::new(Stage::Backward, layer, name, gradient.clone()));
        }
    }
    for (name, values) in read(model, &gradients).into_iter().rev() {
        let values = PerSample::of(&values, 1);
        let operation = "gradient of the weights";
        seen.push(Seen::new(Stage::Backward, &name, operation, values));
    }
    let gradients = read(model, &after(gradients));
    let values = gradients.iter().flat_map(|(_, values)| values);
    let squares: f64 = values.map(|value| value * value).sum();
    for (name, values) in gradients.into_iter().rev() {
        let values = PerSample::of(&values, 1);
        let operation = "gradient after the backward pass";
        seen.push(Seen::new(Stage::AfterBackward, &name, operation, values));
    }
    Some(Pass {
        loss,
        grad_norm: squares.sqrt(),
        seen,
        rows: rows.iter().map(|row| *row as u64).collect(),
    })
}

impl Pass {
    /// Whether the loss and all gradients are finite.
    pub(super) fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }

    /// The first place with a non-finite value, or else the first whose values are out of
    /// proportion to those that `before`, a step on an ordinary batch, has there.
    pub(super) fn culprit(&self, before: Option<&Pass>) -> Option<Culprit> {
        // The same model has the same places; a place that is not there is not compared.
        let usual = |index: usize| {
            let same = before?.seen.get(index)?;
            let here = &self.seen[index];
            (same.layer == here.layer && same.operation == here.operation)
                .then(|| same.values.largest())
        };
        let broken: Vec<usize> = (0..self.seen.len())
            .filter(|index| self.seen[*index].values.broken() > 0)
            .collect();
        if let Some(&first) = broken.first() {
            let bad = |sample: usize| self.seen[first].values.non_finite[sample] > 0;
            return Some(self.told(first, usual(first), bad, broken.len() - 1));
        }
        let first = (0..self.seen.len()).find(|index| {
            usual(*index).is_some_and(|usual| {
                usual > 0.0 && self.seen[*index].values.largest() >= OUT_OF_PLACE * usual
            })
        })?;
        let limit = usual(first).unwrap_or(f64::INFINITY) * OUT_OF_PLACE;
        let bad = |sample: usize| self.seen[first].values.max_abs[sample] >= limit;
        Some(self.told(first, usual(first), bad, 0))
    }

    fn told(
        &self,
        index: usize,
        usual: Option<f64>,
        bad: impl Fn(usize) -> bool,
        passed_on: usize,
    ) -> Culprit {
        let Seen {
            stage,
            layer,
            operation,
            values,
        } = &self.seen[index];
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
