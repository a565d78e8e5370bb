"""The layers of any model, found as it runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.utils._pytree import tree_leaves

# A model with fewer blocks of one kind is measured by its weight matrices.
_LEAST = 3
# A sum is taken by one of so many modules that end next.
_NEXT = 3
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass
class Stage:
    """One layer's output, what a block that is added takes, or the state after one time step."""

    name: str
    tensors: list[Tensor]


@dataclass
class Chain:
    """Modules that run one after the other."""

    names: list[str]
    modules: list[nn.Module]
    kind: str
    # Each layer's input and output, as they were.
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    # Whether the code around them adds what each gives to what it took.
    added: bool = False

    @property
    def hidden(self) -> list[str]:
        """Those between the first and the last."""
        return self.names[1:] if len(self.names) > 1 else []

    def keeps_width(self, place: int) -> bool:
        """Whether the layer gives as much of a sample as it takes."""
        given, made = self.seen[place]
        return given.shape[1:] == made.shape[1:]

    @contextmanager
    def recorded(self) -> Iterator[list[Stage]]:
        """Their outputs, while the model runs; what they take, where that is what grows."""
        stages: list[Stage] = []
        hooks = [
            module.register_forward_pre_hook(_keep_taken(stages, name))
            if self.added
            else module.register_forward_hook(_keep(stages, name))
            for name, module in zip(self.names, self.modules)
        ]
        try:
            yield stages
        finally:
            for hook in hooks:
                hook.remove()


def matrices_of(model: nn.Module, chain: Chain) -> list[tuple[str, str, nn.Parameter]]:
    """The name, role and values of every parameter that is a matrix or more, of real numbers, in the
    model's order."""
    found = [
        (name, p)
        for name, p in model.named_parameters()
        if p.ndim > 1 and p.numel() and p.is_floating_point() and not _makes_weights(name)
    ]
    # A last layer that changes the width writes the prediction, whatever the layers before it are.
    hidden = {name for name in chain.hidden if name != chain.names[-1] or chain.keeps_width(-1)}
    matrices = []
    for number, (name, parameter) in enumerate(found):
        owner = name.rpartition(".")[0]
        if "weight_hh" in name:
            role = "recurrent"
        elif number == 0 or "weight_ih_l0" in name:
            role = "input"
        elif number == len(found) - 1 and owner not in hidden:
            role = "output"
        else:
            role = "hidden"
        matrices.append((name, role, parameter))
    return matrices


def _makes_weights(name: str) -> bool:
    """Whether it belongs to what computes another module's weights (`torch.nn.utils.parametrizations`)."""
    return "parametrizations" in name.split(".")


def _keep(stages: list[Stage], name: str) -> Callable[..., None]:
    return lambda module, inputs, output: _append(stages, name, output)


def _keep_taken(stages: list[Stage], name: str) -> Callable[..., None]:
    return lambda module, inputs: _append(stages, name, inputs)


def _append(stages: list[Stage], name: str, value: Any) -> None:
    tensor = first_tensor(value)
    if tensor is not None and tensor.requires_grad:
        stages.append(Stage(name, [tensor]))


