//! Carries the norms that optimizers measure of their own steps to the code that called the step.

use std::cell::RefCell;

use steadygrad::update::StepNorms;

use crate::measure::{HostTensor, PARAMETERS};

/// The weights after a step, and their norms. An entry shares the memory of the weights, so nobody
/// can write into them while it is kept.
pub(crate) type Entry = (HostTensor, StepNorms);

thread_local! {
    /// `None` unless a step is being recorded. Burn passes tensors to an optimizer and nothing
    /// else, and a step runs on its caller's thread.
    static LEDGER: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
}

/// Whether the caller of the step wants it measured.
pub(super) fn is_open() -> bool {
    LEDGER.with_borrow(Option::is_some)
}

/// Adds the measurement of one parameter's step, if a step is being recorded.
pub(super) fn enter(weights: HostTensor, norms: StepNorms) {
    LEDGER.with_borrow_mut(|ledger| {
        if let Some(entries) = ledger {
            entries.push((weights, norms));
        }
    });
}

/// Does the work, and returns the entries that optimizers made meanwhile.
pub(crate) fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<Entry>) {
    struct Closer;
    impl Drop for Closer {
        fn drop(&mut self) {
            LEDGER.set(None);
        }
    }
    LEDGER.set(Some(Vec::with_capacity(PARAMETERS)));
    // Closes the ledger even if the work panics.
    let _closer = Closer;
    let result = work();
    (result, LEDGER.take().unwrap_or_default())
}
