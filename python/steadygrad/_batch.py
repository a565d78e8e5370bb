"""A batch of any shape: how it goes through a model, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

import torch
from torch import Tensor, nn


def outputs_of(model: nn.Module, batch: Any) -> Any:
    """Of a mapping, or of the first of a pair; inputs that are a tuple are the model's arguments."""
    if isinstance(batch, Mapping):
        return model(**batch)
    inputs = batch[0]
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def forward_of(batch: Any, loss_fn: Callable[..., Tensor]) -> Callable[[nn.Module, Any], Tensor]:
    if isinstance(batch, Mapping):
        return lambda model, batch: loss_fn(outputs_of(model, batch))
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return lambda model, batch: loss_fn(outputs_of(model, batch), batch[1])
    raise TypeError(
        f"`batch` is a {type(batch).__name__}; give (inputs, targets), or a mapping of the model's arguments"
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Dropout as it was the last time; the caller's generators stay where they are."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def tensors_of(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, Mapping) else batch
    if not isinstance(batch, (Mapping, tuple, list)):
        return []
    return [tensor for part in parts for tensor in tensors_of(part)]


def rows_of(batch: Any) -> Optional[int]:
    """The size that all tensors have first."""
    sizes = {tensor.shape[0] if tensor.ndim else None for tensor in tensors_of(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def first_rows(batch: Any, rows: int) -> Any:
    if isinstance(batch, Tensor):
        return batch[:rows]
    if isinstance(batch, Mapping):
        return {name: first_rows(part, rows) for name, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch)(first_rows(part, rows) for part in batch)
    return batch
