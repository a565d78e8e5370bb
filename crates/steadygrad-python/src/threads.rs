//! The threads that do the work, kept from call to call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use steadygrad::Workers;

/// From this many values on, other Python threads may run meanwhile. Below, the work is done (in
/// some 50 us) before another thread would have woken up.
const WORTH_DETACHING: usize = 1 << 18;

/// So many values are worth a thread more. PyTorch's own threads spin for a while after each of its
/// operations: a helper then has to wait for a core that is busy with nothing, longer than reading
/// these takes.
const PER_THREAD: usize = 1 << 22;

/// One [`Workers`] for each number of threads that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Threads(Mutex<(u32, HashMap<usize, Arc<Workers>>)>);

impl Threads {
    /// Does the work on so many threads at most.
    pub(crate) fn run<T: Send>(
        &self,
        py: Python<'_>,
        threads: usize,
        values: usize,
        work: impl FnOnce(&Workers) -> T + Send,
    ) -> PyResult<T> {
        let workers = self.get(threads.min((values / PER_THREAD).max(1)))?;
        Ok(if values < WORTH_DETACHING {
            work(&workers)
        } else {
            py.detach(|| work(&workers))
        })
    }

    fn get(&self, threads: usize) -> PyResult<Arc<Workers>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if kept.0 != process {
            // A forked process has its parent's pools, but none of their threads.
            std::mem::forget(std::mem::replace(&mut *kept, (process, HashMap::new())));
        }
        if let Some(workers) = kept.1.get(&threads) {
            return Ok(workers.clone());
        }
        let workers = Workers::new(threads);
        let workers =
            Arc::new(workers.map_err(|error| PyRuntimeError::new_err(error.to_string()))?);
        kept.1.insert(threads, workers.clone());
        Ok(workers)
    }
}
