"""A guard, gradient clipping and statistics for PyTorch.

- `clip_grad_norm_` and `clip_grad_value_` replace those of `torch.nn.utils`.
- `gradient_stats` shows which parameter's gradient is large or broken; `Clipper` clips as well.
- `Guard` keeps a run alive: it steps the optimizer unless the step would do harm.
- `probe` predicts before training whether gradients will explode.
- `cure` finds the remedy that is proven on the model itself.
- `find_non_finite` names the operation that made a NaN.

Dense CPU gradients of float32, float64, float16 and bfloat16 are read and scaled in place, by
`torch.get_num_threads()` threads. Triton kernels measure dense CUDA gradients and read each value
once. PyTorch's own operators handle all others: other devices, sparse tensors, subclasses, and
gradients that autograd tracks. `clip_grad_norm_` waits for no device; statistics wait once for
each.
"""

from __future__ import annotations

from ._cure.cure import Cure, cure
from ._gradients.clip_grad import clip_grad_norm_, clip_grad_value_
from ._gradients.clipper import Clipper
from ._gradients.stats import gradient_stats
from ._guard.guard import Guard
from ._guard.step import GuardStep, GuardStopped
from ._native import GradientStats, TensorStats
from ._probe.non_finite import NonFinite, find_non_finite
from ._probe.probe import Probe, probe

__all__ = [
    "Clipper",
    "Cure",
    "GradientStats",
    "Guard",
    "GuardStep",
    "GuardStopped",
    "NonFinite",
    "Probe",
    "TensorStats",
    "clip_grad_norm_",
    "clip_grad_value_",
    "cure",
    "find_non_finite",
    "gradient_stats",
    "probe",
]
