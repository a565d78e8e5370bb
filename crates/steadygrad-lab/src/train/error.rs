use steadygrad::guard::GuardConfigError;
use steadygrad_burn::RestoreError;
use steadygrad_record::{RecordError, SnapshotError};

use crate::faults::FaultError;

/// Why a run could not be started, gone on with or recorded. A training that fails is no error.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The run directory.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A snapshot could not be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A snapshot does not fit.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The faults.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The guard's settings.
    #[error(transparent)]
    Guard(#[from] GuardConfigError),
    /// The run to go on with is another one.
    #[error(
        "the run in the folder has {field} {found}, the study {expected}; resume it with the study that it was started with"
    )]
    OtherRun {
        /// What differs.
        field: &'static str,
        /// In the run directory.
        found: String,
        /// In the study.
        expected: String,
    },
    /// There is nothing to resume in.
    #[error("a run is resumed in its folder; name the folder")]
    NoFolder,
}
