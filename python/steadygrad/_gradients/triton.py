"""Triton kernels that measure many tensors in at most two launches per type.

Each value is read once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .._native import Quiet
from .rows import COLUMNS

# Values that one program reads, and values that it holds at a time.
_CHUNK = 1 << 16
_BLOCK = tl.constexpr(1024)
# Chunks of a tensor that are added at a time, in a fixed order: equal gradients give equal norms to
# the bit.
_ADDED = tl.constexpr(128)
_COLUMNS = tl.constexpr(COLUMNS)

# In the order of `Reader`'s `dtypes`.
_FLOATS = (tl.float32, tl.float64, tl.float16, tl.bfloat16)


@triton.jit
def _measure_chunks(
    addresses, table, rows, FLOATS: tl.constexpr, ALIGNED: tl.constexpr, WHOLE: tl.constexpr
):
    # The type's bits as an integer; in it the smallest normal number, infinity, and the mask of
    # all bits but the sign.
    if FLOATS == tl.float32:
        BITS: tl.constexpr = tl.int32
        WIDE: tl.constexpr = tl.int32
        NORMAL: tl.constexpr = 0x00800000
        INFINITY: tl.constexpr = 0x7F800000
        MAGNITUDE: tl.constexpr = 0x7FFFFFFF
    elif FLOATS == tl.float64:
        BITS: tl.constexpr = tl.int64
        WIDE: tl.constexpr = tl.int64
        NORMAL: tl.constexpr = 0x0010000000000000
        INFINITY: tl.constexpr = 0x7FF0000000000000
        MAGNITUDE: tl.constexpr = 0x7FFFFFFFFFFFFFFF
    elif FLOATS == tl.float16:
        BITS: tl.constexpr = tl.int16
        WIDE: tl.constexpr = tl.int32
        NORMAL: tl.constexpr = 0x0400
        INFINITY: tl.constexpr = 0x7C00
        MAGNITUDE: tl.constexpr = 0x7FFF
    else:
        BITS: tl.constexpr = tl.int16
        WIDE: tl.constexpr = tl.int32
        NORMAL: tl.constexpr = 0x0080
        INFINITY: tl.constexpr = 0x7F80
        MAGNITUDE: tl.constexpr = 0x7FFF
    chunk = tl.program_id(0)
    of_chunk = table + 4 * chunk
    values = tl.load(addresses + tl.load(of_chunk)).to(tl.pointer_type(BITS))
    start, end = tl.load(of_chunk + 1), tl.load(of_chunk + 2)
    if ALIGNED:
        values = tl.multiple_of(values, 16)
        start = tl.multiple_of(start, 1024)
    lanes = tl.arange(0, _BLOCK)
    square = tl.zeros([_BLOCK], tl.float64)
    # Without the sign, the bits have the same order as the values.
    largest = tl.zeros([_BLOCK], WIDE)
    non_finite = tl.zeros([_BLOCK], tl.int32)
    subnormal = tl.zeros([_BLOCK], tl.int32)
    non_zero = tl.zeros([_BLOCK], tl.int32)
    for first in range(start, end, _BLOCK):
        signed = tl.load(values + first + lanes, mask=first + lanes < end, other=0)
        value = signed.to(FLOATS, bitcast=True).to(tl.float64)
        square += value * value
        bits = signed.to(WIDE) & MAGNITUDE
        largest = tl.maximum(largest, tl.where(bits < INFINITY, bits, 0))
        non_finite += (bits >= INFINITY).to(tl.int32)
        subnormal += ((bits > 0) & (bits < NORMAL)).to(tl.int32)
        non_zero += (bits > 0).to(tl.int32)
    summed = tl.sum(square)
    at = rows + tl.load(of_chunk + 3) * _COLUMNS
    tl.store(at, tl.sqrt(summed) if WHOLE else summed)
    tl.store(at + 1, tl.max(largest).to(BITS).to(FLOATS, bitcast=True).to(tl.float64))
    tl.store(at + 2, tl.sum(non_finite).to(tl.float64))
    tl.store(at + 3, tl.sum(subnormal).to(tl.float64))
    tl.store(at + 4, tl.sum(non_zero).to(tl.float64))


@triton.jit
def _add_chunks(chunks, firsts, rows):
    tensor = tl.program_id(0)
    start, end = tl.load(firsts + tensor), tl.load(firsts + tensor + 1)
    lanes = tl.arange(0, _ADDED)
    square = tl.zeros([_ADDED], tl.float64)
    largest = tl.zeros([_ADDED], tl.float64)
    non_finite = tl.zeros([_ADDED], tl.float64)
    subnormal = tl.zeros([_ADDED], tl.float64)
    non_zero = tl.zeros([_ADDED], tl.float64)
    for first in range(start, end, _ADDED):
        held = first + lanes < end
        at = chunks + (first + lanes) * _COLUMNS
        square += tl.load(at, mask=held, other=0.0)
        largest = tl.maximum(largest, tl.load(at + 1, mask=held, other=0.0))
        non_finite += tl.load(at + 2, mask=held, other=0.0)
        subnormal += tl.load(at + 3, mask=held, other=0.0)
        non_zero += tl.load(at + 4, mask=held, other=0.0)
    at = rows + tensor * _COLUMNS
    tl.store(at, tl.sqrt(tl.sum(square)))
    tl.store(at + 1, tl.max(largest))
    tl.store(at + 2, tl.sum(non_finite))
    tl.store(at + 3, tl.sum(subnormal))
    tl.store(at + 4, tl.sum(non_zero))


class Layout:
    """Which values of which tensors each program reads.

    Lists of tensors with the same types and sizes share one layout.

    Args:
        kinds: for each tensor, the index of its type in `_FLOATS` and its number of values.
    """

    def __init__(self, kinds: Sequence[tuple[int, int]], device: torch.device) -> None:
        self._device = device
        self.tensors = len(kinds)
        of_tensors = [range(0, numel, _CHUNK) for _, numel in kinds]
        firsts = list(itertools.accumulate(map(len, of_tensors), initial=0))
        self._chunks = firsts[-1]
        # Then the row of a chunk is the row of its tensor.
        self._whole = all(len(starts) == 1 for starts in of_tensors)
        self._firsts = self._to_device(firsts)
        # One launch for each type.
        self._launches: list[tuple[tl.dtype, int, Tensor]] = []
        for kind in sorted({kind for kind, _ in kinds}):
            table = [
                (place, start, min(start + _CHUNK, numel), firsts[place] + chunk)
                for place, (of, numel) in enumerate(kinds)
                if of == kind
                for chunk, start in enumerate(of_tensors[place])
            ]
            if table:
                self._launches.append((_FLOATS[kind], len(table), self._to_device(table)))
        self._last_addresses = b""
        self._addresses = self._to_device([])
        self._aligned = True

    def measure(self, addresses: bytes, rows: Tensor) -> None:
        """Writes a row of `rows`, of shape `[tensors, COLUMNS]`, for each tensor.

        The tensors must be dense, of the types and sizes given to the constructor. `addresses`
        holds 64-bit integers.
        """
        if addresses != self._last_addresses:
            self._last_addresses = addresses
            # A copy, since `frombuffer` warns about read-only memory.
            read = torch.frombuffer(bytearray(addresses), dtype=torch.int64)
            self._aligned = not (read % 16).any()
            self._addresses = read.to(self._device, non_blocking=True)
        chunks = rows
        if not self._whole:
            chunks = torch.empty(self._chunks, COLUMNS, dtype=torch.float64, device=self._device)
        for floats, programs, table in self._launches:
            _measure_chunks[(programs,)](
                self._addresses, table, chunks, floats, self._aligned, self._whole
            )
        if not self._whole:
            _add_chunks[(self.tensors,)](chunks, self._firsts, rows)

    def _to_device(self, values: Sequence[int] | Sequence[tuple[int, ...]]) -> Tensor:
        # The bytes are few enough that the driver copies them during the call.
        return torch.tensor(values, dtype=torch.int64).to(self._device, non_blocking=True)


@triton.jit
def _gate(rows, before, flag, norm, loss, least, most, rise, tensors):
    lanes = tl.arange(0, _ADDED)
    square = tl.zeros([_ADDED], tl.float64)
    weights = tl.zeros([_ADDED], tl.float64)
    rises = tl.zeros([_ADDED], tl.float64)
    bad = tl.zeros([_ADDED], tl.float64)
    for first in range(0, tensors, _ADDED):
        held = first + lanes < tensors
        of_gradient = rows + (first + lanes) * _COLUMNS
        of_weight = (tensors + first + lanes) * _COLUMNS
        gradient = tl.load(of_gradient, mask=held, other=0.0)
        bad += tl.load(of_gradient + 2, mask=held, other=0.0)
        weight = tl.load(rows + of_weight, mask=held, other=0.0)
        was = tl.load(before + of_weight, mask=held, other=0.0)
        square += gradient * gradient
        weights += weight * weight
        rises = tl.maximum(rises, weight - was)
    of_loss = tl.load(rows + 2 * tensors * _COLUMNS)
    # Comparisons with NaN are false, so NaN is out of bounds.
    total = tl.sqrt(tl.sum(weights))
    within = (tl.sqrt(tl.sum(square)) <= norm) & (tl.sum(bad) == 0.0)
    within = within & (of_loss <= loss) & (of_loss > float("-inf"))
    within = within & (total >= least) & (total <= most) & (tl.max(rises) <= rise)
    closed = tl.where(within, 0.0, 1.0)
    tl.store(flag, closed)
    tl.store(rows + 2 * tensors * _COLUMNS + 1, closed.to(tl.float64))


# Bounds are passed as float32: they are tightened by more than the rounding error, and capped below
# the largest float32.
_INWARDS, _LARGEST = 1e-6, 3e38


def gate(rows: Tensor, before: Tensor, bounds: Quiet, flag: Tensor) -> None:
    """Implements `device.gate`."""
    least = (1 + _INWARDS) * bounds.least_weight_norm
    upper = (bounds.global_norm, bounds.loss, bounds.weight_norm, bounds.weight_rise)
    norm, loss, most, rise = (min(b - _INWARDS * abs(b), _LARGEST) for b in upper)
    _gate[(1,)](rows, before, flag, norm, loss, least, most, rise, len(rows) // 2)
