"""Writes tensors to a file with a checksum, and reads them back."""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import IO

import torch
from torch import Tensor


class SnapshotLost(Exception):
    """The snapshot's file is gone or damaged."""


def snapshot_path(folder: Path, step: int, rank: str) -> Path:
    """Returns the path of the snapshot that was taken before this step."""
    return folder / f"step-{step}{rank}.pt"


def remove_leftovers(folder: Path, rank: str) -> None:
    """Removes the snapshots of a process that was killed."""
    leftover = re.compile(rf"step-[0-9]+{rank}\.(pt|partial)")
    for path in folder.iterdir():
        if leftover.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_tensors(tensors: list[Tensor], path: Path) -> int:
    """Writes the tensors to a file, whole or not at all, and returns its checksum.

    Raises:
        OSError: the file cannot be written; the message says why.
    """
    if any(tensor.is_pinned() for tensor in tensors if tensor.is_cpu):
        torch.cuda.synchronize()
    partial = path.with_suffix(".partial")
    try:
        with open(partial, "wb") as file:
            writer = _ChecksumWriter(file)
            torch.save(tensors, writer)  # type: ignore[arg-type]
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"cannot write the guard's snapshot `{path}`: {error}") from error
    return writer.checksum


def read_tensors(path: Path, checksum: int) -> list[Tensor]:
    """Returns the tensors in a file.

    Raises:
        SnapshotLost: the file is gone or damaged.
    """
    try:
        # PyTorch does not verify the checksums in the file.
        if _checksum_of(path) != checksum:
            raise ValueError("its contents are not what was written")
        tensors: list[Tensor] = torch.load(path, weights_only=True)
    except Exception as error:
        raise SnapshotLost(f"its snapshot `{path}` cannot be read: {error}") from error
    return tensors


class _ChecksumWriter:
    """A file that is written in order, and the checksum of its contents."""

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
