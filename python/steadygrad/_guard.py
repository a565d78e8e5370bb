"""The guard around a PyTorch training step: the judgement is Rust's, Python measures and acts."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import _native
from .torch import _READER, GradientStats, _collect, _named, _scale_by_torch

__all__ = ["Guard", "GuardStopped", "GuardStep"]


class GuardStopped(RuntimeError):
    """The guard gave up: the run is worse than it can mend, and no bad update was applied.

    The weights are the last good ones. The message says why.
    """


@dataclass(frozen=True)
class GuardStep:
    """What became of one step."""

    decision: str
    """`keep`, `scale_global` (clipped), `skip`, `lower_learning_rate`, `rollback`."""
    applied: bool
    """Whether the optimizer stepped."""
    reason: Optional[str]
    """Why it did not."""
    grad_norm: float
    """Global norm of the gradients before clipping."""
    grad_norm_clipped: float
    """The same as it was applied; 0 when it was not."""
    learning_rate_scale: float
    """What the learning rate was multiplied by; 1 while nothing is wrong."""
    rolled_back_to: Optional[int]
    """The step whose state was restored."""
    detections: tuple[str, ...]
    """What was seen, in words."""
    gradients: GradientStats
    """Statistics of each parameter's gradient, from before clipping."""


class Guard:
    """Stands between `loss.backward()` and `optimizer.step()`, and keeps the run alive.

    .. code-block:: python

        guard = steadygrad.torch.Guard(model, optimizer)
        for inputs, targets in data:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            guard.step(loss)

    Buffers that the forward pass of a step wrote to (batch normalisation's means) are put back when the step
    is not applied.

    A healthy run is left bit for bit as it would have been. What is not healthy is answered one rung at
    a time: clip, skip the step, lower the learning rate, go back to the last good state (kept in memory), stop.
    A NaN or infinite gradient never reaches a weight, but for the preset `observe`, which only watches.

    With gradient accumulation, call `step` in the place of `optimizer.step()`: once for each update. With
    a `GradScaler`, give it to `step` and call neither `unscale_`, `scaler.step` nor `scaler.update`.

    The learning rate that a schedule sets is not changed: a lower one is used for the step alone. A rollback
    restores parameters, buffers and the optimizer's state, not the schedule, and training goes on with the
    next batch.

    What it cannot see: a batch whose size batch normalisation swallows (its means keep it, no gradient shows
    it), and an update that is too large for the weights where the optimizer is not plain SGD.

    It reads gradients after the backward pass and sets no hooks, so `torch.compile` does not matter to it.

    Args:
        model: a module, or its parameters.
        optimizer: one optimizer, or several that step together.
        preset: how much it may do: `observe`, `careful`, `default` or `aggressive`.
        run_dir: a new or empty folder for a record that `steadygrad diagnose` reads.

    Raises:
        ValueError: there is no such preset.
        NotImplementedError: the parameters are sharded, or several processes train together: each would
            decide for itself.
        OSError: the folder cannot be used.
    """

    def __init__(
        self,
        model: Union[nn.Module, Iterable[Tensor]],
        optimizer: Union[Optimizer, Sequence[Optimizer]],
        preset: str = "default",
        *,
        run_dir: Union[None, str, os.PathLike[str]] = None,
    ) -> None:
        self._model = model if isinstance(model, nn.Module) else None
        names, parameters = _named(model)
        pairs = [(n, p) for n, p in zip(names, parameters) if p.requires_grad]
        self._names = tuple(name for name, _ in pairs)
        self._parameters = [parameter for _, parameter in pairs]
        one = isinstance(optimizer, Optimizer)
        self._optimizers: list[Optimizer] = [optimizer] if one else list(optimizer)  # type: ignore[arg-type, list-item]
        self._groups = self._count_groups()
        _refuse_distributed(self._parameters)
        self._native = _native.Guard(preset)
        self._measuring = _native.Clipper('{"policy": "chain", "policies": []}')
        self._step = 0
        self._kept: dict[int, _State] = {}
        # A forward pass writes to buffers (batch normalisation's means) before anybody can judge it.
        self._buffers = [] if self._model is None else list(self._model.buffers())
        self._good_buffers = [buffer.detach().clone() for buffer in self._buffers]
        if run_dir is not None:
            folder = os.fspath(run_dir)
            self._native.record(folder, os.path.basename(folder), list(self._names))

    def step(
        self, loss: Union[Tensor, float], *, scaler: Optional[torch.amp.GradScaler] = None
    ) -> GuardStep:
        """Measures the gradients, and steps the optimizer unless that would do harm.

        Args:
            loss: of this step's batch, not scaled; with accumulation, the mean over the update's batches.
            scaler: the loss scaler that scaled it. A step that it skips because its scale was too large is no
                incident: it is not shown to the guard.

        Raises:
            GuardStopped: the guard gave up.
            RuntimeError: parameters were added to an optimizer: make another guard.
        """
        if self._count_groups() != self._groups:
            raise RuntimeError("parameters were added to the optimizer: make another Guard")
        loss = float(loss.detach()) if isinstance(loss, Tensor) else float(loss)
        if scaler is not None and scaler.is_enabled():
            for optimizer in self._optimizers:
                scaler.unscale_(optimizer)
        else:
            scaler = None
        step = self._step
        if self._native.wants_snapshot(step):
            self._kept[step] = _State(self._model, self._parameters, self._optimizers)
            self._native.snapshot_taken(step)
        threads = torch.get_num_threads()
        stats = self._measuring.clip(_READER, self._parameters, self._names, threads, None)
        if scaler is not None and _scale_was_too_large(stats, loss):
            for optimizer in self._optimizers:
                scaler.step(optimizer)
            scaler.update()
            return GuardStep(
                "skip", False, "the loss scaler skips it", stats.global_norm, 0.0, 1.0, None, (), stats
            )
        self._step += 1
        held = [p for p in self._parameters if p.grad is not None]
        rates = [float(g["lr"]) for o in self._optimizers for g in o.param_groups]
        judged = self._native.step(
            step, loss, max(rates, default=0.0), stats, _weight_norms(held)
        )
        rolled_back_to = None
        detections = tuple(judged.detections)
        while judged.to_step is not None:
            state = self._kept.get(judged.to_step)
            if state is not None:
                state.restore(self._model, self._parameters, self._optimizers)
                self._native.rolled_back(judged.to_step)
                rolled_back_to = judged.to_step
                break
            judged = self._native.rollback_failed(judged.to_step, "its snapshot is not kept")
        if judged.applies:
            self._apply(judged, scaler)
        if judged.applies or rolled_back_to is not None:
            _copy(self._buffers, self._good_buffers)
        else:
            _copy(self._good_buffers, self._buffers)
        if scaler is not None:
            scaler.update()
        wanted = set(self._native.snapshots())
        self._kept = {kept: state for kept, state in self._kept.items() if kept in wanted}
        if judged.decision == "stop":
            self.close()
            raise GuardStopped(judged.reason)
        return GuardStep(
            judged.decision,
            judged.applies,
            judged.reason,
            stats.global_norm,
            judged.coefficient * stats.global_norm if judged.applies else 0.0,
            judged.learning_rate_scale,
            rolled_back_to,
            detections,
            stats,
        )

    def _apply(self, judged: _native.Judgement, scaler: Optional[torch.amp.GradScaler]) -> None:
        if judged.coefficient != 1.0:
            gradients = _collect(self._parameters)
            gradients.scale(judged.coefficient)
            _scale_by_torch(gradients.rest, judged.coefficient)
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        planned = [group["lr"] for group in groups]
        scale = judged.learning_rate_scale
        if scale != 1.0:
            for group, rate in zip(groups, planned):
                group["lr"] = rate * scale
        try:
            for optimizer in self._optimizers:
                if scaler is None:
                    optimizer.step()
                else:
                    scaler.step(optimizer)
        finally:
            if scale != 1.0:
                for group, rate in zip(groups, planned):
                    group["lr"] = rate

    @property
    def counts(self) -> dict[str, int]:
        """How many steps were kept, clipped, skipped, lowered the learning rate, or rolled back."""
        return dict(self._native.counts())

    def close(self) -> None:
        """Ends the record. What was written before is safe without it."""
        self._native.finish()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """The guard's running scales and budgets, as plain numbers. The states that it may go back to are
        not in it: after loading, the first is taken within a few steps."""
        return {"step": self._step, "guard": json.loads(self._native.save())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was called.

        Raises:
            ValueError: it is not such a state, or one of another preset.
        """
        self._native.load(json.dumps(state["guard"]))
        self._step = int(state["step"])
        self._kept.clear()

    def _count_groups(self) -> int:
        groups = (group for optimizer in self._optimizers for group in optimizer.param_groups)
        return sum(len(group["params"]) for group in groups)


def _scale_was_too_large(stats: GradientStats, loss: float) -> bool:
    """A finite loss whose gradients are not: what a scaler is there for."""
    return stats.non_finite > 0 and loss - loss == 0.0


@torch.no_grad()
def _copy(tensors: list[Tensor], to: list[Tensor]) -> None:
    for tensor, copy_of in zip(tensors, to):
        copy_of.copy_(tensor)


@torch.no_grad()
def _weight_norms(parameters: list[Tensor]) -> list[float]:
    if not parameters:
        return []
    norms = torch._foreach_norm([p.detach() for p in parameters])
    return torch.stack([norm.to("cpu", torch.float64) for norm in norms]).tolist()


def _refuse_distributed(parameters: list[Tensor]) -> None:
    distributed = torch.distributed
    together = distributed.is_available() and distributed.is_initialized()
    if together and distributed.get_world_size() > 1:
        raise NotImplementedError("several processes train together: each would decide for itself")
    if any(hasattr(parameter, "placements") for parameter in parameters):
        raise NotImplementedError("sharded parameters (DTensor) are not guarded")


class _State:
    """Copies of parameters, buffers and the optimizers' states."""

    @torch.no_grad()
    def __init__(
        self, model: Optional[nn.Module], parameters: list[Tensor], optimizers: list[Optimizer]
    ) -> None:
        self._tensors = [tensor.detach().clone() for tensor in _tensors(model, parameters)]
        # A copy of its own: an optimizer steps in place.
        self._states = [copy.deepcopy(o.state_dict()["state"]) for o in optimizers]

    @torch.no_grad()
    def restore(
        self, model: Optional[nn.Module], parameters: list[Tensor], optimizers: list[Optimizer]
    ) -> None:
        for tensor, kept in zip(_tensors(model, parameters), self._tensors):
            tensor.copy_(kept)
        for optimizer, state in zip(optimizers, self._states):
            # The groups as they are now: the schedule goes on.
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": copy.deepcopy(state), "param_groups": groups})


def _tensors(model: Optional[nn.Module], parameters: list[Tensor]) -> list[Tensor]:
    if model is None:
        return parameters
    return [*model.parameters(), *model.buffers()]
