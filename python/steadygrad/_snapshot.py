"""Copies of what a training step changes, and the way back to them."""

from __future__ import annotations

import copy
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Optional

import torch
from torch import Tensor
from torch.optim import Optimizer

from ._distributed import Layout, local

if TYPE_CHECKING:
    from ._buffers import Buffers


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


# What a schedule sets in a parameter group, and the parameters themselves. Whatever else is there may be what the
# optimizer finds out when it steps (Prodigy's distance, the weights of a schedule-free average), or a setting.
_SCHEDULED = {
    "params", "param_names", "lr", "initial_lr", "max_lr", "min_lr", "momentum", "base_momentum", "max_momentum",
    "betas", "weight_decay",
}


class Snapshot:
    """Parameters that are trained, buffers and the optimizers' states as they were.

    They are kept on their own device while that has memory to spare at the peak of a training step, else in
    the host's.

    Args:
        spare: a snapshot that is no longer needed: its memory is used again where it fits, since fresh
            memory costs as much as the copying.
    """

    @torch.no_grad()
    def __init__(
        self,
        parameters: list[Tensor],
        buffers: Buffers,
        optimizers: list[Optimizer],
        spare: Optional[Snapshot] = None,
    ) -> None:
        self._path: Optional[Path] = None
        self._checksum = 0
        # By optimizer, key and name; None for the name of what is no parameter's.
        self._others: list[tuple[int, Any, Optional[str], Any]] = []
        self._keys: list[tuple[int, Any, str, Layout]] = []
        optimizers = [_inner(optimizer) for optimizer in optimizers]
        held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
        # What is frozen may be most of a model.
        self._parameters = [p for p in parameters if p.requires_grad or id(p) in held]
        of_buffers = buffers.good()
        self._buffers = list(of_buffers)
        live = [local(parameter.detach()) for parameter in self._parameters]
        live += of_buffers.values()
        self._weights = len(live)
        self._groups = [_Group(group) for group in _groups_of(optimizers)]
        for number, optimizer in enumerate(optimizers):
            for parameter, state in optimizer.state.items():
                if not isinstance(state, dict):
                    self._others.append((number, parameter, None, copy.deepcopy(state)))
                    continue
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
                summed = _Summed(file)
                torch.save(self._kept, summed)
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise OSError(f"cannot write the guard's snapshot `{path}`: {error}") from error
        self._path, self._kept, self._checksum = path, [], summed.checksum

    def read(self) -> None:
        """Brings the tensors back, if they are in a file.

        Raises:
            SnapshotLost: the file is gone or damaged.
        """
        if self._path is None:
            return
        try:
            # PyTorch does not look at the checksums that are in the file.
            if _checksum_of(self._path) != self._checksum:
                raise ValueError("it is not what was written")
            self._kept = torch.load(self._path, weights_only=True)
        except Exception as error:
            raise SnapshotLost(f"its snapshot `{self._path}` cannot be read: {error}") from error

    def forget(self) -> None:
        """Removes the file, if there is one."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def found_out(self, optimizers: list[Optimizer]) -> set[str]:
        """What has changed in the parameter groups since."""
        before = _by_parameter(self._groups)
        changed: set[str] = set()
        for group in _groups_of(optimizers):
            kept = _first_of(group, before)
            if kept is not None:
                changed |= {name for name, value in kept.values.items() if not _equal(value, group.get(name))}
                changed |= group.keys() - kept.values.keys() - _SCHEDULED
        return changed

    @torch.no_grad()
    def restore(self, buffers: Buffers, optimizers: list[Optimizer], found_out: set[str]) -> None:
        """Puts everything back in place. Of the parameter groups that is what their optimizers find out: what the
        user or a schedule sets goes on."""
        optimizers = [_inner(optimizer) for optimizer in optimizers]
        weights = [local(parameter.detach()) for parameter in self._parameters]
        copy_all(weights, self._kept[: len(weights)])
        buffers.restore(dict(zip(self._buffers, self._kept[len(weights) : self._weights])))
        before = _by_parameter(self._groups)
        for group in _groups_of(optimizers):
            kept = _first_of(group, before)
            if kept is not None:
                values = {name: value for name, value in kept.values.items() if name in found_out}
                group.update(copy.deepcopy(values))
        states: list[dict[Any, Any]] = [{} for _ in optimizers]
        states_kept = self._kept[self._weights :]
        for (number, parameter, name, layout), state_kept in zip(self._keys, states_kept):
            live = optimizers[number].state.get(parameter, {}).get(name)
            if isinstance(live, Tensor) and local(live).shape == state_kept.shape:
                local(live).copy_(state_kept)
            else:
                live = layout.of(state_kept)
            states[number].setdefault(parameter, {})[name] = live
        for number, parameter, name, value in self._others:
            if name is None:
                states[number][parameter] = copy.deepcopy(value)
            else:
                states[number].setdefault(parameter, {})[name] = copy.deepcopy(value)
        for optimizer, state in zip(optimizers, states):
            # In place: other objects may hold on to it.
            optimizer.state.clear()
            optimizer.state.update(state)
        if self._path is not None:
            self._kept = []

    @torch.no_grad()
    def change_norm(self) -> float:
        """How far the parameters are from what they were, as one norm."""
        live = [local(parameter.detach()) for parameter in self._parameters]
        norms = []
        for now, before in _parts(live, self._kept):
            changes = torch._foreach_sub(now, [part.to(now[0].device) for part in before])
            norms.append(torch.stack(torch._foreach_norm(changes)).double())
        if not norms:
            return 0.0
        return float(torch.linalg.vector_norm(torch.cat([norm.to(norms[0].device) for norm in norms])))


class _Summed:
    """A file that is written from its beginning to its end, and a checksum of that."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.checksum = file, 0

    def write(self, part: bytes) -> int:
        self.checksum = zlib.crc32(part, self.checksum)
        return self._file.write(part)

    def flush(self) -> None:
        self._file.flush()


def _checksum_of(path: Path) -> int:
    checksum = 0
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return checksum


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
        large = tensor.is_cpu and tensor.numel() > _PART
        # A copy in memory that was used before may lie in another order.
        if large and tensor.is_contiguous() and copied.is_contiguous():
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


def _inner(optimizer: Optimizer) -> Optimizer:
    """The one that holds this process's part of the state, where an optimizer is spread over processes."""
    spread = type(optimizer).__name__ == "ZeroRedundancyOptimizer"
    return optimizer.optim if spread else optimizer  # type: ignore[attr-defined]


class _Group:
    """A parameter group as it was, but what a schedule sets."""

    def __init__(self, group: dict[str, Any]) -> None:
        self.parameters: list[Tensor] = list(group["params"])
        self.values = {name: copy.deepcopy(value) for name, value in group.items() if name not in _SCHEDULED}


def _groups_of(optimizers: list[Optimizer]) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers for group in _inner(optimizer).param_groups]


def _by_parameter(groups: list[_Group]) -> dict[int, _Group]:
    return {id(parameter): group for group in groups for parameter in group.parameters}


def _first_of(group: dict[str, Any], before: dict[int, _Group]) -> Optional[_Group]:
    """What this group was: groups are added, taken away and filled up while a model trains."""
    known = (before[id(parameter)] for parameter in group["params"] if id(parameter) in before)
    return next(known, None)


def _equal(a: Any, b: Any) -> bool:
    try:
        same = a == b
        return bool(same.all() if isinstance(same, Tensor) else same)
    except (RuntimeError, ValueError):
        # Of other shapes, or arrays in a list.
        return False


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
