use burn::tensor::{Gradients, Tensor};

use super::tap::tap;
use crate::flat::values;

/// An operation of the forward pass: its output, and the gradient of that output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    pub(crate) layer: String,
    pub(crate) name: &'static str,
    pub(crate) output: PerSample,
    /// `None` if the loss does not depend on the output.
    pub(crate) gradient: Option<PerSample>,
}

/// Facts about a tensor for a replay, one entry a sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PerSample {
    /// Largest magnitude of the finite values.
    pub(crate) max_abs: Vec<f64>,
    /// Number of non-finite values.
    pub(crate) non_finite: Vec<u64>,
}

impl PerSample {
    pub(crate) fn of(values: &[f64], samples: usize) -> Self {
        let mut all = Self::default();
        for sample in values.chunks(values.len().div_ceil(samples.max(1)).max(1)) {
            let finite = sample.iter().filter(|value| value.is_finite());
            all.max_abs
                .push(finite.fold(0.0, |max, value| value.abs().max(max)));
            let broken = sample.iter().filter(|value| !value.is_finite()).count();
            all.non_finite.push(broken as u64);
        }
        all
    }

    /// Number of non-finite values of all samples.
    pub(crate) fn broken(&self) -> u64 {
        self.non_finite.iter().sum()
    }

    /// Largest magnitude of all samples.
    pub(crate) fn largest(&self) -> f64 {
        self.max_abs.iter().copied().fold(0.0, f64::max)
    }
}

type ReadGradient = Box<dyn Fn(&Gradients) -> Option<Vec<f64>>>;

/// An operation whose gradient is not yet known.
pub(super) struct PendingOperation {
    pub(super) operation: Operation,
    samples: usize,
    read: ReadGradient,
}

/// Records an output, and returns it with a tap for its gradient.
pub(super) fn watch<const D: usize>(
    layer: String,
    name: &'static str,
    output: Tensor<D>,
) -> (PendingOperation, Tensor<D>) {
    let samples = output.dims().first().copied().unwrap_or(1);
    let tap = tap(&output);
    let pending = PendingOperation {
        operation: Operation {
            layer,
            name,
            output: PerSample::of(&values(output.clone().inner()), samples),
            gradient: None,
        },
        samples,
        read: Box::new({
            let tap = tap.clone();
            move |gradients| tap.grad(gradients).map(values)
        }),
    };
    (pending, output + tap)
}

impl PendingOperation {
    pub(super) fn read(&mut self, gradients: &Gradients) {
        let read = (self.read)(gradients);
        self.operation.gradient = read.map(|values| PerSample::of(&values, self.samples));
    }
}
