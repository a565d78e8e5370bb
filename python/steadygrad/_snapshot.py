"""Copies of what a training step changes, and the way back to them."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ._distributed import Layout, local


class SnapshotLost(Exception):
    """What was written cannot be read."""


def file_of(folder: Path, step: int, rank: str) -> Path:
    return folder / f"step-{step}{rank}.pt"


def remove_left(folder: Path, rank: str) -> None:
    """Removes what a process that was killed has left."""
    left = re.compile(rf"step-[0-9]+{rank}\.(pt|partial)")
    for path in folder.iterdir():
        if left.fullmatch(path.name):
            path.unlink(missing_ok=True)


class Snapshot:
    """Parameters, buffers and the optimizers' states as they were.

    They are kept on their own device while that has memory to spare at the peak of a training step, else in
    the host's.

    Args:
        spare: a snapshot that is no longer needed: its memory is used again where it fits, since fresh
            memory costs as much as the copying.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: Optional[nn.Module],
        parameters: list[Tensor],
        optimizers: list[Optimizer],
        spare: Optional[Snapshot] = None,
    ) -> None:
        self._path: Optional[Path] = None
        self._others: list[tuple[int, Any, str, Any]] = []
        self._keys: list[tuple[int, Any, str, Layout]] = []
        live = _tensors(model, parameters)
        self._weights = len(live)
        for number, optimizer in enumerate(optimizers):
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor):
                        self._keys.append((number, parameter, name, Layout(value)))
                        live.append(local(value.detach()))
                    else:
                        self._others.append((number, parameter, name, copy.deepcopy(value)))
        if spare is not None and _same_layout(spare._kept, live):
            self._kept = spare._kept
        else:
            self._kept = _room_for(live)
        copy_all(self._kept, live)

    def write(self, path: Path) -> None:
        """Moves the tensors to a file, which is there whole or not at all.

        Raises:
            OSError: it cannot be written; the message says how.
        """
        if any(tensor.is_pinned() for tensor in self._kept if tensor.is_cpu):
            torch.cuda.synchronize()
        partial = path.with_suffix(".partial")
        try:
            with open(partial, "wb") as file:
                torch.save(self._kept, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise OSError(f"cannot write the guard's snapshot `{path}`: {error}") from error
        self._path, self._kept = path, []

    def read(self) -> None:
        """Brings the tensors back, if they are in a file.

        Raises:
            SnapshotLost: the file is gone or damaged.
        """
        if self._path is None:
            return
        try:
            kept = torch.load(self._path, weights_only=True)
        except Exception as error:
            raise SnapshotLost(f"its snapshot `{self._path}` cannot be read: {error}") from error
        if len(kept) != self._weights + len(self._keys):
            raise SnapshotLost(f"its snapshot `{self._path}` is not whole")
        self._kept = kept

    def forget(self) -> None:
        """Removes the file, if there is one."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @torch.no_grad()
    def restore(
        self, model: Optional[nn.Module], parameters: list[Tensor], optimizers: list[Optimizer]
    ) -> None:
        """Puts everything back in place; parameter groups stay as they are: the schedule goes on."""
        copy_all(_tensors(model, parameters), self._kept[: self._weights])
        states: list[dict[Any, dict[str, Any]]] = [{} for _ in optimizers]
        states_kept = self._kept[self._weights :]
        for (number, parameter, name, layout), kept in zip(self._keys, states_kept):
            live = optimizers[number].state.get(parameter, {}).get(name)
            if isinstance(live, Tensor) and local(live).shape == kept.shape:
                local(live).copy_(kept)
            else:
                live = layout.of(kept)
            states[number].setdefault(parameter, {})[name] = live
        for number, parameter, name, value in self._others:
            states[number].setdefault(parameter, {})[name] = copy.deepcopy(value)
        for optimizer, state in zip(optimizers, states):
            # In place: other objects may hold on to it.
            optimizer.state.clear()
            optimizer.state.update(state)
        if self._path is not None:
            self._kept = []

    @torch.no_grad()
    def change_norm(self, model: Optional[nn.Module], parameters: list[Tensor]) -> float:
        """How far the parameters are from what they were, as one norm."""
        # Parameters come first among the tensors; what follows them are buffers.
        count = len(parameters if model is None else list(model.parameters()))
        live = _tensors(model, parameters)[:count]
        norms = []
        for now, before in _parts(live, self._kept):
            changes = torch._foreach_sub(now, [part.to(now[0].device) for part in before])
            norms.append(torch.stack(torch._foreach_norm(changes)).double())
        if not norms:
            return 0.0
        return float(torch.linalg.vector_norm(torch.cat([norm.to(norms[0].device) for norm in norms])))


# Values that are worked on at once: fresh memory costs a CPU more than what is done in it, a GPU is short of it.
_PART, _PART_ON_DEVICE = 1 << 18, 1 << 24


def _parts(
    live: list[Tensor], kept: list[Tensor]
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Lists of tensors and their copies, each on one device and of one type."""
    nows: list[Tensor] = []
    befores: list[Tensor] = []
    size = 0
    for tensor, copied in zip(live, kept):
        pairs = [(tensor, copied)]
        if tensor.is_cpu and tensor.is_contiguous() and tensor.numel() > _PART:
            pairs = list(zip(tensor.view(-1).split(_PART), copied.view(-1).split(_PART)))
        for now, before in pairs:
            most = _PART if now.is_cpu else _PART_ON_DEVICE
            alike = nows and (nows[0].device, nows[0].dtype) == (now.device, now.dtype)
            if nows and (not alike or size + now.numel() > most):
                yield nows, befores
                nows, befores, size = [], [], 0
            nows.append(now)
            befores.append(before)
            size += now.numel()
    if nows:
        yield nows, befores


def _tensors(model: Optional[nn.Module], parameters: list[Tensor]) -> list[Tensor]:
    of_model = [] if model is None else [*model.parameters(), *model.buffers()]
    return [local(tensor.detach()) for tensor in (of_model or parameters)]


def _same_layout(kept: list[Tensor], live: list[Tensor]) -> bool:
    return len(kept) == len(live) and all(
        a.shape == b.shape and a.dtype == b.dtype and (a.is_cpu or a.device == b.device)
        for a, b in zip(kept, live)
    )


# The most copies that a guard keeps, and the part of the free memory that they may take.
_COPIES, _SHARE = 4, 0.5


def _room_for(live: list[Tensor]) -> list[Tensor]:
    """Memory for a copy of each."""
    needed: dict[torch.device, int] = {}
    for tensor in live:
        if tensor.is_cuda:
            needed[tensor.device] = needed.get(tensor.device, 0) + tensor.nbytes
    tight = {
        device for device, size in needed.items() if _COPIES * size > _SHARE * _free_at_peak(device)
    }
    return [
        torch.empty_like(tensor, device="cpu", pin_memory=True)
        if tensor.device in tight
        else torch.empty_like(tensor)
        for tensor in live
    ]


def _free_at_peak(device: torch.device) -> int:
    """Bytes that nobody held when the training held most."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device)


def copy_all(to: list[Tensor], tensors: list[Tensor]) -> None:
    Pairs(to, tensors).copy()


class Pairs:
    """Tensors and what is copied into them; those on one device and of one type in few launches."""

    def __init__(self, to: list[Tensor], tensors: list[Tensor]) -> None:
        self._single: list[tuple[Tensor, Tensor]] = []
        self._alike: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        for into, tensor in zip(to, tensors):
            if into.is_cpu or tensor.is_cpu:
                self._single.append((into, tensor))
            else:
                lists = self._alike.setdefault((into.device, into.dtype), ([], []))
                lists[0].append(into)
                lists[1].append(tensor)

    @torch.no_grad()
    def copy(self) -> None:
        for into, tensor in self._single:
            # Pinned memory is written to in the stream's order: before what the optimizer does to it.
            into.copy_(tensor, non_blocking=True)
        for into_all, of_all in self._alike.values():
            torch._foreach_copy_(into_all, of_all)
