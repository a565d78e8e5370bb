"""Measures everything that `probe` and `cure` judge."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from .activation import plain_activation
from .batch import first_rows, forward_of, rows_of, seeded, sequence_lengths, some_rows, tensors_of
from .chain import Chain, Stage
from .growth import measure_growth, rms_of
from .layers import chain_of
from .recurrent import recurrent_activation, recurrent_of, starts_with_rows
from .sharpness import sharpness_of
from .spectrum import SAMPLES, measure_spectrum
from .unrolled import unrolled
from .weights import measure_weights
from .work import OperationCounter

# Multiplications of one forward pass for the sharpness, over as many rows as they suffice for.
_WORK = 2e8
# Rows below which more work is done for the sharpness, up to this many multiplications.
_ROWS, _MOST_WORK = 16, 1.5e9
# Draws of rows, if there are more than the sharpness is measured on.
_DRAWS = 3


@dataclass(frozen=True)
class ModelMeasurements:
    """What was measured of an untrained model."""

    fields: dict[str, Any]
    """All numbers, as the native part expects them."""
    chain: Chain
    """The layers, of a copy of the model."""


@dataclass(frozen=True)
class _Subject:
    """A copy of the model with its batch, ready to run."""

    model: nn.Module
    batch: Any
    forward: Callable[[nn.Module, Any], Tensor]
    rows: int | None
    shown: Any
    """A few rows, which are enough to show which modules run in which order."""
    chain: Chain
    recurrent: nn.RNNBase | None
    row_work: float
    """Multiplications of the forward pass of one row."""


@dataclass(frozen=True)
class _Layers:
    """What was measured along the layers or time steps."""

    fields: dict[str, Any]
    loss: float
    stages: int
    through_time: bool
    hidden: bool
    """Whether recurrent modules hide their time steps."""
    normalized: bool
    rows: int | None
    batch_size: int


def measure_model(
    model: nn.Module,
    batch: Any,
    loss_fn: Callable[..., Tensor],
    optimizer: Optimizer | None,
    seed: int,
) -> ModelMeasurements:
    """Measures a copy of the model. See `probe` for the arguments and errors."""
    begin = time.perf_counter()
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"`optimizer` is {optimizer!r}; give the optimizer itself, or None")
    subject = _copy(model, batch, loss_fn, seed)
    model, chain, recurrent = subject.model, subject.chain, subject.recurrent
    layers = _measure_layers(subject, seed)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    activation, bias_std = (
        recurrent_activation(recurrent) if layers.through_time else plain_activation(chain)
    )
    update_rule, learning_rate, momentum = _update_rule(optimizer)
    parameters = sum(p.numel() for p in model.parameters())
    fields = {
        **layers.fields,
        **measure_weights(model, chain, grads, plain=activation is not None),
        # The sharpness bounds SGD's learning rate, and not Adam's.
        "sharpness": None if update_rule == "adam" else _sharpness(subject, layers.rows, seed),
        "name": type(model).__name__,
        "description": f"{parameters:,} parameters, {_describe(layers, chain, recurrent)}",
        "parameters": parameters,
        "seed": seed,
        "batch_size": layers.batch_size,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "update_rule": update_rule,
        "loss": layers.loss,
        "input_rms": _input_rms(subject.batch),
        "through_time": layers.through_time,
        "normalized": layers.normalized,
        "activation": activation,
        "bias_std": bias_std,
        "seconds": time.perf_counter() - begin,
    }
    return ModelMeasurements(fields, chain)


def _copy(model: nn.Module, batch: Any, loss_fn: Callable[..., Tensor], seed: int) -> _Subject:
    """Copies the model and its batch, and runs a few rows to find the layers."""
    try:
        model = copy.deepcopy(model).train()
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"the model cannot be copied, which the probe needs: {error}") from error
    # A loss module may have parameters or statistics, and a model may write to its inputs.
    loss_fn = copy.deepcopy(loss_fn) if isinstance(loss_fn, nn.Module) else loss_fn
    forward, rows = forward_of(batch, loss_fn), rows_of(batch)
    if rows == 0:
        raise ValueError("`batch` holds no samples; give at least one")
    batch = tree_map_only(Tensor, _copy_tensor, batch)
    counter = OperationCounter()
    shown = batch if rows is None else first_rows(batch, SAMPLES)

    def run() -> Tensor:
        with counter:
            return forward(model, shown)

    with seeded(seed):
        chain = chain_of(model, run, sequence_lengths(shown))
    row_work = max(counter.operations, 1) / 2 / SAMPLES
    return _Subject(model, batch, forward, rows, shown, chain, recurrent_of(model), row_work)


def _copy_tensor(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _measure_layers(subject: _Subject, seed: int) -> _Layers:
    """Runs the batch forward and backward, and measures along the layers."""
    model, recurrent, rows, shown = subject.model, subject.recurrent, subject.rows, subject.shown
    trained = [p for p in model.parameters() if p.requires_grad]
    with seeded(seed), unrolled(recurrent) as states, subject.chain.recorded() as points:
        loss = subject.forward(model, subject.batch)
        _check_loss(loss, trained)
        if subject.chain.looped:
            states = _time_steps(points)
        through_time = (recurrent is not None or subject.chain.looped) and len(states) > 1
        # A recurrent module that hides its steps is one layer, which says nothing.
        hidden = not through_time and any(isinstance(m, nn.RNNBase) for m in model.modules())
        stages = [] if hidden else list(states if through_time else points)
        batch_size = rows or 1
        if through_time and recurrent is not None and not starts_with_rows(recurrent, states, rows):
            rows, shown, batch_size = None, subject.batch, states[0].tensors[0].shape[0]
        used = _differentiate(loss, stages, trained)
        stages = list(compress(stages, used))
        fields = measure_growth(stages)
        if rows is not None and rows > SAMPLES and not _mixes_rows(model):
            # Rows do not affect each other, so a few give the same values at a lower cost.
            points.clear()
            subject.forward(model, shown)
            states = _time_steps(points) if subject.chain.looped else states
            stages = list(compress(states if through_time else points, used))
        normalized = any(_is_norm(module) for module in model.modules())
        fields |= measure_spectrum(stages, seed, skips=not through_time and not normalized)
    return _Layers(
        fields,
        float(loss.detach()),
        len(stages),
        through_time,
        hidden,
        normalized,
        rows,
        batch_size,
    )


def _time_steps(points: list[Stage]) -> list[Stage]:
    """Returns the outputs of a module in a loop, as time steps."""
    return [Stage(f"t={step}", point.tensors) for step, point in enumerate(points)]


def _check_loss(loss: Tensor, trained: list[nn.Parameter]) -> None:
    if loss.numel() != 1:
        raise TypeError(f"the loss has shape {tuple(loss.shape)}; give one number")
    if not trained or not loss.requires_grad:
        raise ValueError(
            "the loss depends on no trained parameter (`requires_grad`), so there is no gradient"
        )


def _differentiate(loss: Tensor, stages: list[Stage], trained: list[nn.Parameter]) -> list[bool]:
    """Runs the backward pass, and returns which stages the loss depends on.

    A module that ran twice may have an output that nothing uses.
    """
    seen = [tensor for stage in stages for tensor in stage.tensors]
    for tensor in seen:
        tensor.retain_grad()
    # Only these, since a loss function may hold modules whose gradients belong to the caller.
    loss.backward(retain_graph=True, inputs=[*trained, *seen])
    return [any(tensor.grad is not None for tensor in stage.tensors) for stage in stages]


def _sharpness(
    subject: _Subject, rows: int | None, seed: int
) -> tuple[float, float, float, int, int, float] | None:
    """Returns the sharpness of the whole batch, or the largest of some draws of its rows.

    Sorted data have other rows first than the same data shuffled, so the rows are drawn by the
    seed. The residual is then at least the spread of the draws.
    """
    usual = int(_WORK / subject.row_work)
    few = None if rows is None else max(usual, min(_ROWS, int(_MOST_WORK / subject.row_work)), 2)
    if rows is None or few is None or rows <= few:
        return sharpness_of(subject.model, subject.batch, rows, subject.forward, seed)
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.randperm(rows, generator=generator)[:few] for _ in range(_DRAWS)]
    batches = [some_rows(subject.batch, draw) for draw in draws]
    found = [sharpness_of(subject.model, each, few, subject.forward, seed) for each in batches]
    measured = [each for each in found if each is not None]
    if len(measured) < len(found):
        return None
    largest, smallest, residual, products, size, step = max(measured)
    spread = largest - min(each[0] for each in measured)
    return largest, smallest, max(residual, spread), products, size, step


def _describe(layers: _Layers, chain: Chain, recurrent: nn.RNNBase | None) -> str:
    if layers.hidden:
        return "hidden time steps (packed, in two directions, or of several modules)"
    kind = chain.kind if recurrent is None else type(recurrent).__name__
    kind = kind if layers.through_time else chain.kind
    unit = ("time step" if layers.through_time else "layer") + "s" * (layers.stages != 1)
    return f"{layers.stages} {unit} of {kind}"


def _input_rms(batch: Any) -> float:
    inputs = batch if isinstance(batch, Mapping) else batch[0]
    numbers = [tensor.float() for tensor in tensors_of(inputs) if tensor.is_floating_point()]
    # Tokens have no size: they count as normalised.
    return rms_of(numbers) if numbers else 1.0


def _update_rule(optimizer: Optimizer | None) -> tuple[str | None, float, float]:
    """Returns the native part's name of the rule, the learning rate and the momentum."""
    if isinstance(optimizer, torch.optim.SGD):
        rule = "sgd"
    elif isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        rule = "adam"
    else:
        return None, math.nan, 0.0
    group = max(optimizer.param_groups, key=lambda group: float(group["lr"]))
    return rule, float(group["lr"]), float(group.get("momentum", 0.0))


def _mixes_rows(model: nn.Module) -> bool:
    return any("BatchNorm" in type(module).__name__ for module in model.modules())


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__
