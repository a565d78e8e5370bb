"""Watches every operation of a forward and backward pass for the first non-finite result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .leaves import Leaf

_MODULE = "steadygrad_module"
"""The key of a module's name in the metadata of a graph's node."""


@dataclass(frozen=True)
class Made:
    """The first operation whose result is not finite although what it was given is."""

    is_backward: bool
    module: str
    operation: str
    gradient_of: str
    """The operation whose gradient it computes; empty in the forward pass."""
    kind: str
    rows: tuple[int, ...]


class Watch(TorchDispatchMode):
    """Sees every operation, in the order in which they run, and keeps the first bad result."""

    def __init__(self, rows: int | None, leaves: list[Leaf]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows, self.module = rows, ""
        self.made: Made | None = None
        self.used: Leaf | None = None
        """The first of `leaves` that an operation was given."""
        self._leaves = {_place(leaf.tensor): leaf for leaf in leaves}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.made is not None or "empty" in func._schema.name:
            return func(*args, **kwargs)
        given = tree_leaves((args, kwargs))
        # A non-finite number among the arguments is intended, as in a mask.
        intended = any(isinstance(leaf, float) and leaf - leaf != 0.0 for leaf in given)
        tensors = [leaf for leaf in given if isinstance(leaf, Tensor)]
        if self.used is None and self._leaves:
            known = (self._leaves.get(_place(tensor)) for tensor in tensors)
            self.used = next((leaf for leaf in known if leaf is not None), None)
        # Checked before the operation runs, since it may work in place.
        before = kind_of(tensors)
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        after = kind_of(made)
        is_new = before is None or (before == "inf" and after == "nan")
        if after is not None and is_new and not intended:
            node = torch._C._current_autograd_node()
            self.made = Made(
                node is not None,
                self.module if node is None else _metadata(node).get(_MODULE, ""),
                str(func._schema.name).replace("::", "."),
                "" if node is None else _operation(node.name()),
                after,
                tuple(sorted({row for tensor in made for row in bad_rows(tensor, self.rows)})),
            )
        return result


def _place(tensor: Tensor) -> tuple[int, Any]:
    """Returns where a tensor's numbers lie."""
    try:
        return tensor.untyped_storage().data_ptr(), tensor.storage_offset()
    except (NotImplementedError, RuntimeError):  # Sparse tensors have no storage.
        return id(tensor), 0


def _metadata(node: Any) -> dict[str, str]:
    """Returns a node's own dictionary. PyTorch's stub calls it a method."""
    metadata: dict[str, str] = node.metadata
    return metadata


def _operation(node: str) -> str:
    """Returns `sqrt` for `SqrtBackward0`."""
    return node.split("::")[-1].split("Backward")[0].lower()


def name_nodes(outputs: Any, module: str) -> None:
    """Names the module of all nodes of the graph above these outputs that have no name yet."""
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    nodes = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    while nodes:
        node = nodes.pop()
        metadata = _metadata(node)
        if _MODULE in metadata:
            continue
        metadata[_MODULE] = module
        nodes += [above for above, _ in node.next_functions if above is not None]


def variables_of(loss: Tensor) -> list[Tensor]:
    """Returns the leaves of the loss's graph that take a gradient."""
    nodes, seen = [loss.grad_fn] if loss.grad_fn is not None else [], set()
    found: list[Tensor] = []
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found.append(variable)
        nodes += [above for above, _ in node.next_functions if above is not None]
    return found


@contextmanager
def running(models: list[nn.Module], watch: Watch) -> Iterator[None]:
    """Keeps `watch.module` at the innermost module that runs, and names the graph's nodes by it."""
    with ExitStack() as hooks:
        outer: list[str] = []

        def enter(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, keywords: Any) -> None:
                # What was computed so far is the work of the module around this one.
                name_nodes((inputs, keywords), watch.module)
                outer.append(watch.module)
                watch.module = name

            return hook

        def leave(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                name_nodes(output, name)
                watch.module = outer.pop()

            return hook

        for model in models:
            for name, module in model.named_modules():
                name = type(model).__name__ if module is model else name
                before = module.register_forward_pre_hook(enter(name), with_kwargs=True)
                hooks.callback(before.remove)
                hooks.callback(module.register_forward_hook(leave(name)).remove)
        yield


@torch.no_grad()
def kind_of(tensors: list[Tensor]) -> str | None:
    """Returns `nan` if any value is NaN, else `inf` if any is infinite, else None."""
    kind = None
    with torch.utils._python_dispatch._disable_current_modes():
        for tensor in tensors:
            if tensor.is_sparse:
                tensor = tensor._values()
            if not (tensor.is_floating_point() or tensor.is_complex()):
                continue
            if tensor.device.type == "meta":
                continue
            if tensor.isnan().any():
                return "nan"
            if kind is None and not tensor.isfinite().all():
                kind = "inf"
    return kind


@torch.no_grad()
def bad_rows(tensor: Tensor, rows: int | None) -> list[int]:
    """Returns the rows with non-finite values, if the tensor has a row for each of the batch."""
    if rows is None or tensor.ndim == 0 or tensor.shape[0] != rows or tensor.is_sparse:
        return []
    with torch.utils._python_dispatch._disable_current_modes():
        if not tensor.is_floating_point():
            return []
        bad = ~tensor.isfinite().flatten(1).all(1) if tensor.ndim > 1 else ~tensor.isfinite()
        found: list[int] = bad.nonzero().flatten().tolist()
        return found
