"""The guard for Lightning's trainer.

.. code-block:: python

    trainer = lightning.Trainer(callbacks=[steadygrad.lightning.GuardCallback()])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    At every step it logs through the trainer's logger: `grad_norm` (before clipping),
    `grad_norm_clipped` (as applied; 0 for a step that was not), and `learning_rate_scale` if it is
    not 1. When the guard gives up, `GuardStopped` ends `trainer.fit`.

    With gradient accumulation it judges each update once. The trainer's checkpoints hold its
    running
    scales: `trainer.fit(..., ckpt_path=...)` continues with them, and with the record in `run_dir`.

    Args:
        settings: those of `Guard` except model and optimizer: `preset`, `clip`, `sensitivity`,
            `run_dir`, `snapshot_dir`. Use `clip` instead of the trainer's `gradient_clip_val`,
            which acts after the guard.

    Raises:
        NotImplementedError: at the start of training, with more than one optimizer, with manual
            optimization, or with a strategy that hides the gradients (FSDP1, DeepSpeed).
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._saved: dict[str, Any] | None = None
        self._loss: Tensor | float = 0.0
        self._hook: RemovableHandle | None = None
        self._clips: tuple[Precision, Callable[..., None]] | None = None
        self.guard: Guard | None = None
        """The guard; None before training starts."""
        self.last_step: GuardStep | None = None
        """The result of the last update."""

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
                f"GuardCallback cannot read gradients under {strategy}; it can under "
                f"{', '.join(_STRATEGIES)}"
            )
        self._close()
        self._loss = 0.0
        optimizer = trainer.optimizers[0]
        guard = self.guard = Guard(pl_module, optimizer, **self._settings)
        # At the end of a batch the schedules have already set the next rates.
        self._hook = optimizer.register_step_post_hook(lambda *_: guard.after_step())
        plugin = trainer.precision_plugin
        self._clips = plugin, plugin.clip_grad_by_value
        plugin.clip_grad_by_value = _if_there_are_gradients(*self._clips)  # type: ignore[method-assign]
        if self._saved is not None:
            self.guard.load_state_dict(self._saved)
            self._saved = None

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        # Lightning has divided each loss by the number of accumulated batches.
        self._loss = self._loss + loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        assert self.guard is not None
        loss, self._loss = self._loss, 0.0
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        step = self.last_step = self.guard.before_step(loss, scaler=scaler)
        logged = {"grad_norm": step.grad_norm, "grad_norm_clipped": step.grad_norm_clipped}
        if step.learning_rate_scale != 1.0:
            logged["learning_rate_scale"] = step.learning_rate_scale
        pl_module.log_dict(logged)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def _close(self) -> None:
        # The guard of an interrupted fit still holds its folders and its optimizer.
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


def _if_there_are_gradients(plugin: Precision, clip: Callable[..., None]) -> Callable[..., None]:
    """Wraps PyTorch's clipping by value, which raises an error without gradients.

    A step that is not applied has none.
    """

    def clip_gradients(optimizer: Optimizer, clip_val: float) -> None:
        if any(parameter.grad is not None for parameter in plugin.main_params(optimizer)):
            clip(optimizer, clip_val)

    return clip_gradients
