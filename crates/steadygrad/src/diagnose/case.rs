use crate::detect::Detection;
use crate::measurements::{Measurements, TrainingSetup};

/// A model as the rules see it: what was measured before training and, after a trial, what the
/// detectors saw in it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ModelCase<'a> {
    /// Measured at initialisation.
    pub measurements: &'a Measurements,
    /// How the run is set up.
    pub setup: &'a TrainingSetup,
    /// The first detection of each detector in a trial; `None` before there was a trial.
    pub detections: Option<&'a [Detection]>,
}

impl<'a> ModelCase<'a> {
    /// Describes a model before its first step.
    pub fn new(measurements: &'a Measurements, setup: &'a TrainingSetup) -> Self {
        Self {
            measurements,
            setup,
            detections: None,
        }
    }

    /// Adds what the detectors saw in a trial of the model.
    pub fn with_detections(self, detections: &'a [Detection]) -> Self {
        Self {
            detections: Some(detections),
            ..self
        }
    }
}
