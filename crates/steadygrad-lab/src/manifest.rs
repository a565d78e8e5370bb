use steadygrad_burn::for_each_parameter;
use steadygrad_record::{FORMAT, Manifest, RunStatus};

use crate::{Plan, Subject};

/// The manifest of a run that begins.
pub(crate) fn manifest<S: Subject>(
    subject: &S,
    plan: &Plan,
    name: &str,
    model: &S::Model,
) -> Manifest {
    let mut parameters = Vec::new();
    for_each_parameter(model, |parameter, _| parameters.push(parameter.name));
    Manifest {
        format: FORMAT,
        name: name.to_owned(),
        subject: subject.summary().name,
        seed: plan.seed,
        steps: plan.steps,
        parameters,
        status: RunStatus::Running,
    }
}
