"""The layers of any model, found as it runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from torch import Tensor, nn

# A model with fewer blocks of one kind is measured by its weight matrices.
_LEAST = 3
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass
class Stage:
    """One layer's output, or the state after one time step."""

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
        """Their outputs, while the model runs."""
        stages: list[Stage] = []
        hooks = [
            module.register_forward_hook(_keep(stages, name))
            for name, module in zip(self.names, self.modules)
        ]
        try:
            yield stages
        finally:
            for hook in hooks:
                hook.remove()


def matrices_of(model: nn.Module, chain: Chain) -> list[tuple[str, str, nn.Parameter]]:
    """The name, role and values of every parameter that is a matrix or more, in the model's order."""
    found = [(name, p) for name, p in model.named_parameters() if p.ndim > 1 and p.numel()]
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


def _keep(stages: list[Stage], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None and tensor.requires_grad:
            stages.append(Stage(name, [tensor]))

    return hook


def first_tensor(value: Any) -> Optional[Tensor]:
    """Of an output that may be a tuple or a mapping, the first tensor of numbers."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    parts = value.values() if hasattr(value, "values") else value
    if isinstance(value, (tuple, list)) or hasattr(value, "values"):
        return next((found for part in parts if (found := first_tensor(part)) is not None), None)
    return None


@torch.no_grad()
def chain_of(model: nn.Module, run: Callable[[], Any]) -> Chain:
    """The layers: blocks of one class that run once each, the outermost kind with at least three; or else
    the modules that hold matrices, those whose output is as wide as most."""
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    names = {module: name for name, module in model.named_modules()}
    hooks = []
    for module, name in names.items():
        if module is not model:
            hooks.append(module.register_forward_hook(_note(calls, name)))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(name for name, *_ in calls)
    once = [call for call in calls if times[call[0]] == 1]
    blocks = _blocks([call for call in once if any(call[1].children())])
    chosen = blocks or _widest([call for call in once if _has_matrix(call[1])])
    kind = type(chosen[0][1]).__name__ if chosen else "nothing"
    return Chain(
        [call[0] for call in chosen],
        [call[1] for call in chosen],
        kind,
        [(call[2], call[3]) for call in chosen],
    )


def _note(calls: list[Any], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        given, made = first_tensor(inputs), first_tensor(output)
        if made is not None:
            # Copies: an activation may work in place.
            calls.append((name, module, given.clone() if given is not None else made, made.clone()))

    return hook


def _blocks(calls: list[Any]) -> list[Any]:
    kinds: dict[type, list[Any]] = {}
    for call in calls:
        if not isinstance(call[1], _CONTAINERS) and any(p.ndim > 1 for p in call[1].parameters()):
            kinds.setdefault(type(call[1]), []).append(call)
    enough = [group for group in kinds.values() if len(group) >= _LEAST]
    # The outermost has the most weights.
    weight = lambda group: sum(p.numel() for call in group for p in call[1].parameters())
    return max(enough, key=weight, default=[])


def _has_matrix(module: nn.Module) -> bool:
    own = module.parameters(recurse=False)
    return not any(module.children()) and any(p.ndim > 1 for p in own)


def _widest(calls: list[Any]) -> list[Any]:
    if not calls:
        return []
    width = lambda call: (type(call[1]), call[3].shape[1:])
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
            squares = [float(bias.detach().double().pow(2).mean()) for bias in biases]
            return name, math.sqrt(sum(squares) / len(squares)) if squares else 0.0
    return None, 0.0
