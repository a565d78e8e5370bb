"""The states that a rollback can restore."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer

from .. import _native
from .buffers import BufferCopies
from .distributed import Processes
from .snapshot import Snapshot
from .snapshot_file import SnapshotLost, remove_leftovers, snapshot_path


class SnapshotStore:
    """Snapshots by step, in memory or in a folder that this process has locked.

    Raises:
        OSError: the folder cannot be used, or another process writes there.
    """

    def __init__(
        self,
        parameters: list[Tensor],
        optimizers: list[Optimizer],
        processes: Processes | None,
        folder: str | os.PathLike[str] | None,
    ) -> None:
        self._parameters, self._optimizers = parameters, optimizers
        self._processes = processes
        self._snapshots: dict[int, Snapshot] = {}
        self._spare: Snapshot | None = None
        # Entries of the parameter groups that the optimizers change when they step.
        self._settings: set[str] = set()
        self._latest: Snapshot | None = None
        self._folder = None if folder is None else Path(folder)
        self._rank = "" if processes is None else f"-rank{processes.rank}"
        self._lock: _native.FolderLock | None = None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _native.FolderLock(os.fspath(self._folder), f"lock{self._rank}")
            remove_leftovers(self._folder, self._rank)
            weakref.finalize(self, _remove_files, self._snapshots, os.getpid())

    def take_if_wanted(
        self, step: int, native: _native.Guard, buffers: BufferCopies
    ) -> Snapshot | None:
        """Takes a snapshot if the guard wants one; returns it if it is in memory."""
        self._latest = None
        if not native.wants_snapshot(step):
            return None
        snapshot = self.take(step, buffers)
        self._latest = self._snapshots[step]
        native.snapshot_taken(step)
        return snapshot

    def take(self, step: int, buffers: BufferCopies) -> Snapshot | None:
        """Keeps the state before this step; returns the snapshot if it is in memory.

        Raises:
            OSError: the file cannot be written.
        """
        snapshot = Snapshot(self._parameters, buffers, self._optimizers, self._spare)
        self._spare = None
        if self._folder is not None:
            snapshot.write(snapshot_path(self._folder, step, self._rank))
        self._snapshots[step] = snapshot
        return snapshot if self._folder is None else None

    def restore(self, step: int, buffers: BufferCopies) -> str | None:
        """Restores the state before this step, or returns why it cannot.

        Either all processes restore it or none does.
        """
        why, state = None, self._snapshots.get(step)
        if state is None:
            why = "its snapshot is not kept"
        else:
            try:
                state.read()
            except SnapshotLost as lost:
                why = str(lost)
        if self._processes is not None and self._processes.any(why is not None):
            why = why or "another process has lost its snapshot"
        if why is None and state is not None:
            state.restore(buffers, self._optimizers, self._settings)
        return why

    def roll_back(
        self, step: int, judged: _native.Judgement, native: _native.Guard, buffers: BufferCopies
    ) -> tuple[_native.Judgement, int | None]:
        """Restores a state if that is decided; returns the final judgement and the state's step.

        If a state cannot be restored, the guard decides again.
        """
        while (target := judged.to_step) is not None:
            keeps_abandoned = native.wants_abandoned()
            if keeps_abandoned and step not in self._snapshots:
                self.take(step, buffers)
            why = self.restore(target, buffers)
            if why is None:
                if keeps_abandoned:
                    native.rolled_back_from(step, target)
                else:
                    native.rolled_back(target)
                return judged, target
            judged = native.rollback_failed(target, why)
        return judged, None

    def after_step(self) -> None:
        """Learns which settings the optimizers have changed, if this step began with a snapshot."""
        if self._latest is not None:
            self._settings |= self._latest.changed_settings(self._optimizers)
            self._latest = None

    def retain(self, steps: set[int]) -> None:
        """Drops all snapshots but those of these steps."""
        for step in [step for step in self._snapshots if step not in steps]:
            dropped = self._snapshots.pop(step)
            dropped.remove_file()
            self._spare = dropped if self._folder is None else None

    def close(self) -> None:
        """Removes the files and unlocks the folder."""
        if self._folder is not None:
            self.retain(set())
            self._lock = None


def _remove_files(snapshots: dict[int, Snapshot], process: int) -> None:
    # A forked process must leave its parent's files alone.
    if os.getpid() == process:
        for snapshot in snapshots.values():
            snapshot.remove_file()
