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


@torch.no_grad()
def measured(
    reader: _native.Reader, tensors: list[Tensor], loss: Optional[Tensor] = None
) -> tuple[_native.DeviceReading, float]:
    """Statistics of each tensor, and the loss as a number (NaN where none is given).

    On CUDA, dense tensors are read by kernels of our own, each value once; others by PyTorch's operators.
    Nothing is waited for until all is on its way.
    """
    reading = _native.DeviceReading(reader, tensors)
    waiting: list[tuple[int, Tensor]] = []
    with_loss = None
    for index, addresses, kinds in reading.groups:
        device = torch.device("cuda", index)
        if _kernels(device) is None:
            reading.leave(index)
            continue
        of_loss = loss is not None and with_loss is None and loss.device == device
        with_loss = index if of_loss else with_loss
        rows = _by_kernel(device, addresses, kinds, loss if of_loss else None)
        waiting.append((index, rows))
    rest = reading.rest
    of_rest = _by_operators([tensors[place] for place in rest]) if rest else []
    value = math.nan if loss is None or with_loss is not None else float(loss)
    for index, rows in waiting:
        rows = rows.cpu()
        reading.fill(reader, index, rows)
        if index == with_loss:
            value = rows[-1, 0].item()
    for place, row in zip(rest, of_rest):
        reading.put(place, row)
    return reading, value


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
