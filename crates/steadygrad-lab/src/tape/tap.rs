use burn::tensor::Tensor;

/// A zero that is added to a tensor so that its gradient can be read.
///
/// Burn keeps gradients of leaves only. Adding this leaf keeps the tensor's value, and the leaf's
/// gradient is the tensor's.
pub(super) fn tap<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    Tensor::zeros(tensor.dims(), (&tensor.device(), tensor.dtype())).require_grad()
}
