use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The shell's exit code for a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Watches for Ctrl-C. The first one sets the flag that is returned; a second one ends the program
/// at once, and what was recorded stays.
pub(crate) fn cancel_on_ctrl_c() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })?;
    Ok(cancelled)
}
