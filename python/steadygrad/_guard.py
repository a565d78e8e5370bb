"""The guard around a PyTorch training step: the judgement is Rust's, Python measures and acts."""

from __future__ import annotations

import inspect
import json
import math
import operator
import os
import warnings
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import _native
from ._ahead import StepAhead
from ._buffers import Buffers
from ._device import OnItsWay
from ._distributed import Local, local, together
from ._snapshot import Snapshot, SnapshotLost, file_of, remove_left
from .clip import Chain, GlobalNorm, Policy
from .torch import _READER, Clipper, GradientStats, _collect, _named, _norms, _scale_by_torch

__all__ = ["Guard", "GuardStopped", "GuardStep"]


class GuardStopped(RuntimeError):
    """The guard gave up: the run is worse than it can mend, and no bad update was applied.

    Weights, buffers and optimizer state are those of the last state that is known to be good, if there is one. The
    message says why.
    """


@dataclass(frozen=True)
class GuardStep:
    """What became of one step."""

    decision: str
    """`keep`; `scale_global`, or what else a policy of your own did (`clamp`, `scale_per_tensor`, ...): clipped;
    `skip`, `lower_learning_rate`, `rollback`; `scaler_skip` where the loss scaler's scale was too large. See
    `applied` for whether the optimizer stepped."""
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
    """Statistics of each parameter's gradient, from before clipping: `gradients.top(3)` names those with
    the largest share of the norm."""
    update_norm: Optional[float] = None
    """Norm of the change that the optimizer made to the weights, at the steps before which a snapshot was
    taken (one in 20 or so); None at the others, where it would cost another copy of the weights."""


# Policies that scale all gradients by one factor: the core's guard sees and records what they do.
_BY_ONE_FACTOR = ("global_norm", "auto_clip", "z_clip", "spike_aware")


