"""Remedies put into any PyTorch model, without touching its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import torch
from torch import Tensor, nn

from ._layers import Chain, matrices_of
from ._probe import recurrent_of

# Iterations for the first singular vector, and for each that follows it.
_FIRST, _NEXT = 30, 1


class Refused(Exception):
    """This remedy cannot be put into this model; says why."""


class RmsNorm(nn.Module):
    """Root mean square normalisation over all that a sample has (with one scale a channel), or over the
    last dimension of a sequence."""

    def __init__(self, channels: int, over_sample: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.over_sample = over_sample

    def forward(self, inputs: Tensor) -> Tensor:
        over = tuple(range(1, inputs.ndim)) if self.over_sample else (-1,)
        scale = torch.rsqrt(inputs.pow(2).mean(over, keepdim=True) + 1e-5)
        shape = [-1] + [1] * (inputs.ndim - 2) if self.over_sample else [-1]
        return (inputs * scale * self.weight.view(shape)).type_as(inputs)


@dataclass
class Put:
    """What a remedy did to a model."""

    # In a few words, with the modules' names.
    changes: str = ""
    # Called after each step of the optimizer, where the remedy acts then.
    after_step: Optional[Callable[[], None]] = None


def put(model: nn.Module, chain: Chain, remedy: dict[str, Any]) -> Put:
    """Changes the model, whose layers are called as in `chain`. Clipping and the learning rate are not
    the model's.

    Raises:
        Refused: it cannot be put into this model.
    """
    kind = remedy["kind"]
    if kind == "critical_init":
        return _critical_init(model, chain, remedy["gain"], remedy["input_rms"])
    if kind == "scale_residual":
        return _scale_residual(model, chain, remedy["scale"])
    if kind == "cap_spectral_norm":
        cap = _Cap(model, chain, remedy["max_spectral_norm"])
        cap()
        return Put(f"Here it was done to {_listed(cap.names)}.", cap)
    if kind == "rms_norm":
        return _normalise(model, chain, remedy["every"])
    if kind == "reduce_depth":
        return _shorten(model, chain, remedy["depth"])
    if kind == "truncate_bptt":
        return _truncate(model, remedy["time_steps"])
    return Put()


def _listed(names: list[str]) -> str:
    """A few of them by name."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > 6:
        quoted = [*quoted[:3], "...", *quoted[-2:]]
    return ", ".join(quoted)


@torch.no_grad()
def _critical_init(model: nn.Module, chain: Chain, gain: float, input_rms: float) -> Put:
    recurrent = recurrent_of(model) is not None
    wanted = {"hidden": gain, "recurrent": gain}
    if not recurrent:
        wanted |= {"input": gain / input_rms, "output": 1.0}
    names = []
    for name, role, weight in matrices_of(model, chain):
        if role in wanted and not (recurrent and role == "hidden"):
            factor = wanted[role] * weight.shape[0] ** 0.5 / weight.norm()
            if factor.isfinite():
                weight.mul_(factor)
                names.append(name)
    if not names:
        raise Refused("it has no weight matrix whose values can be set")
    return Put(f"Here it was done to {_listed(names)}.")


def _scale_residual(model: nn.Module, chain: Chain, scale: float) -> Put:
    # Where the shape changes, the way past the block is no identity.
    names = [name for place, name in enumerate(chain.names) if chain.keeps_width(place)]
    if not names:
        raise Refused("none of its blocks gives what it takes in shape")
    hook = partial(_scaled_branch if chain.added else _scaled, scale)
    for name in names:
        model.get_submodule(name).register_forward_hook(hook)
    done = f"Here it was done to {_listed(names)}."
    if chain.added:
        done += (
            "\nThe model adds what these give to what they take by itself: "
            "`scale_residual(blocks, added=True)`."
        )
    return Put(done)


def _scaled_branch(scale: float, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, tuple):
        return (scale * output[0], *output[1:])
    return scale * output


def _scaled(scale: float, block: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, tuple):
        return (_scaled(scale, block, inputs, output[0]), *output[1:])
    if not inputs:
        raise TypeError("a block is called by keyword alone: its input is not known")
    if output is inputs[0]:
        raise TypeError("a block adds to its input in place: what it was is gone")
    return inputs[0] + scale * (output - inputs[0])


