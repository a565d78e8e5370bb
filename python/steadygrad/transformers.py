"""The guard for Hugging Face's Trainer.

.. code-block:: python

    trainer = transformers.Trainer(..., callbacks=[steadygrad.transformers.GuardCallback()])
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from .torch import Guard, GuardStep, GuardStopped

__all__ = ["GuardCallback"]


class GuardCallback(TrainerCallback, ExportableState):
    """Keeps a run alive with a `steadygrad.torch.Guard`, and adds what it did to the trainer's log.

    Clipping: the guard clips by `TrainingArguments.max_grad_norm` instead of the trainer, since it
    must see the gradients before clipping. During training the trainer sees an infinite
    `max_grad_norm`. A healthy run stays as it would have been, bit for bit, up to the first clipped
    step: the guard rounds its factor differently than PyTorch, in the last digits.

    Log: the trainer logs `grad_norm`, from before clipping. The guard adds `grad_norm_clipped`,
    `learning_rate_scale` and `steps_not_applied`, for `trainer_state.json` and all callbacks after
    this one. To have them in TensorBoard or W&B, set `report_to="none"` and put their callback
    after this one. When the guard gives up, `GuardStopped` ends `trainer.train()`.

    Loss: a hook on the model reads the loss that it returns. The hook is removed when training
        ends, or when the next training begins after an interrupted one; copies of the model do not
        have it. With gradient accumulation the guard judges the update's loss, as the trainer logs
        it. A model that returns no loss is judged by its gradients alone.

    Checkpoints: `trainer_state.json` holds the guard's running scales.
    `trainer.train(resume_from_checkpoint=...)` continues with them, and with the record in
    `run_dir`.

    Args:
        settings: those of `Guard` except model and optimizer: `preset`, `clip`, `sensitivity`,
            `run_dir`, `snapshot_dir`. Without `clip`, the trainer's `max_grad_norm` is used.

    Raises:
        NotImplementedError: at the start of training, with DeepSpeed or FSDP1.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._losses: list[Tensor | None] = []
        self._divided = False
        self._judged = False
        self._not_applied = 0
        self._args: TrainingArguments | None = None
        self._scaler: torch.amp.GradScaler | None = None
        self._hook: RemovableHandle | None = None
        self.guard: Guard | None = None
        """The guard; None before training starts."""
        self.last_step: GuardStep | None = None
        """The result of the last update."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        if args.deepspeed:
            raise NotImplementedError("DeepSpeed hides the gradients, so it cannot be guarded")
        assert model is not None
        self._put_back()
        # These arguments may come from an interrupted training with another callback.
        _configure(args)
        settings = dict(self._settings)
        if settings.get("clip") is None and args.max_grad_norm:
            settings["clip"] = args.max_grad_norm
        self.guard = Guard(model, getattr(optimizer, "optimizer", optimizer), **settings)
        self._losses, self._judged = [], False
        self._scaler = getattr(optimizer, "scaler", None)
        self._args = args
        args.max_grad_norm = _Unclipped(args.max_grad_norm or 0.0, self._about_to_clip)
        self._hook = model.register_forward_hook(_LossHook(self._saw), with_kwargs=True)
        callbacks: Any = state.stateful_callbacks or {}
        stored = callbacks.get(type(self).__name__, {})
        saved = stored.get("attributes", {}).get("saved") if isinstance(stored, Mapping) else None
        if state.global_step and saved is not None:
            self.guard.load_state_dict(saved)

    def state(self) -> dict[str, Any]:
        """Returns the state for the trainer's checkpoints.

        They are JSON, so a `clip` that is a policy is left out.
        """
        settings = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value
            for name, value in self._settings.items()
            if value is None or isinstance(value, (str, int, float, os.PathLike))
        }
        saved = None if self.guard is None else self.guard.state_dict()
        return {"args": settings, "attributes": {"saved": saved}}

    def _saw(self, inputs: Mapping[str, Any], output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        # Not a copy, since the trainer may scale the loss in place.
        self._losses.append(loss.detach() if isinstance(loss, Tensor) else None)
        self._divided = inputs.get("num_items_in_batch") is not None

    def _loss(self) -> Tensor | float:
        """Returns the update's loss, from the losses of its batches.

        They are summed if the model has divided them by the number of items of the whole update,
        else averaged.
        """
        losses = [loss.float().mean() for loss in self._losses if loss is not None]
        if not losses:
            return 0.0
        return torch.stack(losses).sum() if self._divided else torch.stack(losses).mean()

    def _about_to_clip(self) -> bool:
        """Judges an update that the trainer is about to clip; returns whether there was one."""
        # Without a forward pass, the caller is not the trainer with an update's gradients.
        if not self._losses:
            return False
        if self._judged:
            # The trainer did not call `on_pre_optimizer_step`, so its training was interrupted.
            self._put_back()
            return False
        self._judge()
        return True

    def _judge(self) -> None:
        assert self.guard is not None
        loss, self._losses = self._loss(), []
        try:
            step = self.guard.before_step(loss, scaler=self._scaler)
        except GuardStopped:
            self._put_back()
            raise
        if step.applied and _LARGE < step.grad_norm < math.inf:
            # PyTorch's norm may overflow, and then it makes the gradients that it holds NaN.
            for parameter in self.guard._parameters:
                parameter.grad = None if parameter.grad is None else parameter.grad.clone()
        self.last_step, self._judged = step, True
        self._not_applied += not step.applied

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not self._judged:
            self._judge()
        self._judged = False

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.guard is not None:
            self.guard.after_step()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if self.last_step is None or logs is None or "grad_norm" not in logs:
            return
        mine = {
            "grad_norm_clipped": self.last_step.grad_norm_clipped,
            "learning_rate_scale": self.last_step.learning_rate_scale,
            "steps_not_applied": self._not_applied,
        }
        logs.update(mine)
        if state.log_history:
            state.log_history[-1].update(mine)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._put_back()

    def _put_back(self) -> None:
        """Restores the model and the arguments, also after an interrupted training."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._args is not None:
            _configure(self._args)
            self._args = None
        if self.guard is not None:
            self.guard.close()


# The largest float16 is 65504.
_LARGE = 1e4


class _Unclipped(float):
    """Replaces `max_grad_norm`: it becomes infinite after the guard has clipped.

    PyTorch converts it to `float` when it has the norm, before it changes a gradient. The guard
    must
    judge at that moment: a norm that is not finite would make every gradient NaN.
    """

    configured: float
    _about_to_clip: Callable[[], bool]

    def __new__(cls, configured: float, about_to_clip: Callable[[], bool]) -> _Unclipped:
        # The trainer would not use 0.
        number = super().__new__(cls, configured or math.inf)
        number.configured, number._about_to_clip = configured, about_to_clip
        return number

    def __float__(self) -> float:
        return math.inf if self._about_to_clip() else super().__float__()

    def __reduce__(self) -> tuple[Any, ...]:
        # The trainer's checkpoints hold its arguments.
        return float, (self.configured,)


def _configure(args: TrainingArguments) -> None:
    if isinstance(args.max_grad_norm, _Unclipped):
        args.max_grad_norm = args.max_grad_norm.configured


class _LossHook:
    """A forward hook; its copy in a copy of the model does nothing."""

    def __init__(self, saw: Callable[[Mapping[str, Any], Any], None] | None = None) -> None:
        self._saw = saw

    def __call__(self, model: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if self._saw is not None:
            self._saw(kwargs, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return _LossHook, ()
