//! The memory of PyTorch's CPU tensors, in place: the only module with `unsafe` code.
//!
//! A [`View`] is made and used within one call from Python, while the tensor is referenced and no
//! Python code runs on this thread. What it relies on is what PyTorch's own operators rely on: no
//! other thread resizes, frees or writes the tensor meanwhile.
#![allow(unsafe_code, reason = "tensors are read and written where they lie")]

use std::ffi::{c_int, c_void};
use std::slice::{from_raw_parts, from_raw_parts_mut};

use half::{bf16, f16};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use steadygrad::stats::{Values, ValuesMut};

/// The types that are read natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F64,
    F16,
    Bf16,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Where a dense CPU tensor's values lie, in any order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    address: usize,
    len: usize,
    kind: Kind,
}

impl View {
    /// # Safety
    /// `len` values of this kind lie at `address`, and stay there for as long as the view's values
    /// are used.
    pub(crate) unsafe fn new(address: usize, len: usize, kind: Kind) -> Option<Self> {
        let usable = len == 0 || (address != 0 && address.is_multiple_of(kind.size()));
        usable.then_some(Self { address, len, kind })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn values(&self) -> Values<'_> {
        if self.len == 0 {
            return Values::F32(&[]);
        }
        let data = self.address as *const c_void;
        // SAFETY: `new`'s caller vouches for the memory; it is not null and aligned. Values are
        // only read while no view of it is written: `write_each` takes the views exclusively.
        unsafe {
            match self.kind {
                Kind::F32 => Values::F32(from_raw_parts(data.cast(), self.len)),
                Kind::F64 => Values::F64(from_raw_parts(data.cast(), self.len)),
                Kind::F16 => Values::F16(from_raw_parts(data.cast::<f16>(), self.len)),
                Kind::Bf16 => Values::Bf16(from_raw_parts(data.cast::<bf16>(), self.len)),
            }
        }
    }

    /// # Safety
    /// No other slice of this memory is alive.
    unsafe fn values_mut<'a>(&self) -> ValuesMut<'a> {
        if self.len == 0 {
            return ValuesMut::F32(&mut []);
        }
        let data = self.address as *mut c_void;
        // SAFETY: as for `values`; that it is the only slice is the caller's word.
        unsafe {
            match self.kind {
                Kind::F32 => ValuesMut::F32(from_raw_parts_mut(data.cast(), self.len)),
                Kind::F64 => ValuesMut::F64(from_raw_parts_mut(data.cast(), self.len)),
                Kind::F16 => ValuesMut::F16(from_raw_parts_mut(data.cast::<f16>(), self.len)),
                Kind::Bf16 => ValuesMut::Bf16(from_raw_parts_mut(data.cast::<bf16>(), self.len)),
            }
        }
    }
}

