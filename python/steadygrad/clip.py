"""Clipping policies for `steadygrad.torch.Clipper` and `steadygrad.torch.Guard`.

Each policy is an immutable set of settings. Making a `Clipper` or a `Guard` checks them, and raises
a ValueError for one that is out of range. NaN and infinite values never enter a policy's running
state. A gradient that holds one is never scaled, because scaling would spread it; `Value` clamps
infinite values and leaves NaN.

In the formulas g is a gradient, w its weights, v the optimizer's running mean of g^2. Norms are L2
unless another is named. "Global" means over all parameters together.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "AdaGC",
    "AdaptiveGradient",
    "AutoClip",
    "Chain",
    "Clippy",
    "GlobalNorm",
    "Policy",
    "SpikeAware",
    "TensorNorm",
    "UpdateRms",
    "Value",
    "ZClip",
]


class Policy:
    """The base of all policies."""

    _name: ClassVar[str]
    _scales_all: ClassVar[bool] = False
    """Whether it multiplies all gradients by one factor, computed from their global norm alone.

    The guard itself runs such a policy, and records what it does. All others need a `Clipper`."""

    def _settings(self) -> dict[str, Any]:
        return {"policy": self._name, **asdict(self)}  # type: ignore[call-overload]

    def _checked_settings(self) -> dict[str, Any]:
        """Returns the settings as plain numbers.

        JSON has no infinity and the native part would not see the field, so it is refused here.
        """
        settings = self._settings()
        for field, value in settings.items():
            if field == "policies" or value is None or isinstance(value, (str, int)):
                continue
            settings[field] = float(value)
            if not math.isfinite(settings[field]):
                raise ValueError(f"{self._name}.{field} is {value}; give a finite number")
        return settings


@dataclass(frozen=True)
class Value(Policy):
    """Clamps each value: g <- clamp(g, -max_abs, max_abs)."""

    max_abs: float
    _name: ClassVar[str] = "value"


@dataclass(frozen=True)
class TensorNorm(Policy):
    """Scales each tensor: g <- g min(1, max_norm / |g|)."""

    max_norm: float
    _name: ClassVar[str] = "tensor_norm"


@dataclass(frozen=True)
class GlobalNorm(Policy):
    """Scales all tensors by one factor: g <- g min(1, max_norm / global norm).

    `norm` is "l2" or "l_inf" (the largest absolute value). Pascanu et al. 2013.
    """

    max_norm: float
    norm: Literal["l2", "l_inf"] = "l2"
    _name: ClassVar[str] = "global_norm"
    _scales_all: ClassVar[bool] = True


@dataclass(frozen=True)
class AdaptiveGradient(Policy):
    """AGC: limits the norm of each output unit i to |g_i| <= clipping max(|w_i|, eps).

    A unit is a row of a matrix, a filter of a convolution, or a whole vector. The paper leaves the
    final layer out: give `Clipper` only the parameters to clip. Brock et al. 2021.
    """

    clipping: float = 0.01
    eps: float = 1e-3
    _name: ClassVar[str] = "adaptive_gradient"


@dataclass(frozen=True)
class AutoClip(Policy):
    """Limits the global norm to the `percentile`-th percentile of the last `window` norms.

    Seetharaman et al. 2020.
    """

    percentile: float = 10.0
    window: int = 10_000
    _name: ClassVar[str] = "autoclip"
    _scales_all: ClassVar[bool] = True


@dataclass(frozen=True)
class ZClip(Policy):
    """Limits the global norm by its running mean mu and standard deviation sigma.

    A norm with z = (norm - mu) / sigma > z_threshold becomes mu + z_threshold^2 / z sigma.
    `max_norm` is an additional fixed bound, or None. Kumar et al. 2025.
    """

    alpha: float = 0.97
    z_threshold: float = 2.5
    warmup_steps: int = 25
    max_norm: float | None = 1.0
    _name: ClassVar[str] = "zclip"
    _scales_all: ClassVar[bool] = True


@dataclass(frozen=True)
class AdaGC(Policy):
    """Scales each tensor by its own running norm gamma: g <- g min(1, ratio gamma / |g|).

    For the first `warmup_steps` the global norm is clipped to `warmup_max_norm`. Wang et al. 2025.
    """

    warmup_steps: int = 100
    warmup_max_norm: float = 1.0
    ratio: float = 1.05
    decay: float = 0.98
    _name: ClassVar[str] = "adagc"


@dataclass(frozen=True)
class SpikeAware(Policy):
    """SPAM: limits each value to |g| <= sqrt(ratio v), after `grace_steps`.

    It reads v, so it needs `Clipper.step(optimizer)` or `Guard.step`. Huang et al. 2025.
    """

    ratio: float = 5000.0
    grace_steps: int = 20
    _name: ClassVar[str] = "spike_aware"


@dataclass(frozen=True)
class UpdateRms(Policy):
    """StableAdamW: scales each tensor's update by 1 / max(1, RMS).

    RMS = sqrt(mean(g^2 / max(v, eps^2))). It needs `Clipper.step(optimizer)` or `Guard.step`.
    Wortsman et al. 2023.
    """

    eps: float = 1e-8
    _name: ClassVar[str] = "update_rms"


@dataclass(frozen=True)
class Clippy(Policy):
    """Scales each tensor's update u, so that no weight changes by more than a share of itself.

    u <- u min(1, min_i (relative |w_i| + accumulator / sqrt(v_i) + absolute) / |u_i|). It needs
    `Clipper.step(optimizer)` or `Guard.step`. Tang et al. 2023.
    """

    relative: float = 0.1
    accumulator: float = 0.0
    absolute: float = 1e-7
    _name: ClassVar[str] = "clippy"


@dataclass(frozen=True, init=False)
class Chain(Policy):
    """Applies several policies in order, each to the result of the previous one.

    For example `Chain(Value(1.0), ZClip())`.
    """

    policies: tuple[Policy, ...]
    _name: ClassVar[str] = "chain"

    def __init__(self, *policies: Policy) -> None:
        for each in policies:
            if not isinstance(each, Policy):
                raise TypeError(f"Chain takes policies, as in Chain(Value(1.0)), not {each!r}")
        object.__setattr__(self, "policies", policies)

    def _settings(self) -> dict[str, Any]:
        each = [policy._checked_settings() for policy in self.policies]
        return {"policy": self._name, "policies": each}
