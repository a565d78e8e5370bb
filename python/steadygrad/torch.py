"""A guard, gradient clipping and statistics for PyTorch, in one pass over memory.

`clip_grad_norm_` and `clip_grad_value_` take the place of their namesakes in `torch.nn.utils`;
`gradient_stats` tells which parameter's gradient is large or broken; `Clipper` does both at once.
`Guard` keeps a run alive: it steps the optimizer unless that would do harm. `probe` says before
training whether gradients will explode, `cure` which remedy is proven on the model itself, and
`find_non_finite` which operation made a NaN.

Dense CPU gradients of float32, float64, float16 and bfloat16 are read, and scaled, where they lie by
as many threads as `torch.get_num_threads()` says. Statistics of dense CUDA gradients come from Triton
kernels that read each value once. All others (other devices, sparse tensors, subclasses, gradients that
autograd follows) are left to PyTorch's own operators. `clip_grad_norm_` waits for no device; statistics
do, once for each.
"""

from __future__ import annotations

import json
import math
import types
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union

import torch
from torch import Tensor, nn

from . import _native
from ._device import measured
from ._native import GradientStats, TensorStats
from .clip import GlobalNorm, Policy

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

Mapping.register(GradientStats)

_Parameters = Union[Tensor, Iterable[Tensor]]

_CPU = torch.device("cpu")
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def _promoted(kinds: int) -> torch.dtype:
    """The type of a norm over gradients of several types: one bit of `kinds` each."""
    held = [dtype for bit, dtype in enumerate(_DTYPES) if kinds >> bit & 1]
    promoted = held[0]
    for dtype in held[1:]:
        promoted = torch.promote_types(promoted, dtype)
    return promoted


# What a norm is returned as, and the largest finite value of that type.
_RETURNED = {
    kinds: (_promoted(kinds), torch.finfo(_promoted(kinds)).max) for kinds in range(1, 16)
}


def _collect(parameters: list[Tensor]) -> _native.Gradients:
    return _native.Gradients(_READER, parameters, torch.get_num_threads())


def _listed(parameters: _Parameters) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        return [parameters]
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = list(parameters)
    if is_generator and not parameters:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3
        )
    return parameters


def _checked(max_norm: float) -> float:
    max_norm = float(max_norm)
    if not max_norm >= 0.0:
        raise ValueError(f"max_norm must be 0 or more, not {max_norm}")
    return max_norm


def _as_tensor(norm: float, dtype: torch.dtype, largest: float) -> Tensor:
    if norm > largest:
        norm = math.inf
    return torch.scalar_tensor(norm, dtype=dtype, device=_CPU)