class Guard:
    """Stands between `loss.backward()` and `optimizer.step()`, and keeps the run alive.

    .. code-block:: python

        guard = steadygrad.torch.Guard(model, optimizer)
        for inputs, targets in data:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            guard.step(loss)

    Running statistics of normalisation layers, and buffers that are not finite any more, are put back when the step
    whose forward pass wrote to them is not applied; that takes a module, not its parameters. Where the guard's first
    step, or the first after `load_state_dict`, is not applied, only what is not finite is put back, since a checkpoint
    may have been loaded before it: finite statistics keep what the batch did to them.

    A healthy run is left bit for bit as it would have been. What is not healthy is answered one rung at
    a time: clip, skip the step, lower the learning rate, go back to the last good state, stop.
    A NaN or infinite gradient never reaches a weight, but for the preset `observe`, which only watches.

    With gradient accumulation, call `step` in the place of `optimizer.step()`: once for each update. With
    a `GradScaler`, give it to `step` and call neither `unscale_`, `scaler.step` nor `scaler.update`.

    Every parameter of the model and of the optimizers is guarded, also one that is frozen and unfrozen later. Where
    two networks are trained by turns, each with an optimizer of its own, give each a guard of its own.

    Where several processes train together (DistributedDataParallel, or parameters sharded by `fully_shard`),
    give each one a guard and call `step` on all: they judge the mean loss and the norms of the whole model, so
    all take the same decision, and a rollback happens everywhere or nowhere. One process's NaN is every
    one's skip.

    The learning rate that a schedule sets is not changed: a lower one is used for the step alone. A rollback
    restores parameters, buffers and the optimizer's state (of its parameter groups, what it changes itself when it
    steps), not the schedule nor what you set, and training goes on with the batches that follow: one is left out,
    to see whether the weights stand still. Where the restored state has the same bad losses from its first batch
    on, the data are at fault, and a second rollback takes up what the first one left.

    What it cannot see: a batch whose size batch normalisation swallows (its means keep it, no gradient shows
    it), and an update that is too large for the weights where the optimizer is not plain SGD. Weights that you
    change yourself between steps (a decay of your own) look damaged while steps are left out; it takes some
    dozens of steps to find out that this is meant.

    It reads gradients after the backward pass and sets no hooks, so `torch.compile` does not matter to it. A module
    may hold its guard: in a copy of the module, and in a file of it, None is in the guard's place.

    Args:
        model: a module, or its parameters.
        optimizer: one optimizer, or several that step at each `step`.
        preset: how much it may do: `observe`, `careful`, `default` or `aggressive`.
        clip: your own clipping of every step that is applied, in the place of `clip_grad_norm_`: a policy of
            `steadygrad.clip`, or a number for the largest global norm. The guard judges what was before it.
        sensitivity: the detectors' one dial, from 0 (acts on little) to 1 (acts early); the default preset
            has 0.5.
        run_dir: a new or empty folder for a record that `steadygrad diagnose` reads, or that of an earlier run
            of this model, which `load_state_dict` goes on with; of several processes the first writes it.
        snapshot_dir: a folder of this run's own that the last good states are kept in, in the place of memory;
            they are gone with the guard, and those of a process that was killed with the next one. One that
            cannot be read any more is passed over for an older one.

    Raises:
        TypeError: this is no optimizer, or these are no parameters.
        ValueError: there is no such preset, a setting cannot be used, or an optimizer has no learning rate.
        NotImplementedError: an optimizer calls a closure itself (LBFGS); parameters are sharded over some of the processes only or by FSDP's first, flat
            way; or `clip` needs more than a global norm and parameters are sharded, or acts on the update of
            several optimizers.
        RuntimeError: the processes do not hold the same parameters.
        OSError: a folder cannot be used: another process writes there, or `run_dir` holds something else.
    """

    def __init__(
        self,
        model: Union[nn.Module, Iterable[Tensor]],
        optimizer: Union[Optimizer, Sequence[Optimizer]],
        preset: str = "default",
        *,
        clip: Union[None, Policy, float] = None,
        sensitivity: Optional[float] = None,
        run_dir: Union[None, str, os.PathLike[str]] = None,
        snapshot_dir: Union[None, str, os.PathLike[str]] = None,
    ) -> None:
        if isinstance(model, Optimizer):
            raise TypeError("`model` is a module or its parameters, not an optimizer: the model comes first")
        self._model = model if isinstance(model, nn.Module) else None
        self._optimizers = _checked_optimizers(optimizer)
        pairs = _guarded(model, self._optimizers)
        self._names = tuple(name for name, _ in pairs)
        self._parameters = [parameter for _, parameter in pairs]
        self._trained = self._in_groups()
        self._together = together(self._model, self._names, self._parameters)
        # What gradients are read from: this process's part, of a sharded parameter.
        self._held: list[Any] = [
            Local(name, p) if hasattr(p, "placements") else p for name, p in pairs
        ]
        policy, self._clipper = self._clipping(clip)
        self._native = _native.Guard(preset, policy, sensitivity)
        self._measuring = _native.Clipper('{"policy": "chain", "policies": []}')
        # Several processes have to agree first.
        self._ahead = StepAhead(self._optimizers) if self._together is None else None
        self._step = 0
        self._kept: dict[int, Snapshot] = {}
        self._spare: Optional[Snapshot] = None
        # What the optimizers change in their groups when they step; seen at steps before which a snapshot is taken.
        self._found_out: set[str] = set()
        self._taken: Optional[Snapshot] = None
        self._snapshot_dir = None if snapshot_dir is None else Path(snapshot_dir)
        self._rank = "" if self._together is None else f"-rank{self._together.rank}"
        if self._snapshot_dir is not None:
            self._snapshot_dir.mkdir(parents=True, exist_ok=True)
            self._snapshot_lock: Optional[_native.FolderLock] = _native.FolderLock(
                os.fspath(self._snapshot_dir), f"lock{self._rank}"
            )
            remove_left(self._snapshot_dir, self._rank)
            weakref.finalize(self, _forget_all, self._kept, os.getpid())
        self._closed = False
        # The learning rates of the schedule, while a lower one is in their place.
        self._planned: Optional[list[Any]] = None
        self._buffers = Buffers(self._model)
        self._warned = False
        if run_dir is not None and (self._together is None or self._together.rank == 0):
            folder = os.fspath(run_dir)
            self._native.record(folder, os.path.basename(folder), list(self._names))
            # Whoever never calls `close` has the last rows all the same.
            weakref.finalize(self, _sync, self._native, os.getpid())

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
            RuntimeError: the guard was closed, or an optimizer was given new parameters: make another guard. Or a
                gradient is a partial sum over processes: reduce it first.
            OSError: the record or a snapshot cannot be written; or `run_dir` holds an earlier run, and nothing
                was loaded to go on with it. The optimizer has not stepped, but that a device may have applied a
                large model's step before it was recorded.
        """
        scaler = _enabled(scaler)
        if scaler is not None:
            for optimizer in self._optimizers:
                scaler.unscale_(optimizer)
        may_step = scaler is None and self._clipper is None
        judged, snapshot, stepped = self._judge(loss, scaler, may_step)
        try:
            if scaler is not None and judged.decision == "scaler_skip":
                for optimizer in self._optimizers:
                    scaler.step(optimizer)
            elif judged.applied:
                if not stepped:
                    judged = self._apply(judged, scaler)
                if snapshot is not None:
                    judged = replace(judged, update_norm=self._update_norm(snapshot))
        finally:
            self.after_step()
        if scaler is not None:
            scaler.update()
        return judged

    def before_step(
        self, loss: Union[Tensor, float], *, scaler: Optional[torch.amp.GradScaler] = None
    ) -> GuardStep:
        """For a framework that steps the optimizer itself: judges, and makes the gradients ready for it.

        A step that is not to be applied is left without gradients, so that an optimizer which passes
        over parameters without one (all of PyTorch's do) changes nothing. `clip_grad_value_` of PyTorch raises a
        RuntimeError then: where the framework clips by value, let it do so only if `applied`. Call `after_step`
        when the optimizer has stepped, or when the framework has gone on without.

        Args:
            loss: as for `step`.
            scaler: the loss scaler, which has unscaled the gradients already.

        Raises:
            GuardStopped, RuntimeError: as `step` does.
            NotImplementedError: `clip` acts on the optimizer's update: only `step` can do that.
        """
        if self._clipper is not None and _looks_at_optimizer(self._clipper):
            raise NotImplementedError("a policy on the optimizer's update needs `guard.step`")
        judged, _, _ = self._judge(loss, _enabled(scaler), False)
        if judged.applied:
            if self._clipper is not None:
                judged = self._told(judged, self._clipper.clip_())
        elif judged.decision != "scaler_skip":
            for parameter in self._parameters:
                parameter.grad = None
        return judged

    def after_step(self) -> None:
        """Puts the schedule's learning rates back, if `before_step` lowered them, and looks at what the optimizer
        has changed in its parameter groups."""
        if self._planned is not None:
            for group, rate in zip(self._param_groups(), self._planned):
                group["lr"] = rate
            self._planned = None
        if self._taken is not None:
            self._found_out |= self._taken.found_out(self._optimizers)
            self._taken = None

    def _judge(
        self, loss: Union[Tensor, float], scaler: Optional[torch.amp.GradScaler], may_step: bool
    ) -> tuple[GuardStep, Optional[Snapshot], bool]:
        """The step's judgement, the snapshot taken before it, and whether a device has applied it already.
        Scales gradients and learning rates."""
        if self._closed:
            raise RuntimeError("this guard was closed, or gave up: make another one to go on")
        trained = self._in_groups()
        if len(trained) != len(self._trained) or not all(map(operator.is_, trained, self._trained)):
            self._take_in(trained)
        step, stepped = self._step, False
        rates = [float(group["lr"]) for group in self._param_groups()]
        learning_rate = max(rates, default=0.0)
        # Whatever the reading says, the state before it is worth the same.
        snapshot = self._take_if_wanted(step) if scaler is None else None
        if not self._parameters or self._parameters[0].is_cpu:
            loss, stats, weight_norms = self._measured(loss)
        else:
            rate = learning_rate if may_step else None
            loss, stats, weight_norms, stepped = self._measured_on_device(loss, rate)
        if self._together is not None:
            loss, stats, weight_norms = self._together.join(loss, self._names, stats, weight_norms)
        if not len(stats) and not self._warned:
            self._warned = True
            warnings.warn(
                "no parameter has a gradient: call `guard.step` after `loss.backward()`, with the model that the loss "
                "was computed with",
                stacklevel=4,
            )
        if scaler is not None and _scale_was_too_large(stats, loss, scaler):
            if self._together is not None or len(self._optimizers) > 1:
                self._tell_scaler(scaler)
            why = "the loss scaler skips it"
            skip = GuardStep("scaler_skip", False, why, stats.global_norm, 0.0, 1.0, None, (), stats)
            return skip, None, False
        if scaler is not None:
            snapshot = self._take_if_wanted(step)
        self._step += 1
        whole = len(stats) == sum(parameter.requires_grad for parameter in self._parameters)
        norms = list(weight_norms.values())
        judged = self._native.step(step, loss, learning_rate, stats, norms, whole)
        if stepped and not judged.applies:
            warnings.warn(
                f"step {step} was applied, and then judged `{judged.decision}`: {judged.reason}; the guard's "
                "bounds were wrong, please report it",
                stacklevel=3,
            )
        rolled_back_to = None
        detections = tuple(judged.detections)
        while judged.to_step is not None:
            leaves = self._native.wants_abandoned()
            if leaves and step not in self._kept:
                self._take(step)
            why = self._restore(judged.to_step)
            if why is None:
                if leaves:
                    self._native.rolled_back_from(step, judged.to_step)
                else:
                    self._native.rolled_back(judged.to_step)
                rolled_back_to = judged.to_step
                break
            judged = self._native.rollback_failed(judged.to_step, why)
        if judged.applies:
            self._make_ready(judged)
        if judged.applies:
            self._buffers.keep()
        elif rolled_back_to is None:
            self._buffers.put_back()
        if judged.decision == "stop":
            self._leave_last_good()
            self.close()
            raise GuardStopped(judged.reason)
        self._forget(set(self._native.snapshots()))
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
        ), snapshot, stepped

    def _take_if_wanted(self, step: int) -> Optional[Snapshot]:
        self._taken = None
        if not self._native.wants_snapshot(step):
            return None
        snapshot = self._take(step)
        self._taken = self._kept[step]
        self._native.snapshot_taken(step)
        return snapshot

    def _take(self, step: int) -> Optional[Snapshot]:
        """Keeps the state before this step; returns it while it is in memory."""
        snapshot = Snapshot(self._parameters, self._buffers, self._optimizers, self._spare)
        self._spare = None
        if self._snapshot_dir is not None:
            snapshot.write(file_of(self._snapshot_dir, step, self._rank))
        self._kept[step] = snapshot
        return snapshot if self._snapshot_dir is None else None

    def _restore(self, step: int) -> Optional[str]:
        """Goes back to the state before this step, or says why that cannot be done."""
        why, state = None, self._kept.get(step)
        if state is None:
            why = "its snapshot is not kept"
        else:
            try:
                state.read()
            except SnapshotLost as lost:
                why = str(lost)
        if self._together is not None and self._together.any(why is not None):
            # Everywhere or nowhere.
            why = why or "another process has lost its snapshot"
        if why is None and state is not None:
            if self._ahead is not None:
                self._ahead.forget()
            state.restore(self._buffers, self._optimizers, self._found_out)
        return why

    def _leave_last_good(self) -> None:
        good = self._native.last_good()
        if good is not None:
            self._restore(good)

    def _take_in(self, trained: list[Tensor]) -> None:
        """An optimizer was given others of the parameters, as when layers are unfrozen one after the other."""
        known = {id(parameter) for parameter in self._parameters}
        if any(id(parameter) not in known for parameter in trained):
            raise RuntimeError(
                "the optimizer was given parameters that neither the model nor an optimizer had before: make "
                "another Guard, and give its `load_state_dict` this one's `state_dict()`"
            )
        self._trained = trained

    def _make_ready(self, judged: _native.Judgement) -> None:
        if judged.coefficient != 1.0:
            gradients = _collect(self._held)
            gradients.scale(judged.coefficient)
            _scale_by_torch(gradients.rest, judged.coefficient)
        if judged.learning_rate_scale != 1.0:
            groups = self._param_groups()
            self._planned = [group["lr"] for group in groups]
            for group, rate in zip(groups, self._planned):
                group["lr"] = rate * judged.learning_rate_scale

    def _apply(self, judged: GuardStep, scaler: Optional[torch.amp.GradScaler]) -> GuardStep:
        if self._clipper is not None:
            if _looks_at_optimizer(self._clipper):
                # There is one. Its gradients are unscaled and finite: a scaler would only call it too.
                return self._told(judged, self._clipper.step(self._optimizers[0]))
            judged = self._told(judged, self._clipper.clip_())
        for optimizer in self._optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
        return judged

    def _told(self, judged: GuardStep, clipped: GradientStats) -> GuardStep:
        """With what the user's own clipping did."""
        did = [action for action in clipped.actions if action != "keep"]
        if not did:
            return judged
        grads = [p.grad for p in self._parameters if p.grad is not None]
        norm = math.hypot(*_norms(grads))
        return replace(judged, decision=did[-1], grad_norm_clipped=norm)

    def _clipping(self, clip: Union[None, Policy, float]) -> tuple[Optional[str], Optional[Clipper]]:
        """The core's own clipping, or a clipper that acts after it."""
        if clip is None:
            return None, None
        if not isinstance(clip, (Policy, int, float)):
            raise TypeError(f"`clip` is a number or a policy of `steadygrad.clip`, not {clip!r}")
        policy = clip if isinstance(clip, Policy) else GlobalNorm(float(clip))
        if policy._name in _BY_ONE_FACTOR and not isinstance(policy, Chain):
            return json.dumps(policy._checked_settings()), None
        if any(isinstance(held, Local) for held in self._held):
            raise NotImplementedError(
                f"`clip={policy}` would be applied to each process's part by itself; with sharded "
                "parameters use a policy on the global norm"
            )
        clipper = Clipper(self._parameters, policy)
        if _looks_at_optimizer(clipper) and len(self._optimizers) != 1:
            raise NotImplementedError(
                f"`clip={policy}` looks at the optimizer, and there are {len(self._optimizers)}"
            )
        return None, clipper

    def _measured(
        self, loss: Union[Tensor, float]
    ) -> tuple[float, GradientStats, dict[int, float]]:
        """The loss, the gradients' statistics and, by place, norms of the weights that have a gradient."""
        loss = _number(loss)
        stats = self._measuring.clip(
            _READER, self._held, self._names, torch.get_num_threads(), None
        )
        places = [place for place, p in enumerate(self._parameters) if p.grad is not None]
        return loss, stats, dict(zip(places, _norms(self._weights(places))))

    def _measured_on_device(
        self, loss: Union[Tensor, float], learning_rate: Optional[float]
    ) -> tuple[float, GradientStats, dict[int, float], bool]:
        """The same, waiting once for all of it, and whether the step was applied: with a learning rate, the
        device may do that."""
        grads = [held.grad for held in self._held]
        places = [place for place, grad in enumerate(grads) if grad is not None]
        tensors = [grads[place] for place in places] + self._weights(places)
        loss = loss if _is_scalar(loss) else _number(loss)
        way = OnItsWay(_READER, tensors, loss if isinstance(loss, Tensor) else None)
        copied, stepped = None, False
        if self._ahead is not None and self._ahead.can():
            quiet = None if learning_rate is None else self._native.quiet(learning_rate)
            copied, stepped = self._ahead.step(way, places, quiet)
        reading, value = way.read(copied)
        stats = GradientStats.of_reading(self._names, places, reading)
        norms = dict(zip(places, reading.norms(len(places))))
        return value if isinstance(loss, Tensor) else float(loss), stats, norms, stepped

    def _weights(self, places: list[int]) -> list[Tensor]:
        tensors = [self._parameters[place] for place in places]
        if any(isinstance(held, Local) for held in self._held):
            return [local(tensor.detach()) for tensor in tensors]
        return tensors

    def _update_norm(self, snapshot: Snapshot) -> Optional[float]:
        """None where several processes train together: the sum would need another all-reduce."""
        if self._together is not None:
            return None
        return snapshot.change_norm()

    def _tell_scaler(self, scaler: torch.amp.GradScaler) -> None:
        """Whoever holds no bad part of a sharded gradient skips as well, and lowers its scale alike."""
        for optimizer in self._optimizers:
            found = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
            for flag in found.values():
                flag.fill_(1.0)

    def _forget(self, wanted: set[int]) -> None:
        for step in [step for step in self._kept if step not in wanted]:
            dropped = self._kept.pop(step)
            dropped.forget()
            self._spare = dropped if self._snapshot_dir is None else None

    def _param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def _in_groups(self) -> list[Tensor]:
        trained: list[Tensor] = []
        for group in self._param_groups():
            trained += group["params"]
        return trained

    @property
    def counts(self) -> dict[str, int]:
        """How many steps were kept, clipped (by the guard, or by one factor in your own clipping), skipped,
        lowered the learning rate, or rolled back."""
        return dict(self._native.counts())

    def close(self) -> None:
        """Ends the guard and its record, and removes the snapshots that are in files. Without it the record stays
        that of a run which may go on; a process that ends by itself has all rows on the disk, one that is killed
        all but the last 64."""
        self._closed = True
        self._native.finish()
        if self._snapshot_dir is not None:
            self._forget(set())
            self._snapshot_lock = None

    def __reduce__(self) -> tuple[Any, ...]:
        # It belongs to one model and its optimizer.
        return type(None), ()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """The guard's running scales and budgets, as plain numbers. The states that it may go back to are
        not in it: after loading, the first is taken within a few steps. The record is on the disk up to here
        when this returns.

        Raises:
            OSError: the record cannot be written.
        """
        clipper = None if self._clipper is None else self._clipper.state_dict()
        return {"step": self._step, "guard": json.loads(self._native.save()), "clip": clipper}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from where `state_dict` was called, in the record as well: what it holds of later steps is
        passed over from then on.

        Raises:
            ValueError: it is not such a state, or one of other settings.
            OSError: the record cannot be gone on with.
        """
        if not isinstance(state, dict) or not {"step", "guard", "clip"} <= state.keys():
            raise ValueError("this is not what a guard's `state_dict()` gave")
        if (state["clip"] is None) != (self._clipper is None):
            raise ValueError("the saved state is of a guard with another `clip`; make the Guard with the one it had")
        step = int(state["step"])
        for damage in self._native.load(json.dumps(state["guard"]), step):
            warnings.warn(f"the record is damaged, and goes on: {damage}", stacklevel=2)
        if self._clipper is not None:
            self._clipper.load_state_dict(state["clip"])
        self._step = step
        if self._ahead is not None:
            self._ahead.forget()
        self._forget(set())
        self._buffers = Buffers(self._model)


def _sync(native: _native.Guard, process: int) -> None:
    # A process that was forked holds the same rows.
    if os.getpid() == process:
        native.sync()


def _forget_all(kept: dict[int, Snapshot], process: int) -> None:
    if os.getpid() == process:
        for snapshot in kept.values():
            snapshot.forget()


def _checked_optimizers(optimizer: Union[Optimizer, Sequence[Optimizer]]) -> list[Optimizer]:
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else optimizer
    if not isinstance(optimizers, Sequence) or not all(isinstance(each, Optimizer) for each in optimizers):
        raise TypeError(
            f"`optimizer` is an optimizer of `torch.optim`, or a list of them, not {type(optimizer).__name__}"
        )
    for each in optimizers:
        closure = inspect.signature(type(each).step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise NotImplementedError(
                f"{type(each).__name__} evaluates the loss itself, several times a step, where no guard can stand between"
            )
        if any(group.get("lr") is None for group in each.param_groups):
            raise ValueError(
                f"{type(each).__name__} chooses its learning rate itself (`lr` is None), where the guard can neither "
                "see nor lower it: give every parameter group an `lr` (Adafactor: with `relative_step=False`)"
            )
    return list(optimizers)


def _guarded(
    model: Union[nn.Module, Iterable[Tensor]], optimizers: list[Optimizer]
) -> list[tuple[str, Tensor]]:
    """All that can ever get a gradient, by name: of the model, and what the optimizers hold beside it."""
    names, parameters = _named(model)
    if not all(isinstance(parameter, Tensor) for parameter in parameters):
        raise TypeError("`model` is a module or its parameters: `model.parameters()`, not `named_parameters()`")
    pairs = list(zip(names, parameters))
    known = {id(parameter) for parameter in parameters}
    trained = {id(p) for each in optimizers for group in each.param_groups for p in group["params"]}
    if known and trained and not known & trained:
        raise ValueError(
            "the optimizer holds none of the model's parameters: make it of this model's, after the model is sharded or "
            "moved for good"
        )
    for number, optimizer in enumerate(optimizers):
        held = [p for group in optimizer.param_groups for p in group["params"]]
        others = [(place, p) for place, p in enumerate(held) if id(p) not in known]
        pairs += [(f"optimizer.{number}.{place}", p) for place, p in others]
        known |= {id(p) for _, p in others}
    # Quantized weights are numbers of another kind.
    return [(name, p) for name, p in pairs if p.is_floating_point() or p.is_complex()]


def _is_scalar(loss: Any) -> bool:
    return isinstance(loss, Tensor) and loss.numel() == 1


def _number(loss: Any) -> float:
    if isinstance(loss, Tensor) and loss.numel() != 1:
        raise ValueError(f"`loss` has the shape {tuple(loss.shape)}: give one number, such as `loss.mean()`")
    if isinstance(loss, (list, tuple, dict)):
        raise TypeError(f"`loss` is a {type(loss).__name__}: give one number, the sum of what was called backward on")
    return float(loss.detach()) if isinstance(loss, Tensor) else float(loss)


def _looks_at_optimizer(clipper: Clipper) -> bool:
    return clipper._native.acts_on_update or "moments" in clipper._needs


def _enabled(scaler: Optional[torch.amp.GradScaler]) -> Optional[torch.amp.GradScaler]:
    """One that is not enabled scales nothing and skips nothing."""
    return scaler if scaler is not None and scaler.is_enabled() else None


def _scale_was_too_large(stats: GradientStats, loss: float, scaler: torch.amp.GradScaler) -> bool:
    """A finite loss whose gradients are not: what a scaler is there for, while its scale enlarges anything."""
    return stats.non_finite > 0 and math.isfinite(loss) and scaler.get_scale() > 1.0
