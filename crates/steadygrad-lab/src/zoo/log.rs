use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::trace::{Cadence, Role, Series};

use crate::unguarded::LoggedStep;

/// The rows that a logger keeps of a run.
#[derive(Default)]
pub(super) struct Log {
    names: Vec<String>,
    steps: Vec<u64>,
    columns: [Vec<f64>; 4],
    norms: Vec<Vec<f64>>,
    /// Root mean square of each parameter's gradient, by step.
    pub(super) rms: Vec<Vec<f64>>,
}

impl Log {
    pub(super) fn push(&mut self, step: LoggedStep<'_>) {
        let tensors = &step.gradients.tensors;
        if self.names.is_empty() {
            self.names = tensors.iter().map(|tensor| tensor.name.clone()).collect();
            self.norms = vec![Vec::new(); tensors.len()];
        }
        self.steps.push(step.step);
        let row = [
            step.loss,
            step.gradients.global_norm(),
            step.learning_rate,
            step.weight_norm,
        ];
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        for (norms, tensor) in self.norms.iter_mut().zip(tensors) {
            norms.push(tensor.stats.tensor_norm);
        }
        let rms = tensors
            .iter()
            .map(|tensor| tensor.stats.tensor_norm / (tensor.stats.len as f64).sqrt());
        self.rms.push(rms.collect());
    }

    /// The log as the trace of a framework's log file.
    pub(super) fn trace(self, name: String) -> Trace {
        let steps: Arc<[u64]> = self.steps.into();
        let roles = [
            Role::Loss,
            Role::GradNorm,
            Role::LearningRate,
            Role::WeightNorm,
        ];
        let parameters = self.names.into_iter().map(Role::ParameterGradNorm);
        let columns = roles
            .into_iter()
            .chain(parameters)
            .zip(self.columns.into_iter().chain(self.norms));
        Trace {
            name,
            format: "zoo".into(),
            series: columns
                .filter_map(|(role, values)| {
                    let column = role.column();
                    Series::new(role, column, steps.clone(), values).ok()
                })
                .collect(),
            cadence: Cadence::Step,
            ..Trace::default()
        }
    }
}
