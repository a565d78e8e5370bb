"""A copy of what a training step changes, and the way back to it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .buffers import BufferCopies
from .copies import copy_all, distance, room_for, same_layout
from .distributed import Placement, local_part
from .param_groups import GroupCopies, local_optimizer
from .snapshot_file import read_tensors, write_tensors


class Snapshot:
    """Copies of trained parameters, buffers and optimizer states.

    The copies stay on their own device if it has memory to spare at the peak of a training step,
    else they go to the host.

    Args:
        spare: a snapshot that is no longer needed. Its memory is reused if it fits, since fresh
            memory costs as much as the copying.
    """

    @torch.no_grad()
    def __init__(
        self,
        parameters: list[Tensor],
        buffers: BufferCopies,
        optimizers: list[Optimizer],
        spare: Snapshot | None = None,
    ) -> None:
        self._path: Path | None = None
        self._checksum = 0
        optimizers = [local_optimizer(optimizer) for optimizer in optimizers]
        trained = {
            id(p)
            for optimizer in optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }
        # Frozen parameters may be most of a model.
        self._parameters = [p for p in parameters if p.requires_grad or id(p) in trained]
        good_buffers = buffers.good()
        self._buffers = list(good_buffers)
        live = [local_part(parameter.detach()) for parameter in self._parameters]
        live += good_buffers.values()
        self._weights = len(live)
        self._groups = GroupCopies(optimizers)
        live += self._list_states(optimizers)
        reused = spare is not None and same_layout(spare._copies, live)
        self._copies: list[Tensor] = spare._copies if spare and reused else room_for(live)
        copy_all(self._copies, live)

    def _list_states(self, optimizers: list[Optimizer]) -> list[Tensor]:
        """Returns the tensors of the optimizers' states, and copies what is not a tensor."""
        # By optimizer, key and name; the name is None for an entry that belongs to no parameter.
        self._others: list[tuple[int, Any, str | None, Any]] = []
        self._keys: list[tuple[int, Any, str, Placement]] = []
        tensors: list[Tensor] = []
        for number, optimizer in enumerate(optimizers):
            for parameter, state in optimizer.state.items():
                if not isinstance(state, dict):
                    self._others.append((number, parameter, None, copy.deepcopy(state)))
                    continue
                for name, value in state.items():
                    if isinstance(value, Tensor):
                        self._keys.append((number, parameter, name, Placement(value)))
                        tensors.append(local_part(value.detach()))
                    else:
                        self._others.append((number, parameter, name, copy.deepcopy(value)))
        return tensors

    def write(self, path: Path) -> None:
        """Moves the tensors to a file, which is written whole or not at all.

        Raises:
            OSError: the file cannot be written; the message says why.
        """
        self._checksum = write_tensors(self._copies, path)
        self._path, self._copies = path, []

    def read(self) -> None:
        """Loads the tensors, if they are in a file.

        Raises:
            SnapshotLost: the file is gone or damaged.
        """
        if self._path is not None:
            self._copies = read_tensors(self._path, self._checksum)

    def remove_file(self) -> None:
        """Removes the file, if there is one."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def changed_settings(self, optimizers: list[Optimizer]) -> set[str]:
        """Returns the entries of the parameter groups that have changed since the snapshot."""
        return self._groups.changed(optimizers)

    @torch.no_grad()
    def restore(
        self, buffers: BufferCopies, optimizers: list[Optimizer], settings: set[str]
    ) -> None:
        """Puts everything back in place.

        Args:
            settings: the entries of the parameter groups that the optimizers compute themselves.
                All others stay as the user or a schedule has set them.
        """
        optimizers = [local_optimizer(optimizer) for optimizer in optimizers]
        weights = [local_part(parameter.detach()) for parameter in self._parameters]
        copy_all(weights, self._copies[: len(weights)])
        buffers.restore(dict(zip(self._buffers, self._copies[len(weights) : self._weights])))
        self._groups.restore(optimizers, settings)
        for optimizer, state in zip(optimizers, self._states(optimizers)):
            # In place, since other objects may hold the dictionary.
            optimizer.state.clear()
            optimizer.state.update(state)
        if self._path is not None:
            self._copies = []

    def _states(self, optimizers: list[Optimizer]) -> list[dict[Any, Any]]:
        """Returns the optimizers' states as they were, in the memory of the live ones."""
        states: list[dict[Any, Any]] = [{} for _ in optimizers]
        copies = self._copies[self._weights :]
        for (number, parameter, name, placement), copied in zip(self._keys, copies):
            live = optimizers[number].state.get(parameter, {}).get(name)
            if isinstance(live, Tensor) and local_part(live).shape == copied.shape:
                local_part(live).copy_(copied)
            else:
                live = placement.place(copied)
            states[number].setdefault(parameter, {})[name] = live
        for number, parameter, key, value in self._others:
            if key is None:
                states[number][parameter] = copy.deepcopy(value)
            else:
                states[number].setdefault(parameter, {})[key] = copy.deepcopy(value)
        return states

    @torch.no_grad()
    def change_norm(self) -> float:
        """Returns the norm of the change of all parameters since the snapshot."""
        live = [local_part(parameter.detach()) for parameter in self._parameters]
        return distance(live, self._copies)
