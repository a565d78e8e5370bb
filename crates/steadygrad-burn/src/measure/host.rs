//! Reads and writes the memory of CPU tensors, without a copy where it has no gaps.

#![allow(
    clippy::result_large_err,
    reason = "the error is the tensor itself, as large as the success"
)]
#![cfg_attr(
    not(feature = "flex"),
    allow(
        unreachable_code,
        reason = "without the CPU backend there is no such tensor"
    )
)]

use burn::tensor::{DType, Tensor};
use steadygrad::stats::{Values, ValuesMut, distance};

/// A tensor whose values lie densely in CPU memory, in any order of the axes.
///
/// A tensor with gaps, such as the gradient of a convolution with a stride, is first copied into
/// dense memory.
#[cfg(feature = "flex")]
#[derive(Clone)]
pub(crate) struct HostTensor(burn::backend::flex::FlexTensor);

/// No such tensor exists: the CPU backend is not compiled in.
#[cfg(not(feature = "flex"))]
#[derive(Clone)]
pub(crate) enum HostTensor {}

impl HostTensor {
    /// The tensor's memory; `None` when the tensor lies on a device.
    pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        Self::take(tensor.clone()).ok()
    }

    /// Takes an f32 tensor in CPU memory, and gives any other back.
    pub(crate) fn take_f32<const D: usize>(tensor: Tensor<D>) -> Result<Self, Tensor<D>> {
        match tensor.dtype() {
            DType::F32 => Self::take(tensor),
            _ => Err(tensor),
        }
    }

    /// The values; `None` if they are not f32.
    pub(crate) fn f32_values(&self) -> Option<&[f32]> {
        match self.values() {
            Some(Values::F32(values)) => Some(values),
            _ => None,
        }
    }

    /// The values for writing; `None` if they are not f32.
    pub(crate) fn f32_values_mut(&mut self) -> Option<&mut [f32]> {
        match self.values_mut() {
            Some(ValuesMut::F32(values)) => Some(values),
            _ => None,
        }
    }

    /// The L2 norm of `after - self`; `None` if one is not f32.
    ///
    /// The sum runs in row-major order, which fixes its last digits. Tensors in another order are
    /// copied first.
    pub(crate) fn distance(&self, after: &Self) -> Option<f64> {
        if self.is_row_major() && after.is_row_major() {
            return Some(distance(self.f32_values()?, after.f32_values()?));
        }
        let (before, after) = (self.row_major(), after.row_major());
        Some(distance(before.f32_values()?, after.f32_values()?))
    }

    /// Whether both are views of the same memory. Then they hold the same values as long as both
    /// exist: nobody writes into shared memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self.f32_values(), other.f32_values()) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            _ => false,
        }
    }
}

#[cfg(feature = "flex")]
mod flex {
    use burn::backend::Flex;
    use burn::tensor::{Device, bf16, f16};

    use super::{DType, HostTensor, Tensor, Values, ValuesMut};

    impl HostTensor {
        /// Takes a tensor of floats in CPU memory, and gives any other back.
        pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> Result<Self, Tensor<D>> {
            #[cfg(test)]
            if super::elsewhere::is_next() {
                return Err(tensor);
            }
            let width = match tensor.dtype() {
                DType::F32 => 4,
                DType::F64 => 8,
                DType::F16 | DType::BF16 => 2,
                _ => return Err(tensor),
            };
            // Checked first: a conversion that fails drops the tensor.
            if tensor.device() != Device::flex() {
                return Err(tensor);
            }
            let flex = tensor.try_into_primitive::<Flex>();
            let host = Self(flex.expect("a tensor of floats on this backend"));
            Ok(if host.is_dense(width) {
                host
            } else {
                host.row_major()
            })
        }

        fn is_dense(&self, width: usize) -> bool {
            let layout = self.0.layout();
            let len = layout.num_elements();
            if self.0.bytes().len() != width * len {
                return false;
            }
            if layout.contiguous_offsets() == Some((0, len)) {
                return true;
            }
            let mut steps: Vec<_> = layout.strides().iter().zip(layout.shape().iter()).collect();
            steps.retain(|(_, size)| **size != 1);
            steps.sort_unstable();
            // Each stride equals the size of the block below it: no gap and no overlap.
            let mut reach = 1;
            steps.into_iter().all(|(&stride, &size)| {
                let fits = stride == reach;
                reach *= size as isize;
                fits
            })
        }

        /// The values, in memory order.
        pub(crate) fn values(&self) -> Option<Values<'_>> {
            match self.0.dtype() {
                DType::F32 => Some(Values::F32(self.0.storage())),
                DType::F64 => Some(Values::F64(self.0.storage())),
                DType::F16 => Some(Values::F16(self.0.storage::<f16>())),
                DType::BF16 => Some(Values::Bf16(self.0.storage::<bf16>())),
                _ => None,
            }
        }

