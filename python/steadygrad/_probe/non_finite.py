"""`find_non_finite`: names the operation that made a NaN or an infinite value."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .batch import forward_of, rows_of, seeded, tensors_of
from .chain import first_tensor

__all__ = ["NonFinite", "find_non_finite"]


@dataclass(frozen=True)
class NonFinite:
    """The first non-finite value of a forward and backward pass."""

    where: str
    """`parameter`, `input`, `forward` or `backward`."""
    name: str
    """The parameter, or the innermost module that ran.

    The model itself goes by its class; the name is empty outside of the model (in the loss)."""
    operation: str | None
    """PyTorch's name of the operation, such as `aten.log`; None for a parameter or an input."""
    value: str
    """`nan` or `inf`."""
    rows: tuple[int, ...]
    """The rows of the batch that hold it; empty if the operation's result has no row for each."""

    def __str__(self) -> str:
        article, what = ("a", "NaN") if self.value == "nan" else ("an", "infinite value")
        rows = ""
        if self.rows:
            listed = ", ".join(map(str, self.rows[:8]))
            more = " and more" if len(self.rows) > 8 else ""
            rows = f", in row{'s' * (len(self.rows) > 1)} {listed}{more}"
        if self.where == "parameter":
            return f"the parameter `{self.name}` already holds {article} {what}"
        if self.where == "input":
            return f"the batch holds {article} {what}{rows}"
        place = f"`{self.name}`" if self.name else "the loss"
        way = "" if self.where == "forward" else "the gradient of "
        return f"{self.operation} in {way}{place} makes the first {what} from finite values{rows}"


def find_non_finite(
    model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], *, seed: int = 0
) -> NonFinite | None:
    """Runs a batch forward and backward, and names the operation that *made* the first NaN or inf.

    Returns None if all values are finite. Use it for a batch at which the loss became NaN, or
    `Guard` skipped a step. It checks every operation, so it takes many times as long as a step. It
    runs a copy of the model, in the model's own mode. An infinite value that the code passes as a
    number, as attention masks do, does not count; a NaN computed from it may. Operations inside a
    fused one (attention, a recurrent module) are not distinguished.

    Args:
        model: as for `probe`.
        batch: as for `probe`.
        loss_fn: as for `probe`.
        seed: of dropout.

    Raises:
        TypeError: as for `probe`.
    """
    model = copy.deepcopy(model)
    forward, rows = forward_of(batch, loss_fn), rows_of(batch)
    for name, parameter in model.named_parameters():
        if (kind := _kind([parameter.detach()])) is not None:
            return NonFinite("parameter", name, None, kind, ())
    tensors = tensors_of(batch)
    if (kind := _kind(tensors)) is not None:
        bad = {row for tensor in tensors for row in _bad_rows(tensor, rows)}
        return NonFinite("input", "", None, kind, tuple(sorted(bad)))
    watch = _Watch(rows)
    # In one thread, so that the mode sees the operations of the backward pass.
    with (
        seeded(seed),
        _running(model, watch),
        watch,
        torch.autograd.set_multithreading_enabled(False),
    ):
        loss = forward(model, batch)
        if loss.numel() != 1:
            raise TypeError(f"the loss has shape {tuple(loss.shape)}; give one number")
        watch.backward, watch.module = True, ""
        loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return watch.found if _kind([loss.detach(), *grads]) is not None else None


class _Watch(TorchDispatchMode):
    """Sees every operation, in the order in which they run, and keeps the first bad result."""

    def __init__(self, rows: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows, self.backward, self.module = rows, False, ""
        self.found: NonFinite | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.found is not None or "empty" in func._schema.name:
            return func(*args, **kwargs)
        given = tree_leaves((args, kwargs))
        # A non-finite number among the arguments is intended, as in a mask.
        intended = any(isinstance(leaf, float) and leaf - leaf != 0.0 for leaf in given)
        # Checked before the operation runs, since it may work in place.
        before = _kind([leaf for leaf in given if isinstance(leaf, Tensor)])
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        after = _kind(made)
        is_new = before is None or (before == "inf" and after == "nan")
        if after is not None and is_new and not intended:
            self.found = NonFinite(
                "backward" if self.backward else "forward",
                self.module,
                str(func._schema.name).replace("::", "."),
                after,
                tuple(sorted({row for tensor in made for row in _bad_rows(tensor, self.rows)})),
            )
        return result


@contextmanager
def _running(model: nn.Module, watch: _Watch) -> Iterator[None]:
    """Keeps `watch.module` at the innermost module whose forward or backward pass runs."""
    with ExitStack() as hooks:
        outer: list[str] = []
        # Outputs of inner modules, which an outer module may return unchanged.
        given: dict[int, Tensor] = {}

        def enter(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any) -> None:
                outer.append(watch.module)
                watch.module = name

            return hook

        def leave(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                watch.module = outer.pop()
                tensor = first_tensor(output)
                if tensor is not None and tensor.requires_grad and id(tensor) not in given:
                    given[id(tensor)] = tensor
                    # Once the output has its gradient, the module's own backward pass follows.
                    tensor.register_hook(lambda _: setattr(watch, "module", name))

            return hook

        for name, module in model.named_modules():
            name = type(model).__name__ if module is model else name
            hooks.callback(module.register_forward_pre_hook(enter(name)).remove)
            hooks.callback(module.register_forward_hook(leave(name)).remove)
        yield


@torch.no_grad()
def _kind(tensors: list[Tensor]) -> str | None:
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
def _bad_rows(tensor: Tensor, rows: int | None) -> list[int]:
    """Returns the rows with non-finite values, if the tensor has a row for each of the batch."""
    if rows is None or tensor.ndim == 0 or tensor.shape[0] != rows or tensor.is_sparse:
        return []
    with torch.utils._python_dispatch._disable_current_modes():
        if not tensor.is_floating_point():
            return []
        bad = ~tensor.isfinite().flatten(1).all(1) if tensor.ndim > 1 else ~tensor.isfinite()
        bad_rows: list[int] = bad.nonzero().flatten().tolist()
        return bad_rows