def first_tensor(value: Any) -> Optional[Tensor]:
    """Of an output that may be a tuple or a mapping, the first tensor of numbers."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    parts = value.values() if hasattr(value, "values") else value
    if isinstance(value, (tuple, list)) or hasattr(value, "values"):
        return next((found for part in parts if (found := first_tensor(part)) is not None), None)
    return None


class _Call(NamedTuple):
    """One run of a module: copies of what it took and gave, and where that is in the graph."""

    name: str
    module: nn.Module
    given: Tensor
    made: Tensor
    node: Optional[Node]


def chain_of(model: nn.Module, run: Callable[[], Any]) -> Chain:
    """The layers: blocks of one class that run once each, the outermost kind with at least three; or else
    the modules that hold matrices, those whose output is as wide as most. Each comes from the one before:
    of what runs side by side the longest row is taken.

    Where `run` gives a loss, what it does not come from (a head that nobody uses) is left out.
    """
    calls: list[_Call] = []
    used: set[int] = set()
    hooks = [
        module.register_forward_hook(_note(calls, used, name))
        for name, module in model.named_modules()
        if not _makes_weights(name)
    ]
    try:
        loss = run()
    finally:
        for hook in hooks:
            hook.remove()
    followed = [p for p in model.parameters() if p.requires_grad]
    if followed and isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        torch.autograd.grad(loss, followed, allow_unused=True)
        calls = [call for place, call in enumerate(calls) if place in used]
    with torch.no_grad():
        return _chosen(model, calls)


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
    # A block may hold branches of its own.
    same = _types(blocks).keys() == _types(branches).keys()
    added = bool(branches) and (same or _weight(branches) > _weight(blocks))
    plain = [call for call in once if _has_matrix(call.module)]
    chosen = branches if added else blocks or _widest(_in_line(plain))
    kind = " and ".join(each.__name__ for each, _ in _types(chosen).most_common()) or "nothing"
    return Chain(
        [call.name for call in chosen],
        [call.module for call in chosen],
        kind,
        [(call.given, call.made) for call in chosen],
        added,
    )


def _types(calls: list[_Call]) -> Counter[type]:
    return Counter(type_before_parametrizations(call.module) for call in calls)


def _note(calls: list[_Call], used: set[int], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        given, made = first_tensor(inputs), first_tensor(output)
        if made is None:
            return
        place = len(calls)
        leaves = [made, *(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))]
        followed = [leaf for leaf in leaves if leaf.requires_grad]
        for tensor in followed:
            tensor.register_hook(lambda _: used.add(place))
        if not followed:
            used.add(place)
        node = made.grad_fn
        # Copies: an activation may work in place.
        made = made.detach().clone()
        given = made if given is None else given.detach().clone()
        calls.append(_Call(name, module, given, made, node))

    return hook


def _is_block(module: nn.Module) -> bool:
    return _holds_modules(module) and not isinstance(module, _CONTAINERS)


def _holds_modules(module: nn.Module) -> bool:
    return any(not _makes_weights(name) for name, _ in module.named_children())


def _outermost(calls: list[_Call]) -> list[_Call]:
    """Of the kinds of module with matrices that there is enough of, the one with the most weights."""
    kinds: dict[type, list[_Call]] = {}
    for call in calls:
        if _holds_matrix(call.module):
            kinds.setdefault(type_before_parametrizations(call.module), []).append(call)
    enough = [line for group in kinds.values() if len(line := _in_line(group)) >= _LEAST]
    return max(enough, key=_weight, default=[])


def _in_line(calls: list[_Call]) -> list[_Call]:
    """The longest row of them in which each comes from the one before."""
    # Of the longest row that ends with each: its length, and the place of the one before.
    ends: list[tuple[int, int]] = []
    for place, behind in enumerate(_behind(calls)):
        before = (earlier for earlier in range(place) if behind >> earlier & 1)
        length, previous = max(((ends[each][0], each) for each in before), default=(0, -1))
        ends.append((length + 1, previous))
    line, place = [], max(range(len(calls)), key=lambda place: ends[place][0], default=-1)
    while place >= 0:
        line.append(calls[place])
        place = ends[place][1]
    return line[::-1]


def _behind(calls: list[_Call]) -> list[int]:
    """Of each call the earlier ones that it comes from, one bit each. Where no gradient is followed, it
    comes from all, and all that is later from it."""
    places: dict[Node, int] = {}
    unfollowed = 0
    for place, call in enumerate(calls):
        if call.node is None:
            unfollowed |= 1 << place
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
    found = []
    for place, call in enumerate(calls):
        earlier = (1 << place) - 1
        from_node = -1 if call.node is None else below[call.node] | places[call.node]
        found.append((from_node | unfollowed) & earlier)
    return found


def _holds_matrix(module: nn.Module) -> bool:
    return any(p.ndim > 1 for p in module.parameters())


def _weight(calls: list[_Call]) -> int:
    return sum(p.numel() for call in calls for p in call.module.parameters())


def _is_added(call: _Call, later: list[_Call]) -> bool:
    """Whether what comes next takes, up to dropout, `given + c made`. It is not taken from the code but
    from the values."""
    given, made = call.given, call.made
    if not later or not _holds_matrix(call.module) or not _alike(given, made) or _is_multiple(given, made):
        return False
    # The model gives its own output last.
    ends = [each.given for each in later[:_NEXT]] + [later[-1].made]
    return any(_alike(end, given) and _is_multiple(end - given, made, given) for end in ends)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.device == other.device


def _is_multiple(value: Tensor, made: Tensor, beside: Optional[Tensor] = None) -> bool:
    """Whether `value` is `c made`, of which some may be dropped.

    Args:
        beside: what `value` was taken from, by a difference that is as uncertain as this is large.
    """
    if not value.numel():
        return False
    rounding = 0.0 if beside is None else 8 * torch.finfo(beside.dtype).eps * float(beside.abs().max())
    value, made = value.float(), made.float()
    kept = value.abs() > rounding
    share = float((value * made)[kept].sum() / made[kept].pow(2).sum())
    off = (value - share * made)[kept].abs()
    return bool(kept.any()) and bool((off <= rounding + 1e-3 * value[kept].abs()).all())


def _has_matrix(module: nn.Module) -> bool:
    return not _holds_modules(module) and _holds_matrix(module)


def _widest(calls: list[_Call]) -> list[_Call]:
    if not calls:
        return []
    width = lambda call: (type_before_parametrizations(call.module), call.made.shape[1:])
    counts = Counter(map(width, calls))
    usual, count = counts.most_common(1)[0]
    return [call for call in calls if width(call) == usual] if count >= _LEAST else calls


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "selu": torch.selu,
    "leaky_relu": nn.functional.leaky_relu,
    "linear": lambda x: x,
}


@torch.no_grad()
def plain_activation(model: nn.Module, chain: Chain) -> tuple[Optional[str], float]:
    """The function between layers where that is all there is between them, and the biases' scale.

    It is not taken from the code but from the values: each layer's input has to be the function of the
    output before it. None for anything else, such as a residual network.
    """
    layers = list(zip(chain.modules, chain.seen))
    if len(layers) < 2 or not all(isinstance(module, nn.Linear) for module in chain.modules):
        return None, 0.0
    pairs = [(before[1][1], after[1][0]) for before, after in zip(layers, layers[1:])]
    for name, function in _ACTIVATIONS.items():
        if all(a.shape == b.shape and torch.allclose(function(a), b, rtol=1e-4, atol=1e-6) for a, b in pairs):
            biases = [module.bias for module in chain.modules[1:] if module.bias is not None]
            squares = [float(bias.detach().cpu().double().pow(2).mean()) for bias in biases]
            return name, math.sqrt(sum(squares) / len(squares)) if squares else 0.0
    return None, 0.0
