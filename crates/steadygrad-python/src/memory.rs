//! The memory of PyTorch's CPU tensors, read and written in place, and the addresses of tensors on
//! a CUDA device, which kernels read.
//!
//! A [`View`] is made and used within one call from Python, while the tensor is referenced and no
//! Python code runs on this thread. Like PyTorch's own operators it relies on no other thread
//! resizing, freeing or writing the tensor meanwhile.
#![allow(unsafe_code, reason = "tensors are read and written where they lie")]

use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::slice::{from_raw_parts, from_raw_parts_mut};

use half::{bf16, f16};
use pyo3::intern;
use pyo3::prelude::*;
use steadygrad::stats::{Units, Values, ValuesMut};

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

/// The address of a dense tensor's values on a CUDA device. They are never read from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnDevice {
    pub(crate) device: i32,
    pub(crate) address: usize,
    pub(crate) len: usize,
    pub(crate) kind: Kind,
}

/// The memory of a dense CPU tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    address: usize,
    len: usize,
    kind: Kind,
    layout: Layout,
}

/// The order of the values in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// 0 for the order of the indices, else a digest of shape and strides.
    order: u64,
    /// The memory of each output unit. `None` if the units are scattered.
    units: Option<Units>,
}

impl View {
    /// `None` for gaps or overlaps, and for missing or misaligned memory.
    ///
    /// # Safety
    /// A CPU tensor of this kind begins at `address` and stays there while the view's values are
    /// used.
    pub(crate) unsafe fn new(
        address: usize,
        shape: &[i64],
        strides: &[i64],
        kind: Kind,
    ) -> Option<Self> {
        let (len, layout) = dense(shape, strides)?;
        let usable = len == 0 || (address != 0 && address.is_multiple_of(kind.size()));
        usable.then_some(Self {
            address,
            len,
            kind,
            layout,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn units(&self) -> Option<Units> {
        self.layout.units
    }

    /// Whether values at the same offset of both have the same index.
    pub(crate) fn pairs_with(&self, other: &Self) -> bool {
        self.len == other.len && self.layout.order == other.layout.order
    }

    fn bytes(&self) -> usize {
        self.len * self.kind.size()
    }
}

/// Views that share no memory.
#[derive(Debug, Default)]
pub(crate) struct Views(Vec<View>);

impl Views {
    /// Also returns for each view whether it was taken. A view that overlaps a taken one is not. Of
    /// two at the same address the first is taken.
    pub(crate) fn new(views: Vec<View>) -> (Self, Vec<bool>) {
        let mut taken = vec![true; views.len()];
        let mut order: Vec<usize> = (0..views.len()).filter(|&at| views[at].len > 0).collect();
        order.sort_by_key(|&at| views[at].address);
        let mut end = 0;
        for at in order {
            if views[at].address < end {
                taken[at] = false;
            } else {
                end = views[at].address + views[at].bytes();
            }
        }
        let mut kept = views;
        let mut keep = taken.iter();
        kept.retain(|_| keep.next().is_some_and(|&taken| taken));
        (Self(kept), taken)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|view| view.len).sum()
    }

    pub(crate) fn values(&self) -> Vec<Values<'_>> {
        // SAFETY: nothing of it is written while `self` is borrowed: `values_mut` borrows it
        // exclusively.
        self.0.iter().map(|view| unsafe { values(view) }).collect()
    }

    pub(crate) fn values_mut(&mut self) -> Vec<ValuesMut<'_>> {
        // SAFETY: the views share no memory, so each slice is the only one of its memory while
        // `self` is borrowed.
        let each = self.0.iter().map(|view| unsafe { values_mut(view) });
        each.collect()
    }

    /// The first `written` views as mutable slices, the rest as shared ones.
    pub(crate) fn split(&mut self, written: usize) -> (Vec<ValuesMut<'_>>, Vec<Values<'_>>) {
        let (first, rest) = self.0.split_at(written);
        // SAFETY: as for `values` and `values_mut`.
        unsafe {
            (
                first.iter().map(|view| values_mut(view)).collect(),
                rest.iter().map(|view| values(view)).collect(),
            )
        }
    }

    pub(crate) fn each(&self) -> &[View] {
        &self.0
    }
}

/// # Safety
/// Nothing writes to the memory while the slice is used.
unsafe fn values<'a>(view: &View) -> Values<'a> {
    if view.len == 0 {
        return Values::F32(&[]);
    }
    let data = view.address as *const c_void;
    // SAFETY: `View::new`'s caller vouches for the memory; it is not null, and aligned.
    unsafe {
        match view.kind {
            Kind::F32 => Values::F32(from_raw_parts(data.cast(), view.len)),
            Kind::F64 => Values::F64(from_raw_parts(data.cast(), view.len)),
            Kind::F16 => Values::F16(from_raw_parts(data.cast::<f16>(), view.len)),
            Kind::Bf16 => Values::Bf16(from_raw_parts(data.cast::<bf16>(), view.len)),
        }
    }
}