def clip_grad_norm_(
    parameters: _Parameters,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: Optional[bool] = None,
) -> Tensor:
    r"""Scales all gradients by one factor, so that their global norm is at most `max_norm`.

    .. math:: g \leftarrow g \cdot \min(1, max\_norm / (\lVert g \rVert + 10^{-6}))

    Takes what `torch.nn.utils.clip_grad_norm_` takes and returns what it returns: the norm over
    all gradients *before* clipping, of shape `()`. It differs where that does harm:

    - While the factor is 1, nothing is written.
    - When a gradient holds NaN or an infinite value, the norm is NaN or infinite and all
      gradients stay as they are; PyTorch would make every one of them NaN or zero. Look at the
      returned norm before you step, or set `error_if_nonfinite`.
    - The norm is summed in float64 and the factor computed from it, so large float16 and float32
      gradients are clipped where PyTorch's norm overflows. The returned tensor has PyTorch's type,
      and is infinite when the norm is beyond that.

    Args:
        parameters: a tensor or an iterable of tensors; those whose `grad` is None are passed over.
        max_norm: the largest norm that passes unchanged; 0 or more.
        norm_type: 2 or infinity in one pass; any other order by PyTorch's own operators.
        error_if_nonfinite: raise a RuntimeError when a gradient holds NaN or an infinite value.
        foreach: for gradients that are left to PyTorch, what it means there.

    Raises:
        RuntimeError: see `error_if_nonfinite`; or `foreach=True` where PyTorch has no such kernels.
        ValueError: `max_norm` is negative or NaN.
    """
    parameters = _listed(parameters)
    max_norm, norm_type = _checked(max_norm), float(norm_type)
    if norm_type != 2.0 and norm_type != math.inf:
        grads = [p.grad for p in parameters if p.grad is not None]
        return _clip_by_torch(grads, max_norm, norm_type, error_if_nonfinite, foreach)
    gradients = _collect(parameters)
    rest = gradients.rest
    if not gradients.kinds:
        return _clip_by_torch(rest, max_norm, norm_type, error_if_nonfinite, foreach)
    dtype, largest = _RETURNED[gradients.kinds]
    norm = gradients.global_norm if norm_type == 2.0 else gradients.max_norm
    if rest:
        rest_norm = torch.nn.utils.get_total_norm(rest, norm_type, foreach=foreach)
        dtype = torch.promote_types(dtype, rest_norm.dtype)
        largest = torch.finfo(dtype).max
        norm = _joined(norm, rest_norm.item(), norm_type)
    if not math.isfinite(norm):
        if error_if_nonfinite:
            raise _non_finite(norm_type)
    elif (coefficient := max_norm / (norm + 1e-6)) < 1.0:
        gradients.scale(coefficient)
        if rest:
            _scale_by_torch(rest, coefficient, foreach)
    return _as_tensor(norm, dtype, largest)


