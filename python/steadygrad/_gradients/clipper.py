"""Runs a clipping policy on the gradients of a model."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from .. import _native
from .._native import GradientStats
from ..clip import GlobalNorm, Policy
from .reader import READER, Parameters, named_parameters


class Clipper:
    """Clips by a policy and returns the gradients' statistics, in one pass over memory.

    For sharded gradients (FSDP2, `DTensor`) the statistics are those of the whole tensors: every
    process must call it then.

    Args:
        model: a module, or parameters. Parameters that are added to the module later are not
            clipped: make another `Clipper` then.
        policy: one of `steadygrad.clip`; a number means `GlobalNorm(number)`.

    Raises:
        ValueError: a setting of the policy is out of range; the message names it.
    """

    def __init__(self, model: nn.Module | Parameters, policy: Policy | float) -> None:
        if not isinstance(policy, Policy):
            policy = GlobalNorm(float(policy))
        self._names, self._parameters = named_parameters(model)
        self._native = _native.Clipper(json.dumps(policy._checked_settings()))
        self._needs = set(self._native.needs)

    @property
    def needs_optimizer(self) -> bool:
        """Whether the policy reads the optimizer's state or its update: then call `step`."""
        return self._native.acts_on_update or "moments" in self._needs

    def clip_(self) -> GradientStats:
        """Clips the gradients in place and returns their statistics from *before* the clipping.

        Raises:
            RuntimeError: the policy reads the optimizer: call `step` instead.
            NotImplementedError: the policy needs more than norms, and a gradient is not a dense CPU
                tensor.
        """
        if self.needs_optimizer:
            raise RuntimeError("this policy looks at the optimizer: call `step(optimizer)`")
        if not self._needs:
            return self._clip(None)
        return self._clip(self._extras(weights=[p.detach() for p in self._parameters]))

    def step(self, optimizer: torch.optim.Optimizer) -> GradientStats:
        """Clips, steps the optimizer, and returns the gradients' statistics from before both.

        A policy that acts on the update reduces the optimizer's change of each weight after its
        step. A change within the bound stays as the optimizer made it. Second moments are
        `exp_avg_sq` (Adam and its variants), `square_avg` (RMSprop) or `sum` (Adagrad) of the
        optimizer's state; parameters that have none yet are not clipped. If a policy that acts on
        the update fails, the weights are restored; the optimizer's state is not.

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
                # Clippy uses the raw accumulator; StableAdamW corrects the moment's bias.
                if "weights" not in self._needs:
                    extras["factors"] = factors
            stats = self._clip(extras)
        except Exception:
            # An unbounded update must not stay in the weights.
            torch._foreach_copy_(after, before)
            raise
        if stats.actions != ("keep",):
            for weight, start, update, original in zip(after, before, updates, made):
                if not torch.equal(update, original):
                    torch.add(start, update, out=weight)
        return stats

    def _clip(self, extras: dict[str, Any] | None) -> GradientStats:
        threads = torch.get_num_threads()
        return self._native.clip(READER, self._parameters, self._names, threads, extras)

    def _extras(self, **lists: list[Any]) -> dict[str, Any]:
        none = [None] * len(self._parameters)
        ones = [1.0] * len(self._parameters)
        return {"weights": none, "moments": none, "factors": ones, "updates": none, **lists}

    def _moments(
        self, optimizer: torch.optim.Optimizer, required: bool = False
    ) -> tuple[list[Tensor | None], list[float]]:
        """Returns the second moments as stored, and the factors that correct their bias."""
        beta2 = {
            p: group["betas"][1]
            for group in optimizer.param_groups
            if "betas" in group
            for p in group["params"]
        }
        moments: list[Tensor | None] = []
        factors = []
        for p in self._parameters:
            state = optimizer.state.get(p, {})
            stored = (state.get(name) for name in ("exp_avg_sq", "square_avg", "sum"))
            moments.append(next((moment for moment in stored if moment is not None), None))
            # Before the first step there is no bias to correct.
            taken = float(state.get("step", 0)) if "exp_avg_sq" in state and p in beta2 else 0.0
            factors.append(1 / (1 - beta2[p] ** taken) if taken > 0 else 1.0)
        stepped = any(p.grad is not None for p in self._parameters)
        if required and stepped and all(moment is None for moment in moments):
            raise TypeError(
                f"this policy needs second moments; {type(optimizer).__name__} keeps none"
            )
        return moments, factors

    def state_dict(self) -> dict[str, Any]:
        """Returns the policy and its running state, as plain numbers."""
        state: dict[str, Any] = json.loads(self._native.save())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from where `state_dict` was called, to the bit.

        Raises:
            ValueError: this is not such a state, or it is one of another policy.
        """
        self._native.load(json.dumps(state))
