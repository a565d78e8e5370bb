//! The threads that read gradients, kept from call to call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use steadygrad::Workers;

use crate::openmp::OpenMp;

/// From this many values on, other Python threads may run meanwhile. Below, the work is done (in
/// some 50 us) before another thread would have woken up.
const WORTH_DETACHING: usize = 1 << 18;

/// One more thread of our own pays from this many values on. PyTorch's threads spin for a while
/// after each operation. A helper waits for such a core longer than reading fewer values takes.
const PER_THREAD: usize = 1 << 22;

/// PyTorch's threads where they are available, else some of our own.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Belongs to the process that looked it up; a fork has none of its threads. A fork that
    /// imports this first cannot notice that, and would hang in PyTorch's own operations as well.
    openmp: Option<OpenMp>,
    process: u32,
    /// One [`Workers`] for each number of threads, in one process.
    kept: Mutex<(u32, HashMap<usize, Arc<Workers>>)>,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            openmp: OpenMp::of_process(),
            process: std::process::id(),
            kept: Mutex::default(),
        }
    }
}

impl Threads {
    /// Does the work on at most `threads` threads.
    pub(crate) fn run<T: Send>(
        &self,
        py: Python<'_>,
        threads: usize,
        values: usize,
        work: impl FnOnce(&Workers) -> T + Send,
    ) -> PyResult<T> {
        let openmp = self.openmp.filter(|_| std::process::id() == self.process);
        // Another number than the one that PyTorch asks for would make the runtime end threads.
        let threads = match openmp {
            Some(_) => threads,
            None => threads.min((values / PER_THREAD).max(1)),
        };
        let workers = self.get(threads, openmp)?;
        Ok(if values < WORTH_DETACHING {
            work(&workers)
        } else {
            py.detach(|| work(&workers))
        })
    }

    fn get(&self, threads: usize, openmp: Option<OpenMp>) -> PyResult<Arc<Workers>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if kept.0 != process {
            // A forked process has its parent's pools, but none of their threads.
            std::mem::forget(std::mem::replace(&mut *kept, (process, HashMap::new())));
        }
        if let Some(workers) = kept.1.get(&threads) {
            return Ok(workers.clone());
        }
        let workers = match openmp {
            Some(openmp) => Workers::lent(threads, move |work| openmp.on_all(threads, work)),
            None => {
                Workers::new(threads).map_err(|error| PyRuntimeError::new_err(error.to_string()))?
            }
        };
        let workers = Arc::new(workers);
        kept.1.insert(threads, workers.clone());
        Ok(workers)
    }
}
