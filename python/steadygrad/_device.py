"""Statistics of tensors that are not read on the CPU, waiting once for each device."""

from __future__ import annotations

import math
import warnings
from array import array
from functools import lru_cache
from typing import Any, NamedTuple, Optional

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


def accumulating(device: torch.device) -> torch.dtype:
    """What sums over many values are kept in: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def norm_of(tensor: Tensor) -> float:
    """The L2 norm of a dense tensor, real or complex; in float64, on the host at the latest."""
    tensor = as_real(tensor.detach())
    if accumulating(tensor.device) == torch.float64:
        return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))
    magnitude = tensor.abs()
    norm, _, unit = _sizes(magnitude, magnitude.isfinite()).tolist()
    return norm * unit


class _Held(NamedTuple):
    """What this process has of a tensor; and how the tensor is spread over others, if it is: a mesh, and a
    placement for each of its dimensions."""

    part: Tensor
    spread: Optional[tuple[Any, tuple[Any, ...]]] = None


def _held(tensor: Tensor) -> _Held:
    if not hasattr(tensor, "placements"):
        return _Held(tensor)
    from torch.distributed.tensor import Replicate, Shard

    # Of what is still a sum over processes no part tells the norm.
    summed = [Replicate() if each.is_partial() else each for each in tensor.placements]
    tensor = tensor.redistribute(placements=summed)
    if all(each.is_replicate() for each in summed):
        return _Held(tensor.to_local())
    rows = tuple(each if each.is_replicate() else Shard(0) for each in summed)
    return _Held(tensor.to_local(), (tensor.device_mesh, rows))


def _by_operators(tensors: list[Tensor]) -> list[Row]:
    together: dict[Any, list[int]] = {}
    held = [_held(tensor.detach()) for tensor in tensors]
    reduced = [_reduced(each.part) for each in held]
    for place, (sizes, _) in enumerate(reduced):
        # What a subclass reduces to need not go into one tensor with others.
        key = (sizes.device, held[place].spread) if type(sizes) is Tensor else place
        together.setdefault(key, []).append(place)
    measured: list[Row] = [(0.0, 0.0, 0, 0, 0, 0)] * len(tensors)
    for places in together.values():
        sizes, counts = (torch.stack(each) for each in zip(*(reduced[place] for place in places)))
        if (spread := held[places[0]].spread) is not None:
            sizes, counts = _joined(spread, sizes, counts)
        for place, (norm, largest, unit), count in zip(places, sizes.tolist(), counts.tolist()):
            numel = tensors[place].numel() * (2 if tensors[place].is_complex() else 1)
            non_finite, subnormal, non_zero = count
            counted = (numel, non_finite, subnormal, numel - non_zero)
            measured[place] = (norm * unit, largest, *counted)
    return measured


def _joined(
    spread: tuple[Any, tuple[Any, ...]], sizes: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Of whole tensors, from the parts of all processes."""
    from torch.distributed.tensor import DTensor

    parts = [DTensor.from_local(each[None], *spread, run_check=False) for each in (sizes, counts)]
    sizes, counts = (each.full_tensor() for each in parts)
    norms = torch.linalg.vector_norm(sizes[..., 0] * sizes[..., 2], dim=0)
    largest = sizes[..., 1].amax(0)
    return torch.stack([norms, largest, torch.ones_like(norms)], dim=-1), counts.sum(0)


def as_real(tensor: Tensor) -> Tensor:
    """Of complex values their parts, in the same memory where they lie in it as they are."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _reduced(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Of one tensor its sizes; and how many values are not finite, subnormal and not zero."""
    if tensor.layout != torch.strided:
        tensor = tensor.coalesce().values() if tensor.layout == torch.sparse_coo else tensor.values()
    magnitude = as_real(tensor).abs()
    finite = magnitude.isfinite()
    subnormal = (magnitude < torch.finfo(magnitude.dtype).tiny) & (magnitude > 0)
    counts = torch.stack([each.sum() for each in (~finite, subnormal, magnitude != 0)])
    return _sizes(magnitude, finite), counts


def _sizes(magnitude: Tensor, finite: Tensor) -> Tensor:
    """The norm in units, the largest finite value, and the unit."""
    wide = accumulating(magnitude.device)
    largest = magnitude.where(finite, 0.0).max() if magnitude.numel() else magnitude.sum()
    largest, unit = largest.to(wide), torch.ones_like(largest, dtype=wide)
    if wide != torch.float64:
        # The squares of float32 leave its range long before the values do.
        unit = largest.where(largest > 0, 1.0)
        magnitude = magnitude.to(wide) / unit
    return torch.stack([torch.linalg.vector_norm(magnitude, dtype=wide), largest, unit])


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
