//! The lab: models and tasks on Burn, and the runner that tries remedies on them.
//!
//! Implement [`Subject`] for your own model and hand it to [`cure`]. The lab measures it, runs the
//! remedies and verifies the best one on new seeds. [`probe`] predicts before training, and
//! [`train`] trains under a guard.

mod batches;
mod build;
mod butterfly;
mod cure;
pub mod data;
pub mod faults;
mod flat;
mod free_memory;
mod manifest;
mod margin;
mod measure;
pub mod models;
mod nearest;
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
mod unguarded;
mod visitor;
mod weight_matrices;
mod zoo;

pub use butterfly::{Twins, butterfly};
pub use cure::{Job, cure};
pub use measure::measure;
pub use optimizer::Optimizer;
pub use plan::Plan;
pub use probe::{ProbeOptions, probe};
pub use progress::{Control, Progress, Silent, StepProgress};
pub use replay::{
    Continuation, Counterfactual, Culprit, Difference, InF64, Origin, ReplayError, ReplayOptions,
    ReplayReport, Stage, replay,
};
pub use schedule::{Decay, Schedule};
pub use sharpness::{SharpnessBudget, sharpness, sharpness_within};
pub use study::{LoadedSubject, Study, StudyError, Work};
pub use subject::{Structure, Subject, Summary};
pub use tape::Tape;
pub use train::{Rollback, TrainEnd, TrainError, TrainOptions, TrainOutcome, Unusable, train};
pub use visitor::SubjectVisitor;

/// The random generators that [`Subject::build`] takes: the trait of `rand` 0.10.
pub use rand::Rng;

/// Parts that the project's own tests and experiments use. They may change in any release.
#[doc(hidden)]
pub mod unstable {
    pub use crate::trial::{TrialSpec, run_trial};
    pub use crate::unguarded::{LoggedStep, UnguardedRun, train_unguarded, train_unguarded_logged};

    /// Labelled runs of many kinds.
    pub mod zoo {
        pub use crate::zoo::*;
    }
}