class _Cap:
    """Scales every repeated matrix down to a spectral norm, where it is above."""

    def __init__(self, model: nn.Module, chain: Chain, most: float) -> None:
        matrices = [each for each in matrices_of(model, chain) if each[1] in ("hidden", "recurrent")]
        self.names = [name for name, *_ in matrices]
        self._weights = [parameter for *_, parameter in matrices]
        self._vectors: list[Optional[Tensor]] = [None] * len(self._weights)
        self._most = most

    @torch.no_grad()
    def __call__(self) -> None:
        for place, parameter in enumerate(self._weights):
            weight, vector = parameter.detach().flatten(1), self._vectors[place]
            iterations = _NEXT
            if vector is None:
                vector = torch.arange(1, weight.shape[1] + 1).to(weight).sin()
                iterations = _FIRST
            for _ in range(iterations):
                vector = weight.T @ (weight @ vector)
                vector = vector / vector.norm()
            norm = (weight @ vector).norm()
            self._vectors[place] = vector if norm > 0 else None
            if norm > self._most:
                parameter.mul_(self._most / norm)


def _normalise(model: nn.Module, chain: Chain, every: int) -> Put:
    if recurrent_of(model) is not None:
        raise Refused("a recurrent module of PyTorch cannot be normalised between its time steps")
    layers = list(zip(chain.names, chain.seen))
    if len(layers) > 1 and not chain.keeps_width(-1):
        # It writes the prediction, whose size is meant.
        layers = layers[:-1]
    names, images = [name for name, _ in layers[::every]], False
    for name, (_, output) in layers[::every]:
        module = model.get_submodule(name)
        # A sequence has its features last, an image has them first.
        over_sample = output.ndim > 3
        images = images or over_sample
        norm = RmsNorm(output.shape[1 if over_sample else -1], over_sample).to(output)
        module.add_module("steadygrad_norm", norm)
        module.register_forward_hook(_normed)
    on_what = ", with `images=True`" if images else ""
    return Put(f"Here it was put right after {_listed(names)}, on what each gives{on_what}.")


def _normed(module: nn.Module, inputs: Any, output: Any) -> Any:
    norm = module.steadygrad_norm
    if isinstance(output, tuple):
        return (norm(output[0]), *output[1:])  # type: ignore[operator]
    return norm(output)  # type: ignore[operator]


class Nothing(nn.Module):
    """In the place of a block whose result is added: adds nothing."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs)


def _shorten(model: nn.Module, chain: Chain, depth: int) -> Put:
    left_out = list(zip(chain.names, chain.seen))[max(depth, 1) :]
    for name, (given, made) in left_out:
        if given.shape != made.shape:
            raise Refused(f"`{name}` cannot be left out: what it takes and what it gives differ in shape")
    for name, _ in left_out:
        parent, _, own = name.rpartition(".")
        owner = model.get_submodule(parent)
        owner._modules[own] = Nothing() if chain.added else nn.Identity()
        names = list(owner._modules)
        after = names.index(own) + 1
        if isinstance(owner, nn.Sequential) and after < len(names) - 1:
            following = owner._modules[names[after]]
            # The activation goes with its layer.
            if following is not None and not list(following.parameters()):
                owner._modules[names[after]] = nn.Identity()
    return Put(f"Here these were left out, each with its activation: {_listed([name for name, _ in left_out])}.")


def _truncate(model: nn.Module, time_steps: int) -> Put:
    module = recurrent_of(model)
    if module is None:
        raise Refused("there is not one recurrent module, in one direction, to be truncated")
    whole = module.forward

    def forward(inputs: Any, hx: Any = None) -> Any:
        if not isinstance(inputs, Tensor) or inputs.ndim != 3:
            return whole(inputs, hx)
        axis = 1 if module.batch_first else 0
        length, outputs = inputs.shape[axis], []
        # From the end: the last part is as long as the gradient is to flow back.
        first = length % time_steps or min(time_steps, length)
        parts = inputs.split([first] + [time_steps] * ((length - first) // time_steps), dim=axis)
        for part in parts:
            made, hx = whole(part, hx)
            outputs.append(made)
            if part is not parts[-1]:
                hx = tuple(h.detach() for h in hx) if isinstance(hx, tuple) else hx.detach()
        return torch.cat(outputs, dim=axis), hx

    module.forward = forward  # type: ignore[method-assign]
    name = next(name for name, each in model.named_modules() if each is module)
    where = f"model.{name}" if name else "model"
    return Put(f"Here the recurrent module ran in parts, its state detached between them: `truncate({where})`.")
