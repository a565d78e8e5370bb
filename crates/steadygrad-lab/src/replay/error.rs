use std::path::PathBuf;

use steadygrad_burn::RestoreError;
use steadygrad_record::RecordError;

use crate::TrainError;

/// Why an incident cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no dump of this number.
    #[error(
        "`{}` has no incident {number}; {}",
        run.display(),
        offered(there)
    )]
    NoIncident {
        /// The run directory.
        run: PathBuf,
        /// What was asked for.
        number: u32,
        /// What is there.
        there: Vec<u32>,
    },
    /// The dump names no incident.
    #[error("incident {number} names nothing that fired; it was not written by `steadygrad train`")]
    Empty {
        /// Its number.
        number: u32,
    },
    /// The dump cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its snapshot does not fit the study.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The steps cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The subject's faults cannot be put in again.
    #[error("the subject `{subject}` cannot distort its data as the run's faults did")]
    CannotDistort {
        /// Its name.
        subject: String,
    },
    /// The subject computes in f32 only.
    #[error("the subject `{subject}` computes in f32 only (RMSNorm does); leave `--in f64` out")]
    NoF64 {
        /// Its name.
        subject: String,
    },
}

fn offered(there: &[u32]) -> String {
    match there {
        [] => "it has none: the guard has not acted, or only clipped".into(),
        there => {
            let numbers: Vec<String> = there.iter().map(u32::to_string).collect();
            format!("it has {}", numbers.join(", "))
        }
    }
}