/// Hands all views over to be written, once each, in rounds that share no memory: tensors that
/// overlap (two parameters with one gradient) come in different rounds, so that a value that two of
/// them hold is changed twice, as by PyTorch's operators.
pub(crate) fn write_each(mut views: Vec<View>, mut write: impl FnMut(Vec<ValuesMut<'_>>)) {
    views.sort_by_key(|view| view.address);
    while !views.is_empty() {
        let (mut round, mut later, mut end) = (Vec::with_capacity(views.len()), Vec::new(), 0);
        for view in views {
            if view.address < end && view.len > 0 {
                later.push(view);
                continue;
            }
            end = end.max(view.address + view.len * view.kind.size());
            // SAFETY: each slice of this round begins where the ones before it have ended, and
            // the slices of the last round are gone.
            round.push(unsafe { view.values_mut() });
        }
        write(round);
        views = later;
    }
}

/// DLPack's `DLTensor`.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

const CPU: i32 = 1;
const FLOAT: u8 = 2;
const BFLOAT: u8 = 4;

type DlTensorFromPyObject = unsafe extern "C" fn(*mut c_void, *mut DlTensor) -> c_int;

/// DLPack's `DLPackExchangeAPI`, of major version 1.
#[repr(C)]
struct ExchangeTable {
    major: u32,
    minor: u32,
    previous: *const c_void,
    allocate: *const c_void,
    managed_from_object: *const c_void,
    object_from_managed: *const c_void,
    tensor_from_object: Option<DlTensorFromPyObject>,
    current_stream: *const c_void,
}

/// DLPack's way to look at a tensor without owning it, as PyTorch offers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange(DlTensorFromPyObject);

impl Exchange {
    /// From PyTorch's own capsule, `torch.Tensor.__dlpack_c_exchange_api__`. `None` when it is of a
    /// version that this does not know.
    pub(crate) fn new(capsule: &Bound<'_, PyCapsule>) -> PyResult<Option<Self>> {
        let table = capsule.pointer_checked(Some(c"dlpack_exchange_api"))?;
        // SAFETY: a capsule of this name holds the table, which lives as long as the process. The
        // version comes first in every version of it, and is looked at before the rest.
        let function = unsafe {
            let table = table.cast::<ExchangeTable>().as_ptr();
            if (*table).major == 1 {
                (*table).tensor_from_object
            } else {
                None
            }
        };
        Ok(function.map(Self))
    }

    /// The view of a CPU tensor whose type is exactly the one that the capsule came from; `None`
    /// when it has no dense memory of a kind that is read natively.
    pub(crate) fn view(self, tensor: &Bound<'_, PyAny>) -> Option<View> {
        let mut out = std::mem::MaybeUninit::<DlTensor>::uninit();
        // SAFETY: the caller holds the interpreter (a `Bound` shows it) and vouches for the type.
        let failed = unsafe { (self.0)(tensor.as_ptr().cast(), out.as_mut_ptr()) } != 0;
        if failed {
            // Sparse and the like: the exception says so, and PyTorch's own operators see to it.
            drop(PyErr::take(tensor.py()));
            return None;
        }
        // SAFETY: it reported success, so it has written all fields.
        let out = unsafe { out.assume_init() };
        if out.device_type != CPU || out.lanes != 1 {
            return None;
        }
        let kind = match (out.code, out.bits) {
            (FLOAT, 32) => Kind::F32,
            (FLOAT, 64) => Kind::F64,
            (FLOAT, 16) => Kind::F16,
            (BFLOAT, 16) => Kind::Bf16,
            _ => return None,
        };
        let ndim = usize::try_from(out.ndim).ok()?;
        let (shape, strides) = if ndim == 0 {
            (&[][..], &[][..])
        } else {
            // SAFETY: both have `ndim` entries, which the tensor keeps.
            unsafe {
                (
                    from_raw_parts(out.shape, ndim),
                    from_raw_parts(out.strides, ndim),
                )
            }
        };
        let len = dense_len(shape, strides)?;
        let address = out.data as usize + usize::try_from(out.byte_offset).ok()?;
        // SAFETY: a dense tensor of `len` values begins here.
        unsafe { View::new(address, len, kind) }
    }
}

/// How many values there are, when they fill their memory without gap or overlap: the strides are
/// those of a contiguous tensor whose dimensions may have been reordered.
fn dense_len(shape: &[i64], strides: &[i64]) -> Option<usize> {
    let len: i64 = shape.iter().product();
    let mut contiguous = 1;
    let in_order = shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let expected = contiguous;
        contiguous *= size;
        size == 1 || stride == expected
    });
    if len == 0 || in_order {
        return usize::try_from(len).ok();
    }
    let mut dims: Vec<(i64, i64)> = strides.iter().copied().zip(shape.iter().copied()).collect();
    dims.retain(|&(_, size)| size != 1);
    dims.sort_unstable();
    let mut expected = 1;
    for (stride, size) in dims {
        if stride != expected {
            return None;
        }
        expected *= size;
    }
    usize::try_from(len).ok()
}
