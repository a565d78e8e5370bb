"""Finds the layers of any model as it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.utils._pytree import tree_leaves

from .chain import Chain, first_tensor, makes_weights

# With fewer blocks of one class, the layers are the modules that hold weight matrices.
_MIN_BLOCKS = 3
# A sum is the input of one of this many modules that end next.
_NEXT = 3
# A loop of fewer steps may be a block that a network uses several times.
_MIN_STEPS = 4
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class _Call(NamedTuple):
    """One run of a module: copies of its input and output, and the output's node in the graph."""

    name: str
    module: nn.Module
    given: Tensor
    made: Tensor
    node: Node | None


def chain_of(
    model: nn.Module, run: Callable[[], Any], lengths: frozenset[int] = frozenset()
) -> Chain:
    """Returns the layers of a model, while `run` runs it.

    The layers are blocks of one class that run once each: the outermost class with at least three
    of them. If there is none, they are the modules that hold weight matrices and have the most
    common output width. Each layer's input depends on the previous one: of parallel branches the
    longest is taken. If `run` returns a loss, modules that it does not depend on are left out.

    A module that runs as often as a sequence is long (one of `lengths`), each time on what it made
    before, is a recurrence written as a loop: then it is the only layer.
    """
    calls: list[_Call] = []
    used: set[int] = set()
    hooks = [
        module.register_forward_hook(_note(calls, used, name))
        for name, module in model.named_modules()
        if not makes_weights(name)
    ]
    try:
        loss = run()
    finally:
        for hook in hooks:
            hook.remove()
    trained = [p for p in model.parameters() if p.requires_grad]
    if trained and isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        torch.autograd.grad(loss, trained, allow_unused=True)
        calls = [call for place, call in enumerate(calls) if place in used]
    with torch.no_grad():
        return _loop(calls, lengths) or _chosen(model, calls)


def _chosen(model: nn.Module, calls: list[_Call]) -> Chain:
    times = Counter(call.name for call in calls)
    places = [
        place
        for place, call in enumerate(calls)
        if call.module is not model and times[call.name] == 1
    ]
    once = [calls[place] for place in places]
    blocks = _outermost([call for call in once if _is_block(call.module)])
    branches = _outermost(
        [calls[place] for place in places if _is_added(calls[place], calls[place + 1 :])]
    )
    # A block may contain branches of its own.
    same = _types(blocks).keys() == _types(branches).keys()
    added = bool(branches) and (same or _weight(branches) > _weight(blocks))
    plain = [call for call in once if _is_layer(call.module)]
    chosen = branches if added else blocks or _widest(_in_line(plain))
    kind = " and ".join(each.__name__ for each, _ in _types(chosen).most_common()) or "nothing"
    return Chain(
        [call.name for call in chosen],
        [call.module for call in chosen],
        kind,
        [(call.given, call.made) for call in chosen],
        added,
    )


def _loop(calls: list[_Call], lengths: frozenset[int]) -> Chain | None:
    """Returns the module with the most weights that is run in a loop over time."""
    times = Counter(call.name for call in calls)
    often = {name for name, count in times.items() if count in lengths and count >= _MIN_STEPS}
    lines = []
    for name in often:
        own = [call for call in calls if call.name == name]
        if _is_layer(own[0].module) and len(line := _in_line(own)) == len(own):
            lines.append(line)
    line = max(lines, key=lambda line: _weight(line[:1]), default=[])
    if not line:
        return None
    first = line[0]
    kind, seen = type(first.module).__name__, [(call.given, call.made) for call in line[:1]]
    return Chain([first.name], [first.module], kind, seen, looped=True)


def _types(calls: list[_Call]) -> Counter[type]:
    return Counter(type_before_parametrizations(call.module) for call in calls)


def _note(calls: list[_Call], used: set[int], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        given, made = first_tensor(inputs), first_tensor(output)
        if made is None:
            return
        place = len(calls)
        leaves = [made, *(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))]
        tracked = [leaf for leaf in leaves if leaf.requires_grad]
        for tensor in tracked:
            tensor.register_hook(lambda _: used.add(place))
        if not tracked:
            used.add(place)
        node = made.grad_fn
        # Copies, since an activation may work in place.
        made = made.detach().clone()
        given = made if given is None else given.detach().clone()
        calls.append(_Call(name, module, given, made, node))

    return hook


def _is_block(module: nn.Module) -> bool:
    return _holds_modules(module) and not isinstance(module, _CONTAINERS)


