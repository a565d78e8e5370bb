use steadygrad::guard::GuardConfigError;
use steadygrad_burn::RestoreError;
use steadygrad_record::{RecordError, SnapshotError};

use crate::faults::FaultError;

/// Why a run could not be started, resumed or recorded. A training that fails is not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The run directory cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A snapshot cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A snapshot does not fit the model or the optimizer.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A fault would not act.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The guard has a setting out of range.
    #[error(transparent)]
    Guard(#[from] GuardConfigError),
    /// The folder holds a run of another study.
    #[error(
        "the run in the folder has {field} {found}, the study {expected}; resume it with the study \
         that it was started with"
    )]
    OtherRun {
        /// What differs.
        field: &'static str,
        /// The value in the run directory.
        found: String,
        /// The value in the study.
        expected: String,
    },
    /// A run is to be resumed without a run directory.
    #[error("cannot resume a run without its folder; give `run_dir`")]
    NoFolder,
}
