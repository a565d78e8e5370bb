//! DLPack's exchange table, by which PyTorch describes a tensor without a call into Python.
#![allow(unsafe_code, reason = "the table holds C functions and raw pointers")]

use std::ffi::{c_int, c_void};
use std::slice::from_raw_parts;

use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::memory::{Kind, OnDevice, View, dense};

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
/// PyTorch reports a ROCm device as this type, too.
const CUDA: [i32; 2] = [2, 10];
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
    /// From PyTorch's own capsule, `torch.Tensor.__dlpack_c_exchange_api__`. `None` for an unknown
    /// version.
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

    /// The view of a CPU tensor whose type is exactly the capsule's. `None` without dense memory of
    /// a kind that is read natively.
    pub(crate) fn view(self, tensor: &Bound<'_, PyAny>) -> Option<View> {
        let out = self.look(tensor).filter(|out| out.device_type == CPU)?;
        let (kind, (shape, strides)) = (out.kind()?, out.layout()?);
        // SAFETY: this is a CPU tensor, as it described itself.
        unsafe { View::new(out.address()?, shape, strides, kind) }
    }

    /// Like [`view`](Self::view), for a CUDA tensor.
    pub(crate) fn on_device(self, tensor: &Bound<'_, PyAny>) -> Option<OnDevice> {
        let out = self.look(tensor)?;
        let (kind, (shape, strides)) = (out.kind()?, out.layout()?);
        CUDA.contains(&out.device_type).then_some(OnDevice {
            device: out.device_id,
            address: out.address()?,
            len: dense(shape, strides)?.0,
            kind,
        })
    }

    /// A tensor's description of itself. It holds while the tensor is referenced and not changed.
    fn look(self, tensor: &Bound<'_, PyAny>) -> Option<DlTensor> {
        let mut out = std::mem::MaybeUninit::<DlTensor>::uninit();
        // SAFETY: the caller holds the interpreter (a `Bound` shows it) and vouches for the type.
        let failed = unsafe { (self.0)(tensor.as_ptr().cast(), out.as_mut_ptr()) } != 0;
        if failed {
            // Sparse tensors raise an exception. PyTorch's own operators handle them.
            drop(PyErr::take(tensor.py()));
            return None;
        }
        // SAFETY: it reported success, so it has written all fields.
        let out = unsafe { out.assume_init() };
        (out.lanes == 1).then_some(out)
    }
}

impl DlTensor {
    /// The kind of its values. `None` for a type that is not read natively.
    fn kind(&self) -> Option<Kind> {
        match (self.code, self.bits) {
            (FLOAT, 32) => Some(Kind::F32),
            (FLOAT, 64) => Some(Kind::F64),
            (FLOAT, 16) => Some(Kind::F16),
            (BFLOAT, 16) => Some(Kind::Bf16),
            _ => None,
        }
    }

    fn address(&self) -> Option<usize> {
        Some(self.data as usize + usize::try_from(self.byte_offset).ok()?)
    }

    /// Shape and strides.
    fn layout(&self) -> Option<(&[i64], &[i64])> {
        let ndim = usize::try_from(self.ndim).ok()?;
        if ndim == 0 {
            return Some((&[], &[]));
        }
        // SAFETY: both have `ndim` entries, which the tensor keeps; it outlives what was made in
        // `look`, since its callers hold a reference.
        unsafe {
            Some((
                from_raw_parts(self.shape, ndim),
                from_raw_parts(self.strides, ndim),
            ))
        }
    }
}
