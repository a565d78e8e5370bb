"""A batch of any shape: how it goes through a model, and its rows."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves


def outputs_of(model: nn.Module, batch: Any) -> Any:
    """Of a mapping, or of the first of a pair; inputs that are a tuple are the model's arguments.

    Raises:
        TypeError: the model does not take what the mapping holds.
    """
    if isinstance(batch, Mapping):
        try:
            return model(**batch)
        except TypeError:
            _check_arguments(model, batch)
            raise
    inputs = batch[0]
    several = isinstance(inputs, tuple) and not isinstance(inputs, PackedSequence)
    return model(*inputs) if several else model(inputs)


def _check_arguments(model: nn.Module, batch: Mapping[str, Any]) -> None:
    signature = inspect.signature(model.forward)
    try:
        signature.bind(**batch)
    except TypeError as error:
        keys, name = ", ".join(f"`{key}`" for key in batch), type(model).__name__
        raise TypeError(
            f"`batch` is a mapping of {keys}, which are the model's arguments, but `{name}.forward` takes "
            f"{signature}: {error}; give (inputs, targets), or the model's own arguments alone"
        ) from error


def forward_of(batch: Any, loss_fn: Callable[..., Tensor]) -> Callable[[nn.Module, Any], Tensor]:
    """From a model and such a batch to the loss.

    Raises:
        TypeError: it is no batch.
    """
    if isinstance(batch, Mapping):
        parts, call = [*batch.values()], "`loss_fn(output)` for a batch that is a mapping"
        targets = lambda batch: ()
    elif isinstance(batch, (tuple, list)) and len(batch) == 2:
        parts, call = [*batch], "`loss_fn(output, targets)`"
        targets = lambda batch: (batch[1],)
    else:
        raise TypeError(
            f"`batch` is a {type(batch).__name__}; give (inputs, targets), or a mapping of the model's arguments"
        )
    if any(type(leaf).__module__ == "numpy" for leaf in tree_leaves(parts)):
        raise TypeError("`batch` holds NumPy arrays; give tensors: `torch.as_tensor(array)`")

    def forward(model: nn.Module, batch: Any) -> Tensor:
        output = outputs_of(model, batch)
        try:
            loss = loss_fn(output, *targets(batch))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise TypeError(
                f"`loss_fn` failed: {type(error).__name__}: {error}. It is called as {call}, where `output` is not "
                f"the model but what it gave, here a {type(output).__name__}; give a function of these"
            ) from error
        if not isinstance(loss, Tensor):
            raise TypeError(f"`loss_fn` gave a {type(loss).__name__}; give a tensor that holds one number")
        return loss

    return forward


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Dropout as it was the last time; the caller's generators, Python's and NumPy's as well, stay where they
    are."""
    numpy, state = sys.modules.get("numpy"), random.getstate()
    numpy_state = None if numpy is None else numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            random.seed(seed)
            if numpy is not None:
                numpy.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)


def tensors_of(batch: Any) -> list[Tensor]:
    if isinstance(batch, PackedSequence):
        return [batch.data]
    if isinstance(batch, Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, Mapping) else batch
    if not isinstance(batch, (Mapping, tuple, list)):
        return []
    return [tensor for part in parts for tensor in tensors_of(part)]


def _is_packed(part: Any) -> bool:
    return isinstance(part, PackedSequence)


def rows_of(batch: Any) -> Optional[int]:
    """The size that all tensors have first; None of packed sequences as well, whose steps are of all rows."""
    if any(map(_is_packed, tree_leaves(batch, is_leaf=_is_packed))):
        return None
    sizes = {tensor.shape[0] if tensor.ndim else None for tensor in tensors_of(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def first_rows(batch: Any, rows: int) -> Any:
    if isinstance(batch, Tensor):
        return batch[:rows]
    if isinstance(batch, Mapping):
        return {name: first_rows(part, rows) for name, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return like(batch, [first_rows(part, rows) for part in batch])
    return batch


def like(sequence: Any, parts: list[Any]) -> Any:
    """These parts in a tuple or list of that type, which may have names for them."""
    return type(sequence)(*parts) if hasattr(sequence, "_fields") else type(sequence)(parts)
