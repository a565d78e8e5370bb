"""The guard in Lightning's trainer.

.. code-block:: python

    trainer = lightning.Trainer(callbacks=[steadygrad.lightning.GuardCallback()])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional, Union

import lightning.pytorch as pl
from lightning.pytorch.plugins import Precision
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from .torch import Guard, GuardStep

__all__ = ["GuardCallback"]

_STRATEGIES = ("SingleDeviceStrategy", "DDPStrategy", "ModelParallelStrategy")


class GuardCallback(pl.Callback):
    """Keeps a run alive with a `steadygrad.torch.Guard`, and logs what it measures.

    Logged at every step, through the trainer's own logger: `grad_norm` (before clipping),
    `grad_norm_clipped` (as applied; 0 when the step was not), and, while it is not 1,
    `learning_rate_scale`. When the guard gives up, `GuardStopped` ends `trainer.fit`.

    With gradient accumulation it judges each update once. Its running scales are kept in the
    trainer's checkpoints; `trainer.fit(..., ckpt_path=...)` goes on with them, and with the record in `run_dir`.

    Args:
        settings: those of `Guard` but model and optimizer: `preset`, `clip`, `sensitivity`, `run_dir`,
            `snapshot_dir`.
            `clip` takes the place of the trainer's `gradient_clip_val`, which acts after the guard.

    Raises:
        NotImplementedError: at the start of training, with more than one optimizer, with manual
            optimization, or with a strategy that hides the gradients (FSDP of the first kind, DeepSpeed).
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._saved: Optional[dict[str, Any]] = None
        self._loss: Union[Tensor, float] = 0.0
        self._hook: Optional[RemovableHandle] = None
        self._clips: Optional[tuple[Precision, Callable[..., None]]] = None
        self.guard: Optional[Guard] = None
        """The guard, from the start of training on."""
        self.last_step: Optional[GuardStep] = None
        """What became of the last update."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not pl_module.automatic_optimization:
            raise NotImplementedError(
                "the module steps its optimizers itself: call `steadygrad.torch.Guard.step` there"
            )
        if len(trainer.optimizers) != 1:
            raise NotImplementedError(
                f"GuardCallback guards one optimizer, and there are {len(trainer.optimizers)}"
            )
        strategy = type(trainer.strategy).__name__
        if strategy not in _STRATEGIES:
            raise NotImplementedError(
                f"GuardCallback cannot read gradients under {strategy}; it can under {', '.join(_STRATEGIES)}"
            )
        self._close()
        self._loss = 0.0
        optimizer = trainer.optimizers[0]
        guard = self.guard = Guard(pl_module, optimizer, **self._settings)
        # At the end of a batch the schedules have set the next rates already.
        self._hook = optimizer.register_step_post_hook(lambda *_: guard.after_step())
        plugin = trainer.precision_plugin
        self._clips = plugin, plugin.clip_grad_by_value
        plugin.clip_grad_by_value = _where_there_are_any(*self._clips)  # type: ignore[method-assign]
        if self._saved is not None:
            self.guard.load_state_dict(self._saved)
            self._saved = None

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        # Each is divided already by the number that are accumulated.
        self._loss = self._loss + loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        assert self.guard is not None
        loss, self._loss = self._loss, 0.0
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        seen = self.guard.before_step(loss, scaler=scaler)
        self.last_step = seen
        logged = {"grad_norm": seen.grad_norm, "grad_norm_clipped": seen.grad_norm_clipped}
        if seen.learning_rate_scale != 1.0:
            logged["learning_rate_scale"] = seen.learning_rate_scale
        pl_module.log_dict(logged)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def _close(self) -> None:
        # One of an earlier fit that was interrupted holds its folders and its optimizer still.
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._clips is not None:
            plugin, clip = self._clips
            plugin.clip_grad_by_value = clip  # type: ignore[method-assign]
            self._clips = None
        if self.guard is not None:
            self.guard.close()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.guard is None else self.guard.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict or None


def _where_there_are_any(plugin: Precision, clip: Callable[..., None]) -> Callable[..., None]:
    """PyTorch's clipping by value takes it for an error that a step which is not applied has no gradients left."""

    def clip_any(optimizer: Optimizer, clip_val: float) -> None:
        if any(parameter.grad is not None for parameter in plugin.main_params(optimizer)):
            clip(optimizer, clip_val)

    return clip_any
