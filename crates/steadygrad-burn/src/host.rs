//! The CPU backend's own memory, read and written without a copy.

use burn::tensor::Tensor;

/// A tensor whose values lie densely in this machine's memory, in some order.
#[cfg(feature = "flex")]
pub(crate) struct HostTensor(burn::backend::flex::FlexTensor);

/// No backend with memory of this machine is compiled in.
#[cfg(not(feature = "flex"))]
pub(crate) enum HostTensor {}

#[cfg(feature = "flex")]
mod flex {
    use burn::backend::Flex;
    use burn::tensor::{DType, bf16, f16};
    use steadygrad::stats::{Values, ValuesMut};

    use super::{HostTensor, Tensor};

    impl HostTensor {
        /// A view of the tensor; `None` when it lies elsewhere or has gaps.
        pub(crate) fn new<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
            let flex = tensor.clone().try_into_primitive::<Flex>().ok()?;
            let width = match flex.dtype() {
                DType::F32 => 4,
                DType::F64 => 8,
                DType::F16 | DType::BF16 => 2,
                _ => return None,
            };
            let whole = flex.bytes().len() == width * tensor.shape().num_elements();
            let layout = flex.layout();
            let mut steps: Vec<_> = layout.strides().iter().zip(layout.shape().iter()).collect();
            steps.retain(|(_, size)| **size != 1);
            steps.sort_unstable();
            // Each step reaches just as far as the smaller ones together: no gap, no overlap.
            let mut reach = 1;
            let dense = steps.into_iter().all(|(&stride, &size)| {
                let fits = stride == reach;
                reach *= size as isize;
                fits
            });
            (whole && dense).then_some(Self(flex))
        }

        /// Its values, in the order of its memory.
        pub(crate) fn values(&self) -> Option<Values<'_>> {
            match self.0.dtype() {
                DType::F32 => Some(Values::F32(self.0.storage())),
                DType::F64 => Some(Values::F64(self.0.storage())),
                DType::F16 => Some(Values::F16(self.0.storage::<f16>())),
                DType::BF16 => Some(Values::Bf16(self.0.storage::<bf16>())),
                _ => None,
            }
        }

        /// Its values to be changed; copied first only when another tensor shares them.
        pub(crate) fn values_mut(&mut self) -> Option<ValuesMut<'_>> {
            match self.0.dtype() {
                DType::F32 => Some(ValuesMut::F32(self.0.storage_mut())),
                DType::F64 => Some(ValuesMut::F64(self.0.storage_mut())),
                DType::F16 => Some(ValuesMut::F16(self.0.storage_mut::<f16>())),
                DType::BF16 => Some(ValuesMut::Bf16(self.0.storage_mut::<bf16>())),
                _ => None,
            }
        }

        /// The tensor, with the changes.
        pub(crate) fn into_tensor<const D: usize>(self) -> Tensor<D> {
            Tensor::from_primitive::<Flex>(self.0)
        }
    }
}

#[cfg(not(feature = "flex"))]
mod none {
    use steadygrad::stats::{Values, ValuesMut};

    use super::{HostTensor, Tensor};

    impl HostTensor {
        pub(crate) fn new<const D: usize>(_tensor: &Tensor<D>) -> Option<Self> {
            None
        }

        pub(crate) fn values(&self) -> Option<Values<'_>> {
            match *self {}
        }

        pub(crate) fn values_mut(&mut self) -> Option<ValuesMut<'_>> {
            match *self {}
        }

        pub(crate) fn into_tensor<const D: usize>(self) -> Tensor<D> {
            match self {}
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;
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
    fn a_transposed_tensor_is_dense_and_a_slice_is_not() {
        let tensor = Tensor::<2>::ones([3, 4], &Device::flex());
        assert!(HostTensor::new(&tensor.clone().transpose()).is_some());
        assert!(HostTensor::new(&tensor.narrow(0, 0, 2)).is_none());
        // As many values as the memory holds, but one of them twice and the other not at all.
        let pair = Tensor::<1>::ones([2], &Device::flex());
        assert!(HostTensor::new(&pair.narrow(0, 0, 1).expand([2])).is_none());
    }
}
