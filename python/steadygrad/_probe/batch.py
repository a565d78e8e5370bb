"""Batches of any structure: how a model takes them, and their rows."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves


def outputs_of(model: nn.Module, batch: Any) -> Any:
    """Returns the model's outputs for a mapping, or for the inputs of a pair.

    The values of a mapping, and inputs that are a tuple, are the model's arguments.

    Raises:
        TypeError: the model does not take the mapping's keys.
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
            f"`batch` is a mapping of {keys}, which are passed to the model, but `{name}.forward` "
            f"takes {signature}: {error}. Give (inputs, targets), or only the model's arguments"
        ) from error


def forward_of(batch: Any, loss_fn: Callable[..., Tensor]) -> Callable[[nn.Module, Any], Tensor]:
    """Returns a function from a model and such a batch to the loss.

    Raises:
        TypeError: `batch` is neither a pair nor a mapping, or it holds NumPy arrays.
    """
    if isinstance(batch, Mapping):
        parts, call = [*batch.values()], "`loss_fn(output)` for a batch that is a mapping"
    elif isinstance(batch, (tuple, list)) and len(batch) == 2:
        parts, call = [*batch], "`loss_fn(output, targets)`"
    else:
        raise TypeError(
            f"`batch` is a {type(batch).__name__}; give (inputs, targets), or a mapping of the "
            "model's arguments"
        )
    if any(type(leaf).__module__ == "numpy" for leaf in tree_leaves(parts)):
        raise TypeError("`batch` holds NumPy arrays; give tensors: `torch.as_tensor(array)`")

    def forward(model: nn.Module, batch: Any) -> Tensor:
        output = outputs_of(model, batch)
        targets = () if isinstance(batch, Mapping) else (batch[1],)
        try:
            loss = loss_fn(output, *targets)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise TypeError(
                f"`loss_fn` failed: {type(error).__name__}: {error}. It is called as {call}, where "
                f"`output` is the model's output, here a {type(output).__name__}, and not the "
                "model; give a function of these"
            ) from error
        if not isinstance(loss, Tensor):
            raise TypeError(
                f"`loss_fn` returned a {type(loss).__name__}; it must return a tensor of one number"
            )
        return loss

    return forward


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds PyTorch, Python and NumPy, and restores the caller's generators at the end."""
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
    """Returns all tensors of a batch, in order."""
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


def rows_of(batch: Any) -> int | None:
    """Returns the size of the first dimension, if all tensors share it.

    None for packed sequences, each of whose steps holds several rows.
    """
    if any(map(_is_packed, tree_leaves(batch, is_leaf=_is_packed))):
        return None
    sizes = {tensor.shape[0] if tensor.ndim else None for tensor in tensors_of(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def sequence_lengths(batch: Any) -> frozenset[int]:
    """Returns how often a loop over time may run: along the first or second dimension, or one less.

    The first prediction of the next token is at the second one.
    """
    sizes = {size for tensor in tensors_of(batch) for size in tensor.shape[:2]}
    return frozenset(sizes | {size - 1 for size in sizes})


def some_rows(batch: Any, rows: Tensor | slice) -> Any:
    """Returns these rows of every tensor, in the same structure."""
    if isinstance(batch, Tensor):
        return batch[rows]
    if isinstance(batch, Mapping):
        return {name: some_rows(part, rows) for name, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return rebuild(batch, [some_rows(part, rows) for part in batch])
    return batch


def first_rows(batch: Any, rows: int) -> Any:
    """Returns the first rows of every tensor, in the same structure."""
    return some_rows(batch, slice(rows))


def rebuild(sequence: Any, parts: list[Any]) -> Any:
    """Returns these parts in a tuple, named tuple or list of the same type."""
    return type(sequence)(*parts) if hasattr(sequence, "_fields") else type(sequence)(parts)
