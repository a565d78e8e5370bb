//! The lab: models and tasks on Burn, and the runner that tries remedies on them.
//!
//! Implement [`Subject`] for a model of your own and hand it to [`cure`]: everything else, from
//! measuring to verifying the winner on fresh seeds, is done here.

mod batches;
mod build;
mod butterfly;
mod cure;
pub mod data;
pub mod faults;
mod flat;
mod manifest;
mod margin;
mod measure;
pub mod models;
mod optimizer;
mod plan;
mod probe;
mod progress;
mod random;
mod remedies;
mod replay;
mod schedule;
mod sharpness;
mod spectrum;
pub mod study;
mod subject;
pub mod subjects;
mod subnormal;
mod tape;
mod train;
mod trial;
mod visitor;
mod weight_matrices;
pub mod zoo;

pub use butterfly::{Twins, butterfly};
pub use cure::{Job, cure};
pub use measure::measure;
pub use optimizer::Optimizer;
pub use plan::Plan;
pub use probe::{ProbeOptions, probe};
pub use progress::{Control, Progress, Silent, StepProgress};
pub use replay::{
    After, Counterfactual, Culprit, Difference, FaultOf, InF64, ReplayError, ReplayOptions,
    Replayed, Stage, replay,
};
pub use schedule::{Decay, Schedule};
pub use sharpness::{SharpnessBudget, sharpness, sharpness_within};
pub use study::{LoadedSubject, Study, StudyError};

pub use subject::{Structure, Subject, Summary};
pub use tape::Tape;
pub use train::{Rollback, TrainEnd, TrainError, TrainOptions, Trained, train};
pub use trial::{TrialSpec, run_trial};
pub use visitor::SubjectVisitor;

/// The random generators that [`Subject::build`] takes: the trait of `rand` 0.10.
pub use rand::Rng;
