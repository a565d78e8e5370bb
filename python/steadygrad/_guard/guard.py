"""The guard around a PyTorch training step."""

from __future__ import annotations

import json
import os
import warnings
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import _native
from .._native import GradientStats
from ..clip import Policy
from .arguments import check_optimizers, guarded_parameters
from .buffers import BufferCopies
from .clipping import UserClipping
from .distributed import join_processes
from .low_precision import LowPrecisionWeights
from .measuring import StepMeasurer
from .param_groups import ParamGroups
from .scaler import enabled_scaler, mark_non_finite, scale_was_too_large, scaler_skip
from .snapshot import Snapshot
from .snapshots import SnapshotStore
from .step import GuardStep, GuardStopped, step_result


class _Judgement(NamedTuple):
    step: GuardStep
    snapshot: Snapshot | None = None
    """The snapshot taken before the step, if it is in memory."""
    stepped: bool = False
    """Whether a device has applied the step already."""


class Guard:
    """Stands between `loss.backward()` and `optimizer.step()`, and keeps the run alive.

    .. code-block:: python

        guard = steadygrad.torch.Guard(model, optimizer)
        for inputs, targets in data:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            guard.step(loss)

    A healthy run stays as it would have been, bit for bit. The guard answers trouble with one
    measure at a time: clip, skip the step, lower the learning rate, go back to the last good
    state, stop. A NaN or infinite gradient never reaches a weight, except with the preset
    `observe`, which only watches.

    Gradient accumulation: call `step` once per update, instead of `optimizer.step()`. With a
    `GradScaler`, give it to `step` and call neither `unscale_`, `scaler.step` nor `scaler.update`.

    Parameters: every parameter of the model and of the optimizers is guarded, also one that is
    frozen and unfrozen later. If two networks train alternately, each with its own optimizer, make
    a guard for each.

    Several processes (DistributedDataParallel, or parameters sharded by `fully_shard`): make a
    guard in each process and call `step` in all of them. They judge the mean loss and the norms of
    the whole model, so all make the same decision. A NaN in one process skips the step in all, and
    a rollback happens in all processes or in none.

    Learning rate: the schedule's rate stays; a lower one is used during the step alone.

    Rollback: it restores parameters, buffers, the optimizer's state, and the entries of its
    parameter groups that the optimizer itself changes. It does not restore the schedule or what you
    set. Training continues with the next batches. One of them is left out, to check that nothing
    else writes to the weights. If the restored state has the same bad losses from its first batch
    on, the data are at fault: a second rollback then restores what the first one abandoned.

    Buffers: if a step is not applied, the running statistics of normalisation layers and all
    buffers that are no longer finite are restored. That needs a module, not its parameters. At the
    guard's first step, and the first after `load_state_dict`, only non-finite buffers are restored,
    since a checkpoint may have been loaded before it.

    What the guard cannot see: a wrongly scaled batch that batch normalisation rescales, so that no
    gradient shows it; and an update that is too large for the weights, unless the optimizer is
    plain SGD. Weights that you change yourself between steps (your own decay) look damaged while
    steps are left out; after some dozens of steps the guard accepts that as intended.

    The guard reads gradients after the backward pass and sets no hooks, so it works with
    `torch.compile`. A module may hold its guard: a copy of the module, or a file of it, holds None
    instead.

    Args:
        model: a module, or its parameters.
        optimizer: one optimizer, or several that step at each `step`.
        preset: how much it may do: `observe`, `careful`, `default` or `aggressive`.
        clip: your own clipping of every applied step, instead of `clip_grad_norm_`: a policy of
            `steadygrad.clip`, or a number for the largest global norm. The guard judges the
            gradients before it.
        sensitivity: of all detectors, from 0 (acts rarely) to 1 (acts early). The default preset
            has 0.5.
        run_dir: a new or empty folder for a record that `steadygrad diagnose` reads; or that of an
            earlier run of this model, which `load_state_dict` continues. With several processes the
            first one writes it.
        snapshot_dir: a folder for this run alone, where the last good states are stored instead of
            in memory. The files are removed with the guard; those of a killed process are removed
            by the next one. If a file cannot be read, an older one is used.

    Raises:
        TypeError: `optimizer` is not an optimizer, or `model` is not a module or parameters.
        ValueError: the preset does not exist, a setting is out of range, or an optimizer has no
            learning rate.
        NotImplementedError: an optimizer calls a closure itself (LBFGS); parameters are sharded
            over only some of the processes, or by FSDP1; `clip` needs more than a global norm and
            parameters are sharded; or `clip` reads the optimizer and there are several.
        RuntimeError: the processes do not hold the same parameters.
        OSError: a folder cannot be used: another process writes there, or `run_dir` holds something
            else.
    """

    def __init__(
        self,
        model: nn.Module | Iterable[Tensor],
        optimizer: Optimizer | Sequence[Optimizer],
        preset: str = "default",
        *,
        clip: Policy | float | None = None,
        sensitivity: float | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        snapshot_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(model, Optimizer):
            raise TypeError(
                "`model` is a module or its parameters, not an optimizer: the model comes first"
            )
        self._model = model if isinstance(model, nn.Module) else None
        self._optimizers = check_optimizers(optimizer)
        pairs = guarded_parameters(model, self._optimizers)
        self._parameters = [parameter for _, parameter in pairs]
        self._groups = ParamGroups(self._optimizers, self._parameters)
        names = tuple(name for name, _ in pairs)
        self._processes = join_processes(self._model, names, self._parameters)
        self._measurer = StepMeasurer(pairs, self._optimizers, self._processes)
        self._clipping = UserClipping(
            clip, self._parameters, self._optimizers, self._measurer.sharded
        )
        self._native = _native.Guard(preset, self._clipping.native_policy, sensitivity)
        self._step = 0
        self._snapshots = SnapshotStore(
            self._parameters, self._optimizers, self._processes, snapshot_dir
        )
        self._closed = False
        self._buffers = BufferCopies(self._model)
        self._low_precision = LowPrecisionWeights(pairs, self._optimizers)
        self._warned = False
        if run_dir is not None and (self._processes is None or self._processes.rank == 0):
            folder = os.fspath(run_dir)
            self._native.record(folder, os.path.basename(folder), list(names))
            # Without a call of `close` the last rows must reach the disk as well.
            weakref.finalize(self, _sync, self._native, os.getpid())

    def step(
        self, loss: Tensor | float, *, scaler: torch.amp.GradScaler | None = None
    ) -> GuardStep:
        """Measures the gradients, and steps the optimizer unless the step would do harm.

        Args:
            loss: of this step's batch, not scaled; with accumulation, the mean over the update's
                batches.
            scaler: the loss scaler that scaled it. A step that the scaler skips because its scale
                was too large is not judged.

        Raises:
            GuardStopped: the guard gave up.
            RuntimeError: the guard was closed; an optimizer was given new parameters (make another
                guard); or a gradient is a partial sum over processes (reduce it first).
            OSError: the record or a snapshot cannot be written; or `run_dir` holds an earlier run,
                and no state was loaded to continue it. The optimizer has not stepped, unless a
                device had already applied a large model's step.
        """
        scaler = enabled_scaler(scaler)
        if scaler is not None:
            for optimizer in self._optimizers:
                scaler.unscale_(optimizer)
        may_step = scaler is None and self._clipping.clipper is None
        step, snapshot, stepped = self._judge(loss, scaler, may_step)
        try:
            if scaler is not None and step.decision == "scaler_skip":
                for optimizer in self._optimizers:
                    scaler.step(optimizer)
            elif step.applied:
                if not stepped:
                    step = self._apply(step, scaler)
                # With several processes the norm would need another all-reduce.
                if snapshot is not None and self._processes is None:
                    step = replace(step, update_norm=snapshot.change_norm())
        finally:
            self.after_step()
        if scaler is not None:
            scaler.update()
        return step

    def before_step(
        self, loss: Tensor | float, *, scaler: torch.amp.GradScaler | None = None
    ) -> GuardStep:
        """Judges a step, and prepares its gradients, for a framework that steps the optimizer.

        If the step is not to be applied, all gradients are set to None. An optimizer that ignores
        parameters without a gradient (all of PyTorch's do) then changes nothing. PyTorch's
        `clip_grad_value_` raises a RuntimeError without gradients: if the framework clips by value,
        let it do so only if `applied`. Call `after_step` after the framework has stepped, or has
        continued without a step.

        Args:
            loss: as for `step`.
            scaler: the loss scaler, which has already unscaled the gradients.

        Raises:
            GuardStopped, RuntimeError: as `step` does.
            NotImplementedError: `clip` reads the optimizer, which only `step` supports.
        """
        if self._clipping.needs_optimizer:
            raise NotImplementedError("a `clip` that looks at the optimizer needs `guard.step`")
        step, *_ = self._judge(loss, enabled_scaler(scaler), False)
        if step.applied:
            step = self._clipping.clip(step)
        elif step.decision != "scaler_skip":
            for parameter in self._parameters:
                parameter.grad = None
        return step

    def after_step(self) -> None:
        """Restores the schedule's learning rates if `before_step` lowered them.

        Raises GuardStopped if the step made a weight in 16 bits non-finite.
        """
        self._groups.restore_rates()
        self._snapshots.after_step()
        reason, undone = self._low_precision.check()
        if reason is not None:
            self._stop(reason, restore=not undone)

    def _judge(
        self, loss: Tensor | float, scaler: torch.amp.GradScaler | None, may_step: bool
    ) -> _Judgement:
        """Judges the step, rolls back if that is decided, and scales gradients and rates."""
        if self._closed:
            raise RuntimeError("this guard was closed, or gave up: make another one to go on")
        self._groups.check()
        step, snapshot = self._step, None
        learning_rate = self._groups.learning_rate()
        if scaler is None:
            snapshot = self._snapshots.take_if_wanted(step, self._native, self._buffers)
        measured = self._measurer.measure(loss, self._native, learning_rate if may_step else None)
        self._warn_without_gradients(measured.stats)
        if scaler is not None:
            if scale_was_too_large(measured, scaler):
                if self._processes is not None or len(self._optimizers) > 1:
                    mark_non_finite(scaler, self._optimizers)
                return _Judgement(scaler_skip(measured.stats))
            snapshot = self._snapshots.take_if_wanted(step, self._native, self._buffers)
        self._step += 1
        judged = self._native.step(
            step,
            measured.loss,
            learning_rate,
            measured.stats,
            list(measured.weight_norms.values()),
            len(measured.stats) == sum(p.requires_grad for p in self._parameters),
        )
        if measured.stepped and not judged.applies:
            warnings.warn(
                f"step {step} was applied, and then judged `{judged.decision}`: {judged.reason}. "
                "The guard's bounds were wrong, please report it",
                stacklevel=3,
            )
        detections = tuple(judged.detections)
        judged, rolled_back_to = self._snapshots.roll_back(
            step, judged, self._native, self._buffers
        )
        if rolled_back_to is not None:
            self._measurer.forget_last()
        if judged.applies:
            if judged.coefficient != 1.0:
                self._measurer.scale(judged.coefficient)
            if judged.learning_rate_scale != 1.0:
                self._groups.scale_rates(judged.learning_rate_scale)
            self._buffers.keep()
            self._low_precision.keep()
        elif rolled_back_to is None:
            self._buffers.put_back()
        if judged.decision == "stop":
            self._stop(judged.reason)
        self._snapshots.retain(set(self._native.snapshots()))
        result = step_result(judged, measured.stats, rolled_back_to, detections)
        return _Judgement(result, snapshot, measured.stepped)

    def _stop(self, reason: str | None, *, restore: bool = True) -> None:
        if restore and (good := self._native.last_good()) is not None:
            self._snapshots.restore(good, self._buffers)
        self.close()
        raise GuardStopped(reason)

    def _warn_without_gradients(self, stats: GradientStats) -> None:
        if len(stats) or self._warned:
            return
        self._warned = True
        warnings.warn(
            "no parameter has a gradient: call `guard.step` after `loss.backward()`, with the "
            "model that the loss was computed with",
            stacklevel=4,
        )

    def _apply(self, step: GuardStep, scaler: torch.amp.GradScaler | None) -> GuardStep:
        if self._clipping.needs_optimizer:
            # There is one optimizer. Its gradients are unscaled and finite, so a scaler would only
            # call its `step`.
            return self._clipping.clip_and_step(step, self._optimizers[0])
        step = self._clipping.clip(step)
        for optimizer in self._optimizers:
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
        return step

    @property
    def counts(self) -> dict[str, int]:
        """How many steps were kept, clipped, skipped, rolled back, or lowered the learning rate.

        Clipped are those by the guard, and those by a policy of yours that uses one factor.
        """
        return dict(self._native.counts())

    def close(self) -> None:
        """Ends the guard and its record, and removes its snapshot files.

        Without it, the record stays that of a run that may continue. A process that exits writes
        all rows to the disk; a killed one loses at most the last 64.
        """
        self._closed = True
        self._native.finish()
        self._snapshots.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # A guard belongs to one model and its optimizer.
        return type(None), ()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Returns the guard's running scales and budgets, as plain numbers.

        Snapshots are not included: after loading, the first is taken within a few steps. When this
        returns, the record is on the disk up to here.

        Raises:
            OSError: the record cannot be written.
        """
        clipper = self._clipping.clipper
        return {
            "step": self._step,
            "guard": json.loads(self._native.save()),
            "clip": None if clipper is None else clipper.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from where `state_dict` was called, and continues the record as well.

        Later steps in the record are ignored from then on.

        Raises:
            ValueError: this is not such a state, or it is one of other settings.
            OSError: the record cannot be continued.
        """
        if not isinstance(state, dict) or not {"step", "guard", "clip"} <= state.keys():
            raise ValueError("this is not what a guard's `state_dict()` gave")
        clipper = self._clipping.clipper
        if (state["clip"] is None) != (clipper is None):
            raise ValueError(
                "the saved state is of a guard with another `clip`; make the Guard with that `clip`"
            )
        step = int(state["step"])
        for damage in self._native.load(json.dumps(state["guard"]), step):
            warnings.warn(f"the record is damaged, and goes on: {damage}", stacklevel=2)
        if clipper is not None:
            clipper.load_state_dict(state["clip"])
        self._step = step
        self._measurer.forget_last()
        self._snapshots.retain(set())
        self._buffers = BufferCopies(self._model)


def _sync(native: _native.Guard, process: int) -> None:
    # A forked process holds the same rows, which its parent writes.
    if os.getpid() == process:
        native.sync()
