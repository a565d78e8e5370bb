"""`find_non_finite`: names the operation or the tensor that a NaN or an infinite value is from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .batch import forward_of, rows_of, seeded, tensors_of
from .leaves import Leaf, is_mask, leaves_of, loss_leaves, loss_modules
from .watch import Watch, bad_rows, kind_of, name_nodes, running, variables_of

__all__ = ["NonFinite", "find_non_finite"]


@dataclass(frozen=True)
class NonFinite:
    """The first non-finite value of a forward and backward pass."""

    where: str
    """`parameter`, `buffer`, `input`, `loss`, `forward` or `backward`.

    `loss` is a tensor that the loss holds: its weight, for example."""
    name: str
    """The parameter, the buffer, the loss's tensor, or the innermost module that ran.

    The model itself goes by its class; the name is empty outside of the model (in the loss)."""
    operation: str | None
    """PyTorch's name of the operation, such as `aten.log`; None for a tensor."""
    value: str
    """`nan` or `inf`."""
    rows: tuple[int, ...]
    """The rows of the batch that hold it; empty if the operation's result has no row for each."""
    gradient_of: str | None = None
    """The operation whose gradient `operation` computes, such as `sqrt`; None in other places."""

    def __str__(self) -> str:
        article, what = ("a", "NaN") if self.value == "nan" else ("an", "infinite value")
        rows = ""
        if self.rows:
            listed = ", ".join(map(str, self.rows[:8]))
            more = " and more" if len(self.rows) > 8 else ""
            rows = f", in row{'s' * (len(self.rows) > 1)} {listed}{more}"
        if self.where in ("parameter", "buffer"):
            return f"the {self.where} `{self.name}` already holds {article} {what}"
        if self.where == "loss":
            return f"`{self.name}`, which the loss uses, already holds {article} {what}"
        if self.where == "input":
            return f"the batch holds {article} {what}{rows}"
        place = f"`{self.name}`" if self.name else "the loss"
        if self.where == "backward":
            of = f" of `{self.gradient_of}` in" if self.gradient_of else " of"
            place = f"the gradient{of} {place}"
        return f"{self.operation} in {place} makes the first {what} from finite values{rows}"


def find_non_finite(
    model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], *, seed: int = 0
) -> NonFinite | None:
    """Runs a batch forward and backward, and names where the first NaN or inf comes from.

    That is the operation that *made* it, or a tensor that held it before: a parameter, a buffer,
    the batch, or what the loss holds (its weights, and what its code closes over). Returns None if
    the loss and all gradients are finite. Use it for a batch at which the loss became NaN, or
    `Guard` skipped a step. It checks every operation, so it takes many times as long as a step.

    It runs a copy of the model, in the model's own mode. A loss that runs the model itself runs
    the caller's; its gradients, buffers and random generators are left as they were.

    An infinite value that the code passes as a number, or in a mask of zeros and minus infinity,
    does not count; a NaN computed from it may. Operations inside a fused one (attention, a
    recurrent module) are not distinguished. Tensors that the loss reads from elsewhere than its
    own module, closure, arguments and globals are not named.

    Args:
        model: as for `probe`.
        batch: as for `probe`.
        loss_fn: as for `probe`.
        seed: of dropout.

    Raises:
        TypeError: as for `probe`.
    """
    original, model = model, copy.deepcopy(model)
    forward, rows = forward_of(batch, loss_fn), rows_of(batch)
    broken = [
        leaf
        for leaf in (*leaves_of(model), *loss_leaves(loss_fn, original))
        if kind_of([leaf.tensor]) is not None and not is_mask(leaf.tensor)
    ]
    for leaf in broken:
        if leaf.where == "parameter":
            return _of_leaf(leaf)
    tensors = tensors_of(batch)
    if (kind := kind_of(tensors)) is not None:
        bad = {row for tensor in tensors for row in bad_rows(tensor, rows)}
        return NonFinite("input", "", None, kind, tuple(sorted(bad)))
    values, before = {id(leaf): leaf.tensor.clone() for leaf in broken}, broken
    watch = Watch(rows, broken)
    modules = [original, *(each for each in loss_modules(loss_fn) if each is not original)]
    with _untouched(modules), seeded(seed), running([model, original], watch), watch:
        loss = forward(model, batch)
        if loss.numel() != 1:
            raise TypeError(f"the loss has shape {tuple(loss.shape)}; give one number")
        name_nodes(loss, "")
        grads = _gradients(loss)
    if kind_of([loss.detach(), *grads]) is None:
        statistics = (leaf for leaf in before if leaf.statistic)
        return next((_of_leaf(leaf, values[id(leaf)]) for leaf in statistics), None)
    if watch.used is not None:
        return _of_leaf(watch.used, values[id(watch.used)])
    if (made := watch.made) is None:
        return None
    where = "backward" if made.is_backward else "forward"
    of = made.gradient_of or None
    return NonFinite(where, made.module, made.operation, made.kind, made.rows, of)


def _of_leaf(leaf: Leaf, values: Tensor | None = None) -> NonFinite:
    kind = kind_of([leaf.tensor if values is None else values])
    return NonFinite(leaf.where, leaf.name, None, kind or "nan", ())


def _gradients(loss: Tensor) -> list[Tensor]:
    """Runs the backward pass, and returns the gradients without keeping them anywhere."""
    variables = variables_of(loss)
    if not variables:
        return []
    # In one thread, so that the watch sees the operations of the backward pass.
    found: tuple[Tensor | None, ...]
    with torch.autograd.set_multithreading_enabled(False):
        try:
            found = torch.autograd.grad(loss, variables, allow_unused=True, retain_graph=True)
        except RuntimeError as error:
            if "checkpoint" not in str(error).lower():
                raise
            found = _accumulated(loss, variables)
    return [each for each in found if each is not None]


def _accumulated(loss: Tensor, variables: list[Tensor]) -> tuple[Tensor | None, ...]:
    """The gradients by `backward`, which re-entrant checkpoints need; old ones are put back."""
    kept = [variable.grad for variable in variables]
    try:
        for variable in variables:
            variable.grad = None
        loss.backward()
        return tuple(variable.grad for variable in variables)
    finally:
        for variable, grad in zip(variables, kept, strict=True):
            variable.grad = grad


@contextmanager
def _untouched(modules: list[nn.Module]) -> Iterator[None]:
    """Puts back the buffers and gradients of these modules at the end."""
    buffers = [(each, each.detach().clone()) for module in modules for each in module.buffers()]
    grads = [(each, each.grad) for module in modules for each in module.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in buffers:
                # Only where it changed, so that its version stays for a graph of the caller's.
                if not torch.equal(buffer, kept) and not _same(buffer, kept):
                    buffer.copy_(kept)
        for parameter, grad in grads:
            if parameter.grad is not grad:
                parameter.grad = grad


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal where a NaN is equal to itself."""
    return bool(((a == b) | ((a != a) & (b != b))).all())
