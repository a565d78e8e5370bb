"""Statistics of tensors that are not read on the CPU, waiting once for each device."""

from __future__ import annotations

import math
import warnings
from array import array
from functools import lru_cache
from typing import Any, Optional

import torch
from torch import Tensor

from . import _native

Row = tuple[float, float, int, int, int, int]
"""What `TensorStats` holds, in its order."""

COLUMNS = 5
"""What is measured of a tensor: norm, largest finite value, and how many values are not finite, subnormal and
not zero. In float64, which holds all of them exactly."""


class OnItsWay:
    """Statistics of tensors, and a loss, that their devices are at work on.

    On CUDA, dense tensors are read by kernels of our own, each value once; others by PyTorch's operators.
    """

    @torch.no_grad()
    def __init__(
        self, reader: _native.Reader, tensors: list[Tensor], loss: Optional[Tensor] = None
    ) -> None:
        self._reader, self._tensors, self._loss = reader, tensors, loss
        self._reading = _native.DeviceReading(reader, tensors)
        self._waiting: list[tuple[int, Tensor]] = []
        self._with_loss: Optional[int] = None
        for index, addresses, kinds in self._reading.groups:
            device = torch.device("cuda", index)
            if _kernels(device) is None:
                self._reading.leave(index)
                continue
            of_loss = loss is not None and self._with_loss is None and loss.device == device
            self._with_loss = index if of_loss else self._with_loss
            rows = _by_kernel(device, addresses, kinds, loss if of_loss else None)
            self._waiting.append((index, rows))

    def rows(self) -> Optional[Tensor]:
        """On the device, a row for each tensor and one that begins with the loss; None where some of them are
        elsewhere."""
        if self._reading.rest or len(self._waiting) != 1 or self._with_loss is None:
            return None
        return self._waiting[0][1]

    @torch.no_grad()
    def read(self, copied: Optional[Tensor] = None) -> tuple[_native.DeviceReading, float]:
        """Waits for each device once; the loss is NaN where none is given.

        Args:
            copied: what `rows` gave, on the CPU, where somebody has waited for it already.
        """
        reading, rest = self._reading, self._reading.rest
        of_rest = _by_operators([self._tensors[place] for place in rest]) if rest else []
        loss = self._loss
        value = math.nan if loss is None or self._with_loss is not None else float(loss)
        for index, rows in self._waiting:
            rows = rows.cpu() if copied is None else copied
            reading.fill(self._reader, index, rows)
            if index == self._with_loss:
                value = rows[-1, 0].item()
        for place, row in zip(rest, of_rest):
            reading.put(place, row)
        return reading, value


def measured(
    reader: _native.Reader, tensors: list[Tensor], loss: Optional[Tensor] = None
) -> tuple[_native.DeviceReading, float]:
    """Statistics of each tensor, and the loss as a number (NaN where none is given), waiting once for each
    device."""
    return OnItsWay(reader, tensors, loss).read()


def gate(rows: Tensor, before: Tensor, bounds: _native.Quiet, flag: Tensor) -> None:
    """Sets `flag`, and the second number of the last row, to 0 where what was measured is within bounds, else to 1.

    Args:
        rows: of `OnItsWay`: gradients, as many weights, and the loss.
        before: the same of the step before.
    """
    with torch.cuda.device(rows.device):
        _kernels(rows.device).gate(rows, before, bounds, flag)


def _by_operators(tensors: list[Tensor]) -> list[Row]:
    together: dict[Any, list[int]] = {}
    rows = [_reduced(tensor.detach()) for tensor in tensors]
    for place, row in enumerate(rows):
        # What a subclass reduces to need not go into one tensor with others.
        together.setdefault(row.device if type(row) is Tensor else place, []).append(place)
    measured: list[Row] = [(0.0, 0.0, 0, 0, 0, 0)] * len(rows)
    for places in together.values():
        read = torch.stack([rows[place] for place in places]).tolist()
        for place, (norm, largest, non_finite, subnormal, non_zero) in zip(places, read):
            numel = tensors[place].numel() * (2 if tensors[place].is_complex() else 1)
            counts = (int(non_finite), int(subnormal), numel - int(non_zero))
            measured[place] = (norm, largest, numel, *counts)
    return measured


def _reduced(tensor: Tensor) -> Tensor:
    """The columns of one tensor."""
    if tensor.layout != torch.strided:
        tensor = tensor.coalesce().values() if tensor.layout == torch.sparse_coo else tensor.values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    magnitude = tensor.abs()
    finite = magnitude.isfinite()
    norm = torch.linalg.vector_norm(magnitude, dtype=torch.float64)
    largest = magnitude.where(finite, 0.0).max() if magnitude.numel() else norm
    subnormal = (magnitude < torch.finfo(tensor.dtype).tiny) & (magnitude > 0)
    counts = [each.sum().double() for each in (~finite, subnormal, magnitude != 0)]
    return torch.stack([norm, largest.double(), *counts])


@lru_cache(maxsize=None)
def _kernels(device: torch.device) -> Any:
    """Our kernels, if they run on this device: that takes Triton, and a C compiler for it."""
    try:
        from . import _triton
    except ImportError:
        return None
    try:
        values = torch.tensor([3.0, -4.0], device=device)
        layout = _triton.Layout([(0, 2)], device)
        row = torch.empty(1, COLUMNS, dtype=torch.float64, device=device)
        with torch.cuda.device(device):
            layout.measure(array("q", [values.data_ptr()]).tobytes(), row)
        if row.tolist() == [[5.0, 4.0, 0.0, 0.0, 2.0]]:
            return _triton
        why = f"they measured {row.tolist()} of [3, -4]"
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    warnings.warn(
        f"steadygrad's kernels do not run on {device}, so PyTorch's own operators measure the gradients, "
        f"which is slower: {why}",
        stacklevel=2,
    )
    return None


def _by_kernel(
    device: torch.device, addresses: bytes, kinds: bytes, loss: Optional[Tensor]
) -> Tensor:
    """A row for each tensor; the loss is in the first column of one more, if there is one."""
    layout = _layout(device, torch.cuda.current_stream(device).cuda_stream, kinds)
    rows = torch.empty(
        layout.tensors + (loss is not None), COLUMNS, dtype=torch.float64, device=device
    )
    with torch.cuda.device(device):
        layout.measure(addresses, rows)
    if loss is not None:
        rows[-1, :1].copy_(loss.detach().reshape(1))
    return rows


# Another stream has its own, since nothing orders what two streams write to one.
@lru_cache(maxsize=16)
def _layout(device: torch.device, _stream: int, kinds: bytes) -> Any:
    numbers = array("q", kinds)
    return _kernels(device).Layout(list(zip(numbers[::2], numbers[1::2])), device)
