use burn::module::Module;
use burn::tensor::Device;
use steadygrad::Trace;
use steadygrad::probe::Risk;

use super::configuration::Configuration;
use super::final_state::FinalState;
use super::log::Log;
use crate::build::build;
use crate::faults::{FaultError, Faults};
use crate::measure::measure;
use crate::unguarded::{LoggedStep, train_unguarded_logged};
use crate::{Subject, SubjectVisitor};

/// A run of the zoo.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    /// How the run was set up.
    pub configuration: Configuration,
    /// How the run ended.
    pub final_state: FinalState,
    /// The first step with a non-finite value.
    pub first_non_finite: Option<u64>,
    /// Validation metric of the last model; NaN if its predictions are not finite.
    pub validation_metric: f64,
    /// The run's log, as a framework would have written it.
    pub trace: Trace,
    /// Root mean square of each parameter's gradient, by step. Some peers' rules need it.
    pub gradient_rms: Vec<Vec<f64>>,
}

/// Trains one configuration without a guard.
///
/// # Errors
/// [`FaultError`] if a fault would not act; this happens for none of
/// [`configurations`](super::configurations).
pub fn run(configuration: &Configuration, device: &Device) -> Result<Run, FaultError> {
    configuration.visit(device, Training(configuration, device))
}

/// The risk that `steadygrad probe` reports for a configuration before training, if it can.
pub fn risk(configuration: &Configuration, device: &Device) -> Option<Risk> {
    configuration.visit(device, Probing(configuration, device))
}

struct Training<'a>(&'a Configuration, &'a Device);

impl SubjectVisitor for Training<'_> {
    type Output = Result<Run, FaultError>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        let Training(configuration, device) = self;
        let plan = configuration.plan();
        let faults = Faults::new(configuration.fault.clone().into_iter().collect(), plan.seed)?;
        let mut log = Log::default();
        let mut push = |step: LoggedStep<'_>| log.push(step);
        let run = train_unguarded_logged(subject, &plan, &faults, device, &mut push)?;
        let chance = subject.summary().goal.trivial;
        Ok(Run {
            configuration: configuration.clone(),
            final_state: FinalState::of(&run, chance),
            first_non_finite: run.first_non_finite,
            validation_metric: run.validation_metric,
            gradient_rms: std::mem::take(&mut log.rms),
            trace: log.trace(configuration.name()),
        })
    }
}

struct Probing<'a>(&'a Configuration, &'a Device);

impl SubjectVisitor for Probing<'_> {
    type Output = Option<Risk>;

    fn visit<S: Subject>(self, subject: &S) -> Self::Output {
        let Probing(configuration, device) = self;
        let plan = configuration.plan();
        let setup = plan.setup(&subject.summary());
        let measurements = measure(subject, &plan, device);
        let (model, _) = build(subject, &plan, &plan.remedies, device);
        Risk::of(&measurements, &setup, model.num_params())
    }
}
