//! Training runs of many kinds, each with what really became of it: what rules and detectors are
//! judged on.
//!
//! The list of runs is fixed. It is split once, by configuration, into a part on which thresholds may
//! be chosen and one that none ever sees. Once a held-out part has shown what is wrong, and that is mended, only
//! runs that are drawn afresh ([`fresh`]) can say how much better it is.

mod configuration;
mod outcome;
mod peers;

pub use configuration::{Architecture, Configuration, Part, configurations, fresh};
pub use outcome::Became;
pub use peers::{PEERS, Peer};

use burn::module::Module;
use burn::tensor::Device;
use steadygrad::Trace;
use steadygrad::probe::Risk;
use steadygrad::trace::{Role, Series};

use crate::build::build;
use crate::faults::{FaultError, Faults, Watched, train_watched};
use crate::measure::measure;
use crate::subjects::DigitsNet;
use crate::{Plan, Subject, SubjectVisitor};

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// How it was set up.
    pub configuration: Configuration,
    /// What became of it.
    pub became: Became,
    /// The first step with a value that is not finite.
    pub first_non_finite: Option<u64>,
    /// Validation metric of the last model; NaN when its predictions are not finite.
    pub validation_metric: f64,
    /// Its log, as a framework would have written it.
    pub trace: Trace,
    /// Root mean square of each parameter's gradient, by step: what a peer's rule looks at.
    pub gradient_rms: Vec<Vec<f64>>,
}

/// Trains one configuration with nobody who acts.
///
/// # Errors
/// [`FaultError`], for none of [`configurations`].
pub fn run(configuration: &Configuration, device: &Device) -> Result<Run, FaultError> {
    configuration.visit(device, Training(configuration, device))
}

/// What `steadygrad probe` would say of it before training: `None` where it can tell no risk.
pub fn risk(configuration: &Configuration, device: &Device) -> Option<Risk> {
    configuration.visit(device, Probing(configuration, device))
}

struct Training<'a>(&'a Configuration, &'a Device);

impl SubjectVisitor for Training<'_> {
    type Output = Result<Run, FaultError>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        of(self.0, subject, &self.0.plan(), self.1)
    }
}

struct Probing<'a>(&'a Configuration, &'a Device);

impl SubjectVisitor for Probing<'_> {
    type Output = Option<Risk>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        let plan = self.0.plan();
        let setup = plan.setup(&subject.summary());
        let measurements = measure(subject, &plan, self.1);
        let (model, _) = build(subject, &plan, &plan.remedies, self.1);
        Risk::of(&measurements, &setup, model.num_params())
    }
}

impl Configuration {
    fn visit<V: SubjectVisitor>(&self, device: &Device, visitor: V) -> V::Output {
        match self.architecture {
            Architecture::Mlp { .. } | Architecture::NormalizedMlp { .. } => {
                visitor.visit(&self.mlp(device))
            }
            Architecture::Cnn { .. } => visitor.visit(&self.cnn(device)),
            Architecture::Rnn { .. } => visitor.visit(&self.rnn()),
            Architecture::Net { kind, depth, gain } => visitor.visit(&DigitsNet::new(
                kind,
                depth,
                32,
                gain as f32,
                device.clone(),
            )),
        }
    }
}

fn of<S: Subject>(
    configuration: &Configuration,
    subject: &S,
    plan: &Plan,
    device: &Device,
) -> Result<Run, FaultError> {
    let faults = Faults::new(configuration.fault.clone().into_iter().collect(), plan.seed)?;
    let mut log = Log::default();
    let unguarded = train_watched(subject, plan, &faults, device, &mut |step| log.push(step))?;
    let chance = subject.summary().goal.trivial;
    Ok(Run {
        configuration: configuration.clone(),
        became: Became::of(&unguarded, chance),
        first_non_finite: unguarded.first_non_finite,
        validation_metric: unguarded.validation_metric,
        gradient_rms: std::mem::take(&mut log.rms),
        trace: log.trace(configuration.name()),
    })
}

/// What a logger keeps.
#[derive(Default)]
struct Log {
    names: Vec<String>,
    steps: Vec<u64>,
    columns: [Vec<f64>; 4],
    norms: Vec<Vec<f64>>,
    rms: Vec<Vec<f64>>,
}

impl Log {
    fn push(&mut self, step: Watched<'_>) {
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

    fn trace(self, name: String) -> Trace {
        let steps: std::sync::Arc<[u64]> = self.steps.into();
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
            ..Trace::default()
        }
    }
}