/// # Safety
/// Nothing else reads or writes the memory while the slice is used.
unsafe fn values_mut<'a>(view: &View) -> ValuesMut<'a> {
    if view.len == 0 {
        return ValuesMut::F32(&mut []);
    }
    let data = view.address as *mut c_void;
    // SAFETY: `View::new`'s caller vouches for the memory; it is not null, and aligned.
    unsafe {
        match view.kind {
            Kind::F32 => ValuesMut::F32(from_raw_parts_mut(data.cast(), view.len)),
            Kind::F64 => ValuesMut::F64(from_raw_parts_mut(data.cast(), view.len)),
            Kind::F16 => ValuesMut::F16(from_raw_parts_mut(data.cast::<f16>(), view.len)),
            Kind::Bf16 => ValuesMut::Bf16(from_raw_parts_mut(data.cast::<bf16>(), view.len)),
        }
    }
}

/// The view of a CPU tensor by its own methods, for a PyTorch that is older than the exchange.
/// `dtypes` are those of [`Kind`], in its order.
pub(crate) fn view_by_methods(
    tensor: &Bound<'_, PyAny>,
    dtypes: &[Py<PyAny>; 4],
) -> PyResult<Option<View>> {
    let is_cpu = tensor.getattr(intern!(tensor.py(), "is_cpu"))?;
    if !is_cpu.is_truthy()? {
        return Ok(None);
    }
    let of_itself = by_methods(tensor, dtypes)?;
    Ok(of_itself.and_then(|(kind, shape, strides, address)| {
        // SAFETY: this is a CPU tensor, as it described itself.
        unsafe { View::new(address, &shape, &strides, kind) }
    }))
}

/// Like [`view_by_methods`], for a CUDA tensor.
pub(crate) fn on_device_by_methods(
    tensor: &Bound<'_, PyAny>,
    dtypes: &[Py<PyAny>; 4],
) -> PyResult<Option<OnDevice>> {
    let py = tensor.py();
    if !tensor.getattr(intern!(py, "is_cuda"))?.is_truthy()? {
        return Ok(None);
    }
    let device = tensor.call_method0(intern!(py, "get_device"))?.extract()?;
    let of_itself = by_methods(tensor, dtypes)?;
    Ok(of_itself.and_then(|(kind, shape, strides, address)| {
        let (len, _) = dense(&shape, &strides)?;
        Some(OnDevice {
            device,
            address,
            len,
            kind,
        })
    }))
}

type OfItself = (Kind, Vec<i64>, Vec<i64>, usize);

/// A tensor's kind, shape, strides and address.
fn by_methods(tensor: &Bound<'_, PyAny>, dtypes: &[Py<PyAny>; 4]) -> PyResult<Option<OfItself>> {
    let py = tensor.py();
    let dtype = tensor.getattr(intern!(py, "dtype"))?;
    let Some(kind) = dtypes.iter().position(|each| each.is(&dtype)) else {
        return Ok(None);
    };
    let kind = [Kind::F32, Kind::F64, Kind::F16, Kind::Bf16][kind];
    // Sparse tensors and the like have no strides or no address.
    let strides = tensor.call_method0(intern!(py, "stride"));
    let address = tensor.call_method0(intern!(py, "data_ptr"));
    let (Ok(strides), Ok(address)) = (strides, address) else {
        return Ok(None);
    };
    let shape = tensor.getattr(intern!(py, "shape"))?.extract()?;
    Ok(Some((kind, shape, strides.extract()?, address.extract()?)))
}

/// The number and order of values that fill their memory without gap or overlap: the strides are
/// those of a contiguous tensor whose dimensions may have been reordered.
pub(crate) fn dense(shape: &[i64], strides: &[i64]) -> Option<(usize, Layout)> {
    let len: i64 = shape.iter().product();
    let len = usize::try_from(len).ok()?;
    let mut contiguous = 1;
    let in_order = shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let expected = contiguous;
        contiguous *= size;
        size == 1 || stride == expected
    });
    let rows = shape.first().and_then(|&rows| usize::try_from(rows).ok());
    let rows = rows
        .filter(|_| shape.len() > 1)
        .map_or(Units::One, Units::Rows);
    if len == 0 || in_order {
        let units = Some(rows);
        return Some((len, Layout { order: 0, units }));
    }
    let mut dims: Vec<(i64, i64)> = strides.iter().copied().zip(shape.iter().copied()).collect();
    dims.retain(|&(_, size)| size != 1);
    dims.sort_unstable();
    let mut expected = 1;
    for &(stride, size) in &dims {
        if stride != expected {
            return None;
        }
        expected *= size;
    }
    let mut digest = DefaultHasher::new();
    (shape, strides).hash(&mut digest);
    // A convolution's filters stay in one piece when its channels come last.
    let in_one_piece = shape[0] == 1 || dims.last() == Some(&(strides[0], shape[0]));
    Some((
        len,
        Layout {
            order: digest.finish() | 1,
            units: in_one_piece.then_some(rows),
        },
    ))
}