        /// The values for writing. They are copied first only if another tensor shares them.
        pub(crate) fn values_mut(&mut self) -> Option<ValuesMut<'_>> {
            match self.0.dtype() {
                DType::F32 => Some(ValuesMut::F32(self.0.storage_mut())),
                DType::F64 => Some(ValuesMut::F64(self.0.storage_mut())),
                DType::F16 => Some(ValuesMut::F16(self.0.storage_mut::<f16>())),
                DType::BF16 => Some(ValuesMut::Bf16(self.0.storage_mut::<bf16>())),
                _ => None,
            }
        }

        /// Whether the values lie in row-major order.
        pub(crate) fn is_row_major(&self) -> bool {
            self.0.layout().contiguous_offsets().is_some()
        }

        /// Whether another tensor shares the memory.
        pub(crate) fn is_shared(&self) -> bool {
            !self.0.is_unique()
        }

        /// The same values in row-major order, alone in their memory.
        pub(crate) fn row_major(&self) -> Self {
            Self(self.0.to_contiguous())
        }

        /// The tensor with the changes.
        pub(crate) fn into_tensor<const D: usize>(self) -> Tensor<D> {
            Tensor::from_primitive::<Flex>(self.0)
        }
    }
}

/// Lets tests treat CPU tensors as tensors on a device.
#[cfg(all(test, feature = "flex"))]
pub(crate) mod elsewhere {
    use std::cell::Cell;

    thread_local! {
        /// One in so many tensors counts as a device tensor.
        static ONE_IN: Cell<usize> = const { Cell::new(usize::MAX) };
        static ASKED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn is_next() -> bool {
        ASKED.set(ASKED.get() + 1);
        ASKED.get().is_multiple_of(ONE_IN.get())
    }

    /// Does the work with one in `count` tensors on a device.
    pub(crate) fn one_in<T>(count: usize, work: impl FnOnce() -> T) -> T {
        ONE_IN.set(count);
        ASKED.set(0);
        let done = work();
        ONE_IN.set(usize::MAX);
        done
    }
}

#[cfg(not(feature = "flex"))]
mod none {
    use super::{HostTensor, Tensor, Values, ValuesMut};

    impl HostTensor {
        pub(crate) fn take<const D: usize>(tensor: Tensor<D>) -> Result<Self, Tensor<D>> {
            Err(tensor)
        }

        pub(crate) fn values(&self) -> Option<Values<'_>> {
            match *self {}
        }

        pub(crate) fn values_mut(&mut self) -> Option<ValuesMut<'_>> {
            match *self {}
        }

        pub(crate) fn is_row_major(&self) -> bool {
            match *self {}
        }

        pub(crate) fn is_shared(&self) -> bool {
            match *self {}
        }

        pub(crate) fn row_major(&self) -> Self {
            match *self {}
        }

        pub(crate) fn into_tensor<const D: usize>(self) -> Tensor<D> {
            match self {}
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Int};
    use steadygrad::stats::{Values, ValuesMut};

    use super::*;

    fn address(host: &HostTensor) -> usize {
        match host.values() {
            Some(Values::F32(slice)) => slice.as_ptr() as usize,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn neither_reading_nor_writing_copies() {
        let tensor = Tensor::<2>::ones([3, 4], &Device::flex());
        let at = address(&HostTensor::new(&tensor).unwrap());
        let mut host = HostTensor::new(&tensor).unwrap();
        drop(tensor);
        assert_eq!(address(&host), at);
        match host.values_mut() {
            Some(ValuesMut::F32(slice)) => {
                assert_eq!(slice.as_ptr() as usize, at);
                slice.fill(2.0);
            }
            other => panic!("{other:?}"),
        }
        let back: Tensor<2> = host.into_tensor();
        assert_eq!(back.sum().into_scalar::<f32>(), 24.0);
    }

    #[test]
    fn another_tensor_with_the_same_memory_is_not_changed() {
        let tensor = Tensor::<1>::ones([4], &Device::flex());
        let shared = tensor.clone();
        let mut host = HostTensor::new(&tensor).unwrap();
        drop(tensor);
        if let Some(ValuesMut::F32(slice)) = host.values_mut() {
            slice.fill(2.0);
        }
        assert_eq!(shared.sum().into_scalar::<f32>(), 4.0);
        assert_eq!(host.into_tensor::<1>().sum().into_scalar::<f32>(), 8.0);
    }

    #[test]
    fn a_transposed_tensor_is_a_view_and_a_slice_is_a_copy() {
        let ramp = Tensor::<1, Int>::arange(0..12, &Device::flex()).float();
        let tensor = ramp.clone().reshape([3, 4]);
        let at = address(&HostTensor::new(&tensor).unwrap());
        let turned = HostTensor::new(&tensor.clone().transpose()).unwrap();
        assert_eq!(address(&turned), at);
        for slice in [
            tensor.clone().narrow(0, 0, 2),
            tensor.clone().narrow(0, 1, 2),
            tensor.clone().narrow(1, 1, 2),
            tensor.clone().transpose().narrow(0, 1, 2),
            // As many values as the memory holds, but some of them repeated and others left out.
            ramp.narrow(0, 1, 1).expand([3, 4]),
        ] {
            let host = HostTensor::new(&slice).unwrap();
            let Some(Values::F32(values)) = host.values() else {
                panic!("no f32");
            };
            let expected = slice.clone().into_data();
            assert_eq!(values, expected.as_slice::<f32>().unwrap());
            assert_eq!(host.into_tensor::<2>().into_data(), slice.into_data());
        }
    }
}
