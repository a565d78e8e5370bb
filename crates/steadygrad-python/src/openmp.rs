//! The threads of the OpenMP runtime that PyTorch computes with.
#![allow(
    unsafe_code,
    reason = "the runtime's entry point is looked up in the process"
)]

use std::any::Any;
use std::ffi::{c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

/// `GOMP_parallel` of GNU's runtime, which other runtimes offer as well. It calls a function with a
/// pointer on `threads` threads, the calling one included, and returns when all have returned.
type Parallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// The argument of every thread.
struct Region<'a> {
    work: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

extern "C" fn enter(region: *mut c_void) {
    // SAFETY: `on_all` passes its `Region`, which outlives the call, and of which all parts may be
    // shared between threads.
    let region = unsafe { &*region.cast::<Region<'_>>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(region.work)) {
        *region.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
    }
}

/// The OpenMP runtime of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenMp(Parallel);

impl OpenMp {
    /// The runtime whose functions the whole process sees, as PyTorch's on Linux. PyTorch's own
    /// calls are bound to the same one, also if it was preloaded.
    pub(crate) fn of_process() -> Option<Self> {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: the name ends with a zero byte.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"GOMP_parallel".as_ptr()) };
            // SAFETY: it is not null, and has this type by the runtime's binary interface.
            (!found.is_null())
                .then(|| Self(unsafe { std::mem::transmute::<*mut c_void, Parallel>(found) }))
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Calls `work` on `threads` threads at once, the calling one included.
    pub(crate) fn on_all(self, threads: usize, work: &(dyn Fn() + Sync)) {
        let region = Region {
            work,
            panic: Mutex::new(None),
        };
        let threads = c_uint::try_from(threads).unwrap_or(c_uint::MAX);
        // SAFETY: `enter` takes such a pointer and does not unwind; the runtime returns when every
        // call has, so that the region outlives them.
        unsafe { (self.0)(enter, (&raw const region).cast_mut().cast(), threads, 0) };
        let panic = region.panic.into_inner();
        if let Some(panic) = panic.unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}
