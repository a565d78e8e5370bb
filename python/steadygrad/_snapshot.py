"""Copies of what a training step changes, and the way back to them."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ._distributed import local


class SnapshotLost(Exception):
    """What was written cannot be read."""


class Snapshot:
    """Parameters, buffers and the optimizers' states as they were.

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
        self._keys: list[tuple[int, Any, str]] = []
        live = _tensors(model, parameters)
        self._weights = len(live)
        for number, optimizer in enumerate(optimizers):
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor):
                        self._keys.append((number, parameter, name))
                        live.append(value.detach())
                    else:
                        self._others.append((number, parameter, name, copy.deepcopy(value)))
        if spare is not None and _same_layout(spare._kept, live):
            self._kept = spare._kept
            copy_all(self._kept, live)
        else:
            self._kept = [tensor.clone() for tensor in live]

    def write(self, path: Path) -> None:
        """Moves the tensors to a file, which is there whole or not at all.

        Raises:
            OSError: it cannot be written; the message says how.
        """
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
        for (number, parameter, name), kept in zip(self._keys, self._kept[self._weights :]):
            live = optimizers[number].state.get(parameter, {}).get(name)
            if isinstance(live, Tensor) and live.shape == kept.shape:
                live.copy_(kept)
            else:
                live = kept.clone()
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
        norms = [
            torch.linalg.vector_norm(now - before).double()
            for tensor, kept in zip(live, self._kept)
            for now, before in zip(_parts(tensor), _parts(kept))
        ]
        if not norms:
            return 0.0
        return float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms])))


# Values of a CPU tensor that are worked on at once: fresh memory costs more than what is done in it.
_PART = 1 << 18


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    if tensor.is_cpu and tensor.is_contiguous() and tensor.numel() > _PART:
        return tensor.view(-1).split(_PART)
    return (tensor,)


def _tensors(model: Optional[nn.Module], parameters: list[Tensor]) -> list[Tensor]:
    of_model = [] if model is None else [*model.parameters(), *model.buffers()]
    return [local(tensor.detach()) for tensor in (of_model or parameters)]


def _same_layout(kept: list[Tensor], live: list[Tensor]) -> bool:
    return len(kept) == len(live) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
        for a, b in zip(kept, live)
    )


@torch.no_grad()
def copy_all(to: list[Tensor], tensors: list[Tensor]) -> None:
    for tensor, into in zip(tensors, to):
        into.copy_(tensor)
