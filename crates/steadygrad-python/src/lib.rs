//! `steadygrad._native`: what `python/steadygrad` calls. Conversions, and nothing else.

mod clipper;
mod command;
mod cure;
mod device_reading;
mod dlpack;
mod extras;
mod gradients;
mod guard;
mod memory;
mod openmp;
mod probe;
mod reader;
mod stats;
mod stats_row;
mod threads;

/// Compiled parts of the package; see its `.pyi` for the signatures.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::{
        clipper::Clipper,
        command::command,
        cure::{Cure, CureReport, Outcome, Trial},
        device_reading::DeviceReading,
        gradients::{Gradients, clamp, norms},
        guard::{FolderLock, Guard, Judgement, Quiet},
        probe::ProbeReport,
        reader::Reader,
        stats::{GradientStats, TensorStats},
    };

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    const BASELINE: &str = steadygrad::cure::BASELINE;
}
