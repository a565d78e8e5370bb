"""The user's own clipping inside a guarded step."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from torch import Tensor
from torch.optim import Optimizer

from .._gradients.clipper import Clipper
from .._gradients.reader import norms_of
from .._native import GradientStats
from ..clip import GlobalNorm, Policy
from .step import GuardStep


class UserClipping:
    """A policy that the native guard runs itself, or a `Clipper` that acts after its judgement.

    Raises:
        TypeError: `clip` is neither a policy nor a number.
        NotImplementedError: the policy needs more than a global norm and parameters are sharded,
            or it reads the optimizer and there are several.
    """

    def __init__(
        self,
        clip: Policy | float | None,
        parameters: list[Tensor],
        optimizers: list[Optimizer],
        sharded: bool,
    ) -> None:
        self.native_policy: str | None = None
        """The policy as JSON, if the native guard runs it."""
        self.clipper: Clipper | None = None
        self._parameters = parameters
        if clip is None:
            return
        if not isinstance(clip, (Policy, int, float)):
            raise TypeError(f"`clip` is a number or a policy of `steadygrad.clip`, not {clip!r}")
        policy = clip if isinstance(clip, Policy) else GlobalNorm(float(clip))
        if policy._scales_all:
            self.native_policy = json.dumps(policy._checked_settings())
            return
        if sharded:
            raise NotImplementedError(
                f"`clip={policy}` would clip each process's part by itself; with sharded "
                "parameters use a policy on the global norm"
            )
        self.clipper = Clipper(parameters, policy)
        if self.needs_optimizer and len(optimizers) != 1:
            raise NotImplementedError(
                f"`clip={policy}` looks at the optimizer, and there are {len(optimizers)}"
            )

    @property
    def needs_optimizer(self) -> bool:
        """Whether the policy must step the optimizer itself."""
        return self.clipper is not None and self.clipper.needs_optimizer

    def clip(self, step: GuardStep) -> GuardStep:
        """Clips the gradients, and returns the step with what the policy did."""
        return step if self.clipper is None else self._report(step, self.clipper.clip_())

    def clip_and_step(self, step: GuardStep, optimizer: Optimizer) -> GuardStep:
        """Clips and steps the optimizer, for a policy that reads it."""
        return step if self.clipper is None else self._report(step, self.clipper.step(optimizer))

    def _report(self, step: GuardStep, clipped: GradientStats) -> GuardStep:
        actions = [action for action in clipped.actions if action != "keep"]
        if not actions:
            return step
        grads = [p.grad for p in self._parameters if p.grad is not None]
        norm = math.hypot(*norms_of(grads))
        return replace(step, decision=actions[-1], grad_norm_clipped=norm)
