"""Copies of a module's buffers as the last good step left them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from .copies import CopyPlan
from .distributed import local_part


@dataclass
class _BufferCopy:
    owner: nn.Module
    name: str
    running: bool
    """Whether it is a statistic that a normalisation layer's forward pass writes."""
    good: Tensor | None = None
    source: Tensor | None = None
    """The tensor that `good` is a copy of."""
    version: int | None = None
    """The version of `source` when it was copied."""

    @property
    def live(self) -> Tensor | None:
        return self.owner._buffers.get(self.name)


class BufferCopies:
    """Copies of a module's buffers, for steps that are not applied.

    A forward pass writes to buffers before its batch is judged, and leaves no sign of it. Buffers
    are looked up by name each time, since many modules replace a buffer by another tensor. They are
    copied only when they have changed.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._all: list[_BufferCopy] = []
        modules = () if model is None else model.modules()
        for owner in modules:
            norm = isinstance(owner, _NormBase)
            self._all += [
                _BufferCopy(owner, name, norm or name.startswith("running_"))
                for name in owner._buffers
            ]
        # Most steps copy the same buffers, so the plan is kept.
        self._changed: list[_BufferCopy] = []
        self._plan = CopyPlan([], [])
        self.keep()
        # A checkpoint may be loaded between this call and the first applied step.
        self._trusted = False

    def keep(self) -> None:
        """Takes the buffers as they are for good."""
        changed, fitting = [], True
        for copied in self._all:
            live = copied.live
            # Batch normalisation writes to its statistics without incrementing their version.
            untracked = copied.running or live is None or live.is_inference()
            version = None if untracked else live._version  # type: ignore[union-attr]
            unchanged = version is not None and version == copied.version
            if live is copied.source and (live is None or unchanged):
                continue
            fitting = fitting and live is copied.source
            if live is not copied.source:
                copied.source = live
                copied.good = None if live is None else torch.empty_like(_part(live))
            copied.version = version
            changed.append(copied)
        if not fitting or [id(copied) for copied in changed] != [id(old) for old in self._changed]:
            held = [(copied.good, copied.source) for copied in changed]
            targets = [good for good, source in held if good is not None and source is not None]
            sources = [_part(source) for good, source in held if source is not None]
            self._plan = CopyPlan(targets, sources)
            self._changed = changed
        self._plan.copy()
        self._trusted = True

    def put_back(self) -> None:
        """Undoes what a batch did that does not count.

        It restores the running statistics of normalisation layers, and every buffer that is no
        longer finite. Others may be changed by the user between steps, and stay.
        """
        self._write(
            [
                (copied, copied.good)
                for copied in self._all
                if (copied.running and self._trusted) or _is_broken(copied.live)
            ]
        )
        self.keep()

    def good(self) -> dict[int, Tensor]:
        """Returns each buffer, by its position, as it was before this step's batch."""
        return {
            place: copied.good if self._trusted or _is_broken(copied.live) else _part(copied.live)
            for place, copied in enumerate(self._all)
            if copied.good is not None and copied.live is not None
        }

    def restore(self, good: dict[int, Tensor]) -> None:
        """Puts back what `good` returned."""
        self._write([(self._all[place], tensor) for place, tensor in good.items()])
        self.keep()

    @torch.no_grad()
    def _write(self, pairs: list[tuple[_BufferCopy, Tensor | None]]) -> None:
        for copied, good in pairs:
            live = copied.live
            if good is None or live is None:
                continue
            if _part(live).shape == good.shape:
                _part(live).copy_(good)
            elif live is local_part(live):
                copied.owner._buffers[copied.name] = good.to(live.device, copy=True)


def _part(buffer: Tensor) -> Tensor:
    return local_part(buffer.detach())


def _is_broken(live: Tensor | None) -> bool:
    return (
        live is not None
        and (live.is_floating_point() or live.is_complex())
        and not bool(_part(live).isfinite().all())
    )
