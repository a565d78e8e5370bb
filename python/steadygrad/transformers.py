"""The guard in Hugging Face's Trainer.

.. code-block:: python

    trainer = transformers.Trainer(..., callbacks=[steadygrad.transformers.GuardCallback()])
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Optional

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from .torch import Guard, GuardStep

__all__ = ["GuardCallback"]


class GuardCallback(TrainerCallback, ExportableState):
    """Keeps a run alive with a `steadygrad.torch.Guard`, and adds what it did to the trainer's log.

    The guard clips in the trainer's place, by `TrainingArguments.max_grad_norm` (which is set to 0 while
    training), since it has to see the gradients as they were. The trainer logs `grad_norm`, from before
    clipping; the guard adds `grad_norm_clipped`, `learning_rate_scale` and `steps_not_applied`, which
    `trainer_state.json` and all callbacks after this one see: to have them in TensorBoard or W&B, set
    `report_to="none"` and give their callback after this one. When the guard gives up, `GuardStopped`
    ends `trainer.train()`.

    The loss is read where the model returns it, by a hook on the model that is removed when training
    ends. A model that returns none is judged by its gradients alone.

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
        self._losses: list[Tensor] = []
        self._not_applied = 0
        self._max_grad_norm: Optional[float] = None
        self._hook: Any = None
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
        settings = dict(self._settings)
        if settings.get("clip") is None and args.max_grad_norm:
            settings["clip"] = args.max_grad_norm
        self._close()
        self.guard = Guard(model, getattr(optimizer, "optimizer", optimizer), **settings)
        self._max_grad_norm, args.max_grad_norm = args.max_grad_norm, 0.0
        self._hook = model.register_forward_hook(self._saw)
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

    def _saw(self, model: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach())

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        assert self.guard is not None
        losses, self._losses = self._losses, []
        loss = torch.stack([loss.float().mean() for loss in losses]).mean() if losses else 0.0
        scaler = getattr(optimizer, "scaler", None)
        self.last_step = self.guard.before_step(loss, scaler=scaler)
        self._not_applied += not self.last_step.applied

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
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._max_grad_norm is not None:
            args.max_grad_norm, self._max_grad_norm = self._max_grad_norm, None
        self._close()

    def _close(self) -> None:
        # One of an earlier training that was interrupted holds its folders still.
        if self.guard is not None:
            self.guard.close()
