"""The guard in Hugging Face's Trainer.

.. code-block:: python

    trainer = transformers.Trainer(..., callbacks=[steadygrad.transformers.GuardCallback()])
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Optional, Union

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from .torch import Guard, GuardStep, GuardStopped

__all__ = ["GuardCallback"]


class GuardCallback(TrainerCallback, ExportableState):
    """Keeps a run alive with a `steadygrad.torch.Guard`, and adds what it did to the trainer's log.

    The guard clips in the trainer's place, by `TrainingArguments.max_grad_norm` (which the trainer is told to be
    infinite), since it has to see the gradients as they were. A healthy run is left bit for bit as it would
    have been up to the first step that is clipped: the guard's factor is rounded otherwise than PyTorch's,
    which shows in the last digits of the weights. The trainer logs `grad_norm`, from before clipping; the
    guard adds `grad_norm_clipped`, `learning_rate_scale` and `steps_not_applied`, which `trainer_state.json`
    and all callbacks after this one see: to have them in TensorBoard or W&B, set `report_to="none"` and give
    their callback after this one. When the guard gives up, `GuardStopped` ends `trainer.train()`.

    The loss is read where the model returns it, by a hook on the model that is removed when training
    ends, or when the next one begins after one that was interrupted; copies of the model do not have it.
    With gradient accumulation it is the update's, as the trainer logs it. A model that returns none is judged
    by its gradients alone.

    The guard's running scales are kept in the trainer's checkpoints (`trainer_state.json`);
    `trainer.train(resume_from_checkpoint=...)` goes on with them, and with the record in `run_dir`.

    Args:
        settings: those of `Guard` but model and optimizer: `preset`, `clip`, `sensitivity`, `run_dir`,
            `snapshot_dir`.
            Without `clip`, the trainer's own `max_grad_norm` is used.

    Raises:
        NotImplementedError: at the start of training, with DeepSpeed, or FSDP of the first kind.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._losses: list[Optional[Tensor]] = []
        self._divided = False
        self._judged = False
        self._not_applied = 0
        self._args: Optional[TrainingArguments] = None
        self._scaler: Optional[torch.amp.GradScaler] = None
        self._hook: Optional[RemovableHandle] = None
        self.guard: Optional[Guard] = None
        """The guard, from the start of training on."""
        self.last_step: Optional[GuardStep] = None
        """What became of the last update."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Optional[nn.Module] = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        if args.deepspeed:
            raise NotImplementedError("DeepSpeed keeps the gradients to itself: it cannot be guarded")
        assert model is not None
        self._put_back()
        # Another callback's training with these arguments may have been interrupted.
        _configure(args)
        settings = dict(self._settings)
        if settings.get("clip") is None and args.max_grad_norm:
            settings["clip"] = args.max_grad_norm
        self.guard = Guard(model, getattr(optimizer, "optimizer", optimizer), **settings)
        self._losses, self._judged = [], False
        self._scaler = getattr(optimizer, "scaler", None)
        self._args = args
        args.max_grad_norm = _Unclipped(args.max_grad_norm or 0.0, self._about_to_clip)
        self._hook = model.register_forward_hook(_Watch(self._saw), with_kwargs=True)
        kept = (state.stateful_callbacks or {}).get(type(self).__name__, {})
        saved = kept.get("attributes", {}).get("saved") if isinstance(kept, Mapping) else None
        if state.global_step and saved is not None:
            self.guard.load_state_dict(saved)

    def state(self) -> dict[str, Any]:
        """For the trainer's checkpoints, which are JSON: a `clip` that is a policy is not in it."""
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
        # Not a copy: what the trainer multiplies it by, in place, is meant to be seen.
        self._losses.append(loss.detach() if isinstance(loss, Tensor) else None)
        self._divided = inputs.get("num_items_in_batch") is not None

    def _loss(self) -> Union[Tensor, float]:
        """The update's, from what each of its batches returned: parts of a sum where the model has divided
        them by the whole update's number of items, and means of their own otherwise."""
        losses = [loss.float().mean() for loss in self._losses if loss is not None]
        if not losses:
            return 0.0
        return torch.stack(losses).sum() if self._divided else torch.stack(losses).mean()

    def _about_to_clip(self) -> bool:
        """Whether that is an update which was judged just now."""
        # Whoever asks before a forward pass is not the trainer with an update's gradients.
        if not self._losses:
            return False
        if self._judged:
            # Nor is one that did not call `on_pre_optimizer_step`: this callback's training was interrupted.
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
            # PyTorch's norm may be infinite, and what it holds already becomes NaN.
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
        logs: Optional[dict[str, Any]] = None,
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
        """Leaves the model and the arguments as they were, also those of a training that was interrupted."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._args is not None:
            _configure(self._args)
            self._args = None
        if self.guard is not None:
            self.guard.close()


# Half precision's largest number is 65504.
_LARGE = 1e4


class _Unclipped(float):
    """In the place of `max_grad_norm`: infinity, with which nothing is clipped, where the guard has clipped.

    PyTorch asks for it as a `float` when it has the norm and no gradient is changed yet. That is when the guard has to
    look: of a norm that is not finite comes a factor of NaN, also here, and then NaN is everywhere.
    """

    configured: float
    _about_to_clip: Callable[[], bool]

    def __new__(cls, configured: float, about_to_clip: Callable[[], bool]) -> _Unclipped:
        # With 0 the trainer would not ask.
        number = super().__new__(cls, configured or math.inf)
        number.configured, number._about_to_clip = configured, about_to_clip
        return number

    def __float__(self) -> float:
        return math.inf if self._about_to_clip() else super().__float__()

    def __reduce__(self) -> tuple[Any, ...]:
        # In the trainer's checkpoints, which hold its arguments.
        return float, (self.configured,)


def _configure(args: TrainingArguments) -> None:
    if isinstance(args.max_grad_norm, _Unclipped):
        args.max_grad_norm = args.max_grad_norm.configured


class _Watch:
    """A forward hook of which a copy, in a copy of the model, does nothing."""

    def __init__(self, saw: Optional[Callable[[Mapping[str, Any], Any], None]] = None) -> None:
        self._saw = saw

    def __call__(self, model: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if self._saw is not None:
            self._saw(kwargs, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Watch, ()
