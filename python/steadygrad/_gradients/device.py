"""Statistics of tensors that the CPU does not read, with one wait per device."""

from __future__ import annotations

import math
import warnings
from array import array
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import _native
from .operators import rows_by_operators
from .rows import COLUMNS


class PendingReading:
    """Statistics of tensors, and a loss, that devices are still computing.

    On CUDA, steadygrad's kernels read each value of a dense tensor once. PyTorch's operators
    measure all other tensors.
    """

    @torch.no_grad()
    def __init__(
        self, reader: _native.Reader, tensors: list[Tensor], loss: Tensor | None = None
    ) -> None:
        self._reader, self._tensors, self._loss = reader, tensors, loss
        self._reading = _native.DeviceReading(reader, tensors)
        self._pending: list[tuple[int, Tensor]] = []
        self._device_of_loss: int | None = None
        for index, addresses, kinds in self._reading.groups:
            device = torch.device("cuda", index)
            if kernels_for(device) is None:
                self._reading.leave(index)
                continue
            takes_loss = loss is not None and self._device_of_loss is None and loss.device == device
            self._device_of_loss = index if takes_loss else self._device_of_loss
            rows = _rows_by_kernels(device, addresses, kinds, loss if takes_loss else None)
            self._pending.append((index, rows))

    def rows(self) -> Tensor | None:
        """Returns a row per tensor and one that begins with the loss, still on the device.

        None if they are not all on one device.
        """
        if self._reading.rest or len(self._pending) != 1 or self._device_of_loss is None:
            return None
        return self._pending[0][1]

    @torch.no_grad()
    def read(self, copied: Tensor | None = None) -> tuple[_native.DeviceReading, float]:
        """Waits once for each device, and returns the statistics and the loss (NaN without one).

        Args:
            copied: the result of `rows`, on the CPU, if the caller has waited for it already.
        """
        reading, rest = self._reading, self._reading.rest
        rows_of_rest = rows_by_operators([self._tensors[place] for place in rest]) if rest else []
        loss = self._loss
        value = math.nan if loss is None or self._device_of_loss is not None else float(loss)
        for index, pending in self._pending:
            rows = pending.cpu() if copied is None else copied
            reading.fill(self._reader, index, rows)
            if index == self._device_of_loss:
                value = float(rows[-1, 0].item())
        for place, row in zip(rest, rows_of_rest):
            reading.put(place, row)
        return reading, value


def measure_tensors(
    reader: _native.Reader, tensors: list[Tensor], loss: Tensor | None = None
) -> tuple[_native.DeviceReading, float]:
    """Returns statistics of each tensor, and the loss as a number (NaN without one)."""
    return PendingReading(reader, tensors, loss).read()


def gate(rows: Tensor, before: Tensor, bounds: _native.Quiet, flag: Tensor) -> None:
    """Sets `flag`, and the second number of the last row, to 0 within the bounds, else to 1.

    Args:
        rows: of `PendingReading`: gradients, as many weights, and the loss.
        before: the rows of the step before.
    """
    with torch.cuda.device(rows.device):
        kernels_for(rows.device).gate(rows, before, bounds, flag)


@cache
def kernels_for(device: torch.device) -> Any:
    """Returns the module of kernels if they run on this device, else None.

    They need Triton, and a C compiler for it.
    """
    try:
        from . import triton
    except ImportError:
        return None
    try:
        values = torch.tensor([3.0, -4.0], device=device)
        layout = triton.Layout([(0, 2)], device)
        row = torch.empty(1, COLUMNS, dtype=torch.float64, device=device)
        with torch.cuda.device(device):
            layout.measure(array("q", [values.data_ptr()]).tobytes(), row)
        if row.tolist() == [[5.0, 4.0, 0.0, 0.0, 2.0]]:
            return triton
        why = f"they measured {row.tolist()} of [3, -4]"
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    warnings.warn(
        f"steadygrad's kernels do not run on {device}: {why}. PyTorch's operators measure the "
        "gradients instead, which is slower",
        stacklevel=2,
    )
    return None


def _rows_by_kernels(
    device: torch.device, addresses: bytes, kinds: bytes, loss: Tensor | None
) -> Tensor:
    """Returns a row per tensor; the loss is in the first column of an additional last row."""
    layout = _layout(device, torch.cuda.current_stream(device).cuda_stream, kinds)
    rows = torch.empty(
        layout.tensors + (loss is not None), COLUMNS, dtype=torch.float64, device=device
    )
    with torch.cuda.device(device):
        layout.measure(addresses, rows)
    if loss is not None:
        rows[-1, :1].copy_(loss.detach().reshape(1))
    return rows


# Each stream has its own layout: nothing orders the writes of two streams to one.
@lru_cache(maxsize=16)
def _layout(device: torch.device, _stream: int, kinds: bytes) -> Any:
    numbers = array("q", kinds)
    return kernels_for(device).Layout(list(zip(numbers[::2], numbers[1::2])), device)
