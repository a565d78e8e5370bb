"""Copies many tensors at once, with memory that fits the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Values that are processed at a time: on a CPU fresh memory costs more than the arithmetic, and a
# GPU has little memory to spare.
_CHUNK, _CHUNK_ON_DEVICE = 1 << 18, 1 << 24

# The most copies that a guard keeps, and the share of the free memory that they may take.
_COPIES, _SHARE = 4, 0.5


class CopyPlan:
    """Pairs of a target and a source; pairs of one device and type are copied in few launches."""

    def __init__(self, targets: list[Tensor], sources: list[Tensor]) -> None:
        self._single: list[tuple[Tensor, Tensor]] = []
        self._batches: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]]
        self._batches = {}
        for target, source in zip(targets, sources):
            if target.is_cpu or source.is_cpu:
                self._single.append((target, source))
            else:
                lists = self._batches.setdefault((target.device, target.dtype), ([], []))
                lists[0].append(target)
                lists[1].append(source)

    @torch.no_grad()
    def copy(self) -> None:
        """Copies every source into its target."""
        for target, source in self._single:
            # The stream orders a write to pinned memory before the optimizer's next step.
            target.copy_(source, non_blocking=True)
        for targets, sources in self._batches.values():
            torch._foreach_copy_(targets, sources)


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copies every source into its target."""
    CopyPlan(targets, sources).copy()


def same_layout(copies: list[Tensor], live: list[Tensor]) -> bool:
    """Returns whether the memory of these copies fits the live tensors."""
    return len(copies) == len(live) and all(
        a.shape == b.shape and a.dtype == b.dtype and (a.is_cpu or a.device == b.device)
        for a, b in zip(copies, live)
    )


def room_for(live: list[Tensor]) -> list[Tensor]:
    """Allocates memory for a copy of each tensor: on the host if its device is short of memory."""
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
    """Returns the bytes that were free when training used the most memory."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.max_memory_allocated(device))


def distance(live: list[Tensor], copies: list[Tensor]) -> float:
    """Returns the norm of the difference between tensors and their copies."""
    norms = []
    for now, before in _chunks(live, copies):
        changes = torch._foreach_sub(now, [part.to(now[0].device) for part in before])
        norms.append(torch.stack(torch._foreach_norm(changes)).double())
    if not norms:
        return 0.0
    return float(torch.linalg.vector_norm(torch.cat([norm.to(norms[0].device) for norm in norms])))


def _chunks(
    live: list[Tensor], copies: list[Tensor]
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Yields lists of tensors and their copies, each of one device and type."""
    nows: list[Tensor] = []
    befores: list[Tensor] = []
    size = 0
    for tensor, copied in zip(live, copies):
        pairs = [(tensor, copied)]
        large = tensor.is_cpu and tensor.numel() > _CHUNK
        # A copy in reused memory may have other strides.
        if large and tensor.is_contiguous() and copied.is_contiguous():
            pairs = list(zip(tensor.view(-1).split(_CHUNK), copied.view(-1).split(_CHUNK)))
        for now, before in pairs:
            limit = _CHUNK if now.is_cpu else _CHUNK_ON_DEVICE
            alike = nows and (nows[0].device, nows[0].dtype) == (now.device, now.dtype)
            if nows and (not alike or size + now.numel() > limit):
                yield nows, befores
                nows, befores, size = [], [], 0
            nows.append(now)
            befores.append(before)
            size += now.numel()
    if nows:
        yield nows, befores