def _joined(a: float, b: float, norm_type: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return math.hypot(a, b) if norm_type == 2.0 else max(a, b)


def _non_finite(norm_type: float) -> RuntimeError:
    return RuntimeError(
        f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so "
        "they were not clipped. `steadygrad.torch.gradient_stats` names the parameters; to go on "
        "with the gradients as they are, set `error_if_nonfinite=False`"
    )


@torch.no_grad()
def _clip_by_torch(
    grads: list[Tensor],
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    foreach: Optional[bool],
) -> Tensor:
    """Without a look at the norm on the host, unless an error is asked for."""
    norm = torch.nn.utils.get_total_norm(grads, norm_type, foreach=foreach)
    if not grads:
        return norm
    finite = norm.isfinite()
    if error_if_nonfinite and not finite:
        raise _non_finite(norm_type)
    coefficient = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    _scale_by_torch(grads, torch.where(finite, coefficient, 1.0), foreach)
    return norm


@torch.no_grad()
def _scale_by_torch(
    grads: list[Tensor], coefficient: Union[float, Tensor], foreach: Optional[bool] = None
) -> None:
    groups: dict[torch.device, list[Tensor]] = {}
    for grad in grads:
        groups.setdefault(grad.device, []).append(grad)
    for device, group in groups.items():
        by = coefficient.to(device) if isinstance(coefficient, Tensor) else coefficient
        if foreach is False:
            for grad in group:
                grad.mul_(by)
        else:
            torch._foreach_mul_(group, by)


def clip_grad_value_(
    parameters: _Parameters, clip_value: float, foreach: Optional[bool] = None
) -> None:
    r"""Clamps every gradient value: :math:`g \leftarrow \max(-v, \min(v, g))`.

    Takes what `torch.nn.utils.clip_grad_value_` takes. Infinite values become `clip_value` of
    their sign, NaN stays NaN, and parameters without gradients are no error. A bound that the
    gradients' type cannot hold is rounded down, so that it holds; PyTorch rounds to nearest.
    """
    parameters, clip_value = _listed(parameters), float(clip_value)
    if 0.0 < clip_value < math.inf:
        rest = _native.clamp(_READER, parameters, torch.get_num_threads(), clip_value)
    else:
        rest = [p.grad for p in parameters if p.grad is not None]
    _clamp_by_torch(rest, clip_value, foreach)


def _clamp_by_torch(
    grads: list[Tensor], clip_value: float, foreach: Optional[bool] = None
) -> None:
    if grads:
        holders = [types.SimpleNamespace(grad=grad) for grad in grads]
        torch.nn.utils.clip_grad_value_(holders, clip_value, foreach)  # type: ignore[arg-type]


def gradient_stats(model: Union[nn.Module, _Parameters]) -> GradientStats:
    """Statistics of every gradient, by parameter name, from one pass over memory.

    Of a module, the names are those of `named_parameters()`; of a tensor or an iterable of
    tensors, their places "0", "1", ... Parameters without a gradient are left out. Of sharded
    gradients (FSDP2, `DTensor`) they are those of the whole tensors: every process has to call it then.
    """
    names, parameters = _named(model)
    measuring = _native.Clipper('{"policy": "chain", "policies": []}')
    return measuring.clip(_READER, parameters, names, torch.get_num_threads(), None)


class Clipper:
    """Clips by a policy, and tells what the gradients were, in one pass over memory.

    Of sharded gradients (FSDP2, `DTensor`) it measures the whole tensors: every process has to call it then.

    Args:
        model: a module, or parameters. Parameters that are added to the module later are not seen:
            make another `Clipper` then.
        policy: one of `steadygrad.clip`; a number is short for `GlobalNorm(number)`.

    Raises:
        ValueError: a setting of the policy cannot be used; the message names it.
    """

    def __init__(
        self, model: Union[nn.Module, _Parameters], policy: Union[Policy, float]
    ) -> None:
        if not isinstance(policy, Policy):
            policy = GlobalNorm(float(policy))
        self._names, self._parameters = _named(model)
        self._native = _native.Clipper(json.dumps(policy._checked_settings()))
        self._needs = set(self._native.needs)

    def clip_(self) -> GradientStats:
        """Clips the gradients in place and returns their statistics from *before* the clipping.

        Raises:
            RuntimeError: the policy looks at the optimizer: call `step` instead.
            NotImplementedError: the policy needs more than norms, and a gradient is not a dense CPU
                tensor.
        """
        if self._native.acts_on_update or "moments" in self._needs:
            raise RuntimeError("this policy looks at the optimizer: call `step(optimizer)`")
        if not self._needs:
            return self._clip(None)
        return self._clip(self._extras(weights=[p.detach() for p in self._parameters]))

    def step(self, optimizer: torch.optim.Optimizer) -> GradientStats:
        """Clips, steps the optimizer, and returns the gradients' statistics from before both.

        Policies that act on the update bring the optimizer's change of each weight down after its
        step; a weight whose change is within the bound is left as the optimizer made it. Second
        moments are `exp_avg_sq` (Adam and its kin), `square_avg` (RMSprop) or `sum` (Adagrad) of the
        optimizer's state; parameters that have none yet are not clipped. When a policy that acts on
        the update cannot be applied, the weights are as before the call; the optimizer's state is not.

        Raises:
            TypeError: the policy needs second moments, and the optimizer keeps none.
            NotImplementedError: as for `clip_`.
        """
        if self._native.acts_on_update:
            return self._step_and_bound(optimizer)
        if "moments" not in self._needs:
            stats = self.clip_()
            optimizer.step()
            return stats
        extras = self._extras(moments=self._moments(optimizer)[0])
        if "weights" in self._needs:
            extras["weights"] = [p.detach() for p in self._parameters]
        stats = self._clip(extras)
        optimizer.step()
        self._moments(optimizer, required=True)
        return stats

    @torch.no_grad()
    def _step_and_bound(self, optimizer: torch.optim.Optimizer) -> GradientStats:
        before = [p.detach().clone() for p in self._parameters]
        with torch.enable_grad():
            optimizer.step()
        after = [p.detach() for p in self._parameters]
        made = torch._foreach_sub(after, before)
        updates = [update.clone() for update in made]
        extras = self._extras(weights=before, updates=updates)
        try:
            if "moments" in self._needs:
                extras["moments"], factors = self._moments(optimizer, required=True)
                # Clippy's accumulator is taken as it is; StableAdamW corrects its moment.
                if "weights" not in self._needs:
                    extras["factors"] = factors
            stats = self._clip(extras)
        except Exception:
            # An update that nothing bounds is not left in the weights.
            torch._foreach_copy_(after, before)
            raise
        if stats.actions != ("keep",):
            for weight, start, update, was in zip(after, before, updates, made):
                if not torch.equal(update, was):
                    torch.add(start, update, out=weight)
        return stats

    def _clip(self, extras: Optional[dict[str, Any]]) -> GradientStats:
        threads = torch.get_num_threads()
        return self._native.clip(_READER, self._parameters, self._names, threads, extras)

    def _extras(self, **lists: list[Any]) -> dict[str, Any]:
        none = [None] * len(self._parameters)
        ones = [1.0] * len(self._parameters)
        return {"weights": none, "moments": none, "factors": ones, "updates": none, **lists}

    def _moments(
        self, optimizer: torch.optim.Optimizer, required: bool = False
    ) -> tuple[list[Optional[Tensor]], list[float]]:
        """Second moments as they are, and the factors that correct their bias."""
        beta2 = {
            p: group["betas"][1]
            for group in optimizer.param_groups
            if "betas" in group
            for p in group["params"]
        }
        moments: list[Optional[Tensor]] = []
        factors = []
        for p in self._parameters:
            state = optimizer.state.get(p, {})
            kept = (state.get(name) for name in ("exp_avg_sq", "square_avg", "sum"))
            moments.append(next((moment for moment in kept if moment is not None), None))
            # Before the first step there is nothing to correct yet.
            taken = float(state.get("step", 0)) if "exp_avg_sq" in state and p in beta2 else 0.0
            factors.append(1 / (1 - beta2[p] ** taken) if taken > 0 else 1.0)
        stepped = any(p.grad is not None for p in self._parameters)
        if required and stepped and all(moment is None for moment in moments):
            raise TypeError(
                f"this policy needs second moments; {type(optimizer).__name__} keeps none"
            )
        return moments, factors

    def state_dict(self) -> dict[str, Any]:
        """The policy and what it remembers, as plain numbers."""
        return json.loads(self._native.save())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on, to the bit, from where `state_dict` was called.

        Raises:
            ValueError: it is not such a state, or one of another policy.
        """
        self._native.load(json.dumps(state))


def _named(model: Union[nn.Module, _Parameters]) -> tuple[tuple[str, ...], list[Tensor]]:
    if isinstance(model, nn.Module):
        named = dict(model.named_parameters())
        return tuple(named), list(named.values())
    parameters = _listed(model)
    return tuple(map(str, range(len(parameters)))), parameters


def _norms(tensors: list[Tensor]) -> list[float]:
    """Of each tensor, waiting once for each device that is not the CPU."""
    norms = _native.norms(_READER, tensors, torch.get_num_threads())
    rest = [place for place, norm in enumerate(norms) if norm is None]
    if rest:
        reading, _ = measured(_READER, [tensors[place] for place in rest])
        for place, norm in zip(rest, reading.norms(0)):
            norms[place] = norm
    return norms  # type: ignore[return-value]


def _measured(grads: list[Tensor]) -> _native.DeviceReading:
    return measured(_READER, grads)[0]


_READER = _native.Reader(
    tensor=Tensor,
    parameter=nn.Parameter,
    exchange=getattr(Tensor, "__dlpack_c_exchange_api__", None),
    dtypes=_DTYPES,
    increment_version=torch.autograd.graph.increment_version,
    measure=_measured,
    scale=_scale_by_torch,
    clamp=_clamp_by_torch,
)

# Below what they import from here.
from ._cure import Cure, cure  # noqa: E402
from ._guard import Guard, GuardStep, GuardStopped  # noqa: E402
from ._non_finite import NonFinite, find_non_finite  # noqa: E402
from ._probe import Probe, probe  # noqa: E402
