"""Reads, measures and clips the gradients of PyTorch parameters.

- `reader`: the native reader of dense CPU tensors, and PyTorch's operators for all others.
- `clip_grad`: `clip_grad_norm_` and `clip_grad_value_`.
- `stats`: `gradient_stats`.
- `clipper`: `Clipper`, which runs a policy of `steadygrad.clip`.
- `device`: statistics of tensors on a GPU; `triton` has its kernels, `operators` the fallback,
  and `rows` the columns that both fill.
"""
