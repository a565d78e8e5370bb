use std::path::PathBuf;

use steadygrad_burn::RestoreError;
use steadygrad_record::RecordError;

use crate::TrainError;

/// Why an incident cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no dump with this number.
    #[error(
        "`{}` has no incident {number}; {}",
        run.display(),
        offered(there)
    )]
    NoIncident {
        /// The run directory.
        run: PathBuf,
        /// The number.
        number: u32,
        /// The numbers of the dumps in the run directory.
        there: Vec<u32>,
    },
    /// The dump has no incident.
    #[error(
        "dump {number} has no incident: it was not written by `steadygrad train`; give the number \
         of another one"
    )]
    Empty {
        /// The number of the dump.
        number: u32,
    },
    /// The dump cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The dump's snapshot does not fit the study.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The steps cannot be repeated.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The run's faults cannot be repeated.
    #[error("the subject `{subject}` cannot distort its data as the run's faults did")]
    CannotDistort {
        /// The subject's name.
        subject: String,
    },
    /// The subject computes in f32 only.
    #[error(
        "the subject `{subject}` cannot compute in f64 (RMSNorm is f32 only); leave `--in f64` out"
    )]
    NoF64 {
        /// The subject's name.
        subject: String,
    },
}

fn offered(there: &[u32]) -> String {
    match there {
        [] => "it has none: the guard did not act, or only clipped".into(),
        there => {
            let numbers: Vec<String> = there.iter().map(u32::to_string).collect();
            format!("it has {}", numbers.join(", "))
        }
    }
}