def _holds_modules(module: nn.Module) -> bool:
    return any(not makes_weights(name) for name, _ in module.named_children())


def _outermost(calls: list[_Call]) -> list[_Call]:
    """Returns the modules of the class with the most weights, among classes with enough of them."""
    kinds: dict[type, list[_Call]] = {}
    for call in calls:
        if _holds_matrix(call.module):
            kinds.setdefault(type_before_parametrizations(call.module), []).append(call)
    enough = [line for group in kinds.values() if len(line := _in_line(group)) >= _MIN_BLOCKS]
    return max(enough, key=_weight, default=[])


def _in_line(calls: list[_Call]) -> list[_Call]:
    """Returns the longest sequence of calls in which each depends on the previous one."""
    # For the longest sequence that ends with each call: its length, and the previous call's place.
    ends: list[tuple[int, int]] = []
    for place, sources in enumerate(_sources(calls)):
        before = (earlier for earlier in range(place) if sources >> earlier & 1)
        length, previous = max(((ends[each][0], each) for each in before), default=(0, -1))
        ends.append((length + 1, previous))
    line, place = [], max(range(len(calls)), key=lambda place: ends[place][0], default=-1)
    while place >= 0:
        line.append(calls[place])
        place = ends[place][1]
    return line[::-1]


def _sources(calls: list[_Call]) -> list[int]:
    """Returns for each call the earlier ones that it depends on, one bit each.

    A call without a gradient counts as dependent on all earlier ones, and all later ones on it.
    """
    places: dict[Node, int] = {}
    untracked = 0
    for place, call in enumerate(calls):
        if call.node is None:
            untracked |= 1 << place
        else:
            places[call.node] = places.get(call.node, 0) | 1 << place
    below: dict[Node, int] = {}
    for call in calls:
        waiting = [] if call.node is None else [call.node]
        while waiting:
            node = waiting[-1]
            inputs = [each for each, _ in node.next_functions if each is not None]
            missing = [each for each in inputs if each not in below]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            found = 0
            for each in inputs:
                found |= below[each] | places.get(each, 0)
            below[node] = found
    sources = []
    for place, call in enumerate(calls):
        earlier = (1 << place) - 1
        from_node = -1 if call.node is None else below[call.node] | places[call.node]
        sources.append((from_node | untracked) & earlier)
    return sources


def _holds_matrix(module: nn.Module) -> bool:
    return any(p.ndim > 1 for p in module.parameters())


def _weight(calls: list[_Call]) -> int:
    return sum(p.numel() for call in calls for p in call.module.parameters())


def _is_added(call: _Call, later: list[_Call]) -> bool:
    """Returns whether a later module's input is `given + c made`, up to dropout.

    It is found from the values, not from the code.
    """
    given, made = call.given, call.made
    if not later or not _holds_matrix(call.module):
        return False
    if not _alike(given, made) or _is_multiple(given, made):
        return False
    # The last call is the model's own.
    ends = [each.given for each in later[:_NEXT]] + [later[-1].made]
    return any(_alike(end, given) and _is_multiple(end - given, made, given) for end in ends)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.device == other.device


def _is_multiple(value: Tensor, made: Tensor, subtracted: Tensor | None = None) -> bool:
    """Returns whether `value` is `c made` for some c, apart from entries that are 0 by dropout.

    Args:
        subtracted: if `value` is a difference, the tensor that was subtracted: its size sets the
            rounding error.
    """
    if not value.numel():
        return False
    rounding = 0.0
    if subtracted is not None:
        rounding = 8 * torch.finfo(subtracted.dtype).eps * float(subtracted.abs().max())
    value, made = value.float(), made.float()
    kept = value.abs() > rounding
    share = float((value * made)[kept].sum() / made[kept].pow(2).sum())
    off = (value - share * made)[kept].abs()
    return bool(kept.any()) and bool((off <= rounding + 1e-3 * value[kept].abs()).all())


def _is_layer(module: nn.Module) -> bool:
    return not _holds_modules(module) and _holds_matrix(module)


def _widest(calls: list[_Call]) -> list[_Call]:
    if not calls:
        return []
    counts = Counter(map(_width, calls))
    usual, count = counts.most_common(1)[0]
    return [call for call in calls if _width(call) == usual] if count >= _MIN_BLOCKS else calls


def _width(call: _Call) -> tuple[type, torch.Size]:
    return type_before_parametrizations(call.module), call.made.shape[1:]
