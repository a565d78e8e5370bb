"""A module's buffers as the last good step left them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ._distributed import local
from ._snapshot import Pairs


@dataclass
class _Kept:
    owner: nn.Module
    name: str
    running: bool
    """Statistics that the forward pass of a normalisation layer writes."""
    good: Optional[Tensor] = None
    seen: Optional[Tensor] = None
    """What it was copied from, and which version of that."""
    version: Optional[int] = None

    @property
    def live(self) -> Optional[Tensor]:
        return self.owner._buffers.get(self.name)


class Buffers:
    """A forward pass writes to buffers before anybody can judge its batch, and sets no sign when it does.

    They are looked up by name each time, since many a module replaces its buffer by another tensor, and copied
    only when they have changed.
    """

    def __init__(self, model: Optional[nn.Module]) -> None:
        self._all: list[_Kept] = []
        modules = () if model is None else model.modules()
        for owner in modules:
            norm = isinstance(owner, _NormBase)
            names = owner._buffers
            self._all += [_Kept(owner, name, norm or name.startswith("running_")) for name in names]
        # What is copied at each step is mostly the same.
        self._changed: list[_Kept] = []
        self._pairs = Pairs([], [])
        self.keep()
        # Until a step was applied nobody knows whether a checkpoint was loaded after this was made.
        self._sure = False

    def keep(self) -> None:
        """They are good as they are."""
        changed, fitting = [], True
        for kept in self._all:
            live = kept.live
            # Batch normalisation writes to its statistics without counting up their version.
            version = None if kept.running or live is None or live.is_inference() else live._version
            if live is kept.seen and (live is None or version is not None and version == kept.version):
                continue
            fitting = fitting and live is kept.seen
            if live is not kept.seen:
                kept.seen, kept.good = live, None if live is None else torch.empty_like(_part(live))
            kept.version = version
            changed.append(kept)
        if not fitting or [id(kept) for kept in changed] != [id(kept) for kept in self._changed]:
            held = [kept for kept in changed if kept.seen is not None]
            self._pairs = Pairs([kept.good for kept in held], [_part(kept.seen) for kept in held])
            self._changed = changed
        self._pairs.copy()
        self._sure = True

    def put_back(self) -> None:
        """Undoes what a batch did that is not to count: to the running statistics of normalisation layers, and to any
        buffer that is not finite any more. Others may be the user's own, who changes them between steps."""
        self._write([
            (kept, kept.good)
            for kept in self._all
            if (kept.running and self._sure) or _broken(kept.live)
        ])
        self.keep()

    def good(self) -> dict[int, Tensor]:
        """Each one, by its place, as it was before this step's batch."""
        return {
            place: kept.good if self._sure or _broken(kept.live) else _part(kept.live)
            for place, kept in enumerate(self._all)
            if kept.good is not None and kept.live is not None
        }

    def restore(self, good: dict[int, Tensor]) -> None:
        """Puts back what `good` gave."""
        self._write([(self._all[place], tensor) for place, tensor in good.items()])
        self.keep()

    @torch.no_grad()
    def _write(self, pairs: list[tuple[_Kept, Optional[Tensor]]]) -> None:
        for kept, good in pairs:
            live = kept.live
            if good is None or live is None:
                continue
            if _part(live).shape == good.shape:
                _part(live).copy_(good)
            elif live is local(live):
                kept.owner._buffers[kept.name] = good.to(live.device, copy=True)


def _part(buffer: Tensor) -> Tensor:
    return local(buffer.detach())


def _broken(live: Optional[Tensor]) -> bool:
    return (
        live is not None
        and (live.is_floating_point() or live.is_complex())
        and not bool(_part(live).isfinite().all())
    )
