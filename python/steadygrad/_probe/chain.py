"""A model's layers, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass
class Stage:
    """A layer's output, the input of a block that is added, or the state after a time step."""

    name: str
    tensors: list[Tensor]


@dataclass
class Chain:
    """Modules that run one after the other."""

    names: list[str]
    modules: list[nn.Module]
    kind: str
    """The class of the modules."""
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Copies of each layer's input and output."""
    added: bool = False
    """Whether the code around the modules adds each output to its input."""
    looped: bool = False
    """Whether it is one module, which the code runs at each time step on its own output."""

    @property
    def hidden(self) -> list[str]:
        """The names of all layers but the first."""
        return self.names[1:] if len(self.names) > 1 else []

    def keeps_width(self, place: int) -> bool:
        """Returns whether a layer's output has the shape of its input, for each sample."""
        given, made = self.seen[place]
        return given.shape[1:] == made.shape[1:]

    @contextmanager
    def recorded(self) -> Iterator[list[Stage]]:
        """Records the layers' outputs while the model runs; their inputs if they are added."""
        stages: list[Stage] = []
        hooks = [
            module.register_forward_pre_hook(_keep_input(stages, name))
            if self.added
            else module.register_forward_hook(_keep_output(stages, name))
            for name, module in zip(self.names, self.modules)
        ]
        try:
            yield stages
        finally:
            for hook in hooks:
                hook.remove()


def matrices_of(model: nn.Module, chain: Chain) -> list[tuple[str, str, nn.Parameter]]:
    """Returns name, role and values of every real parameter of two or more dimensions, in order."""
    found = [
        (name, p)
        for name, p in model.named_parameters()
        if p.ndim > 1 and p.numel() and p.is_floating_point() and not makes_weights(name)
    ]
    # A last layer that changes the width writes the prediction, whatever the earlier layers are.
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


def makes_weights(name: str) -> bool:
    """Returns whether a module or parameter of this name computes another module's weights.

    `torch.nn.utils.parametrizations` makes such modules.
    """
    return "parametrizations" in name.split(".")


def first_tensor(value: Any) -> Tensor | None:
    """Returns the first floating-point tensor of a value, a tuple or a mapping."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    parts = value.values() if hasattr(value, "values") else value
    if isinstance(value, (tuple, list)) or hasattr(value, "values"):
        return next((found for part in parts if (found := first_tensor(part)) is not None), None)
    return None


def _keep_output(stages: list[Stage], name: str) -> Callable[..., None]:
    return lambda module, inputs, output: _append(stages, name, output)


def _keep_input(stages: list[Stage], name: str) -> Callable[..., None]:
    return lambda module, inputs: _append(stages, name, inputs)


def _append(stages: list[Stage], name: str, value: Any) -> None:
    tensor = first_tensor(value)
    if tensor is not None and tensor.requires_grad:
        stages.append(Stage(name, [tensor]))
