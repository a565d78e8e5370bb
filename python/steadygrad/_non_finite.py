"""Where a NaN or an infinite value comes from: the operation that made it, not those that passed it on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ._batch import forward_of, rows_of, seeded, tensors_of
from ._layers import first_tensor

__all__ = ["NonFinite", "find_non_finite"]


@dataclass(frozen=True)
class NonFinite:
    """The first value that is not finite, of a forward and backward pass."""

    where: str
    """`parameter`, `input`, `forward` or `backward`."""
    name: str
    """The parameter; or the innermost module that ran: the model itself by its class, and empty for what is
    outside of it (the loss)."""
    operation: Optional[str]
    """PyTorch's name of the operation, such as `aten.log`; None where none was needed."""
    value: str
    """`nan` or `inf`."""
    rows: tuple[int, ...]
    """The rows of the batch that it is in, where the operation's result has a row for each; empty else."""

    def __str__(self) -> str:
        what = "NaN" if self.value == "nan" else "infinite value"
        rows = f", in row{'s' * (len(self.rows) > 1)} {', '.join(map(str, self.rows[:8]))}" if self.rows else ""
        rows += " and more" if len(self.rows) > 8 else ""
        if self.where == "parameter":
            return f"the parameter `{self.name}` holds a{'n' * (what != 'NaN')} {what} already"
        if self.where == "input":
            return f"the batch holds a{'n' * (what != 'NaN')} {what}{rows}"
        place = f"`{self.name}`" if self.name else "the loss"
        way = "" if self.where == "forward" else "the gradient of "
        return f"{self.operation} in {way}{place} makes the first {what} from finite values{rows}"


def find_non_finite(
    model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], *, seed: int = 0
) -> Optional[NonFinite]:
    """Runs a batch forward and backward again, and names the operation that *made* the first NaN or
    infinite value; None where all is finite.

    For a batch at which the loss became NaN, or `Guard` skipped a step. Every operation is looked at, so
    it takes many times as long as a step. It works on a copy of the model, in the mode that the model is
    in. An infinite value that the code asked for by a number of its own, as attention masks do, is none;
    what it turns into may be. An operation inside of a fused one (attention, a recurrent module) is not
    told apart.

    Args:
        model, batch, loss_fn: as for `probe`.
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
    # One thread: the backward pass runs its operations where the mode sees them.
    with seeded(seed), _running(model, watch), watch, torch.autograd.set_multithreading_enabled(False):
        loss = forward(model, batch)
        if loss.numel() != 1:
            raise TypeError(f"the loss has shape {tuple(loss.shape)}; give one number")
        watch.backward, watch.module = True, ""
        loss.backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return watch.found if _kind([loss.detach(), *grads]) is not None else None


class _Watch(TorchDispatchMode):
    """Sees every operation, in the order in which they run."""

    def __init__(self, rows: Optional[int]) -> None:
        super().__init__()
        self.rows, self.backward, self.module = rows, False, ""
        self.found: Optional[NonFinite] = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Optional[dict[str, Any]] = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.found is not None or "empty" in func._schema.name:
            return func(*args, **kwargs)
        given = tree_leaves((args, kwargs))
        # Asked for by a number: a mask.
        asked = any(isinstance(leaf, float) and leaf - leaf != 0.0 for leaf in given)
        # Before it runs: it may work in place.
        before = _kind([leaf for leaf in given if isinstance(leaf, Tensor)])
        result = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        after = _kind(made)
        if after is not None and before != "nan" and not asked and (before is None or after == "nan"):
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
    """Keeps `watch.module` true: the innermost module whose forward, or backward, pass runs."""
    with ExitStack() as hooks:
        outer: list[str] = []
        # What a module gave already, and now gives on behalf of one around it.
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
                    # Its gradient is known: what comes next is the module's own backward pass.
                    tensor.register_hook(lambda _: setattr(watch, "module", name))

            return hook

        for name, module in model.named_modules():
            name = type(model).__name__ if module is model else name
            hooks.callback(module.register_forward_pre_hook(enter(name)).remove)
            hooks.callback(module.register_forward_hook(leave(name)).remove)
        yield


@torch.no_grad()
def _kind(tensors: list[Tensor]) -> Optional[str]:
    """`nan` before `inf`; None where all is finite."""
    kind = None
    with torch.utils._python_dispatch._disable_current_modes():
        for tensor in tensors:
            if tensor.is_sparse:
                tensor = tensor._values()
            if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.device.type == "meta":
                continue
            if tensor.isnan().any():
                return "nan"
            if kind is None and not tensor.isfinite().all():
                kind = "inf"
    return kind


@torch.no_grad()
def _bad_rows(tensor: Tensor, rows: Optional[int]) -> list[int]:
    if rows is None or tensor.ndim == 0 or tensor.shape[0] != rows or tensor.is_sparse:
        return []
    with torch.utils._python_dispatch._disable_current_modes():
        if not tensor.is_floating_point():
            return []
        bad = ~tensor.isfinite().flatten(1).all(1) if tensor.ndim > 1 else ~tensor.isfinite()
        return bad.nonzero().flatten().tolist()
