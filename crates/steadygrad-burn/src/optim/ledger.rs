//! What optimizers measure of their own steps, for whoever let them step.

use std::cell::RefCell;

use steadygrad::update::StepNorms;

use crate::host::HostTensor;
use crate::walk::PARAMETERS;

/// The weights after a step, and their norms. As long as an entry is kept, nobody can write into the
/// weights: another tensor shares them.
pub(crate) type Entry = (HostTensor, StepNorms);

thread_local! {
    /// Burn hands an optimizer tensors, and nothing else back and forth; a step and who asked for it
    /// are on one thread.
    static LEDGER: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
}

/// Whether somebody wants steps measured.
pub(super) fn is_open() -> bool {
    LEDGER.with_borrow(Option::is_some)
}

/// Enters a measured step. Without anybody who wants it, nothing.
pub(super) fn enter(weights: HostTensor, norms: StepNorms) {
    LEDGER.with_borrow_mut(|ledger| {
        if let Some(entries) = ledger {
            entries.push((weights, norms));
        }
    });
}

/// Does the work, and hands over what the optimizers in it measured.
pub(crate) fn during<T>(work: impl FnOnce() -> T) -> (T, Vec<Entry>) {
    struct Close;
    impl Drop for Close {
        fn drop(&mut self) {
            LEDGER.set(None);
        }
    }
    LEDGER.set(Some(Vec::with_capacity(PARAMETERS)));
    // Also when the work panics.
    let _close = Close;
    let done = work();
    (done, LEDGER.take().unwrap_or_default())
}
