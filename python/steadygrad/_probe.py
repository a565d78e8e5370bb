"""What is known of a model before it is trained: measured here, judged in Rust."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import compress
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from . import _native
from ._batch import first_rows, forward_of, rows_of, seeded, tensors_of
from ._device import as_real, norm_of
from ._layers import Chain, chain_of, matrices_of, plain_activation
from ._report import Report
from ._sharpness import sharpness_of
from ._unrolled import unrolled
from ._work import Counted

__all__ = ["Probe", "probe"]

# Exponents of the product of Jacobians, and samples they are averaged over. Up to a width, and up to so many
# gradients, the Jacobians are computed whole; else random directions are carried through them.
_EXPONENTS, _WIDTH, _GRADIENTS, _SAMPLES = 4, 64, 2000, 4
# A layer that hands on so much of its input is a residual one, as in the core (`cure/derive/initialize.rs`).
RESIDUAL = 0.25
# Rows that the sharpness is measured on.
_ROWS = 16
# Multiplications of a forward pass that the sharpness is measured with, at two rows or more.
_WORK = 1.5e9
# Below the smallest normal float32.
_TINY = torch.finfo(torch.float32).tiny


class Probe(Report):
    """What `probe` found. Printed, it is what `steadygrad probe` prints."""

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def first_remedy(self) -> Optional[dict[str, Any]]:
        """The remedy that the findings ask for first, its parameter computed."""
        return self._numbers["first_remedy"]

    @property
    def growth(self) -> list[dict[str, Any]]:
        """Of each layer, or time step, the activation's and the gradient's size and growth."""
        return self._numbers["measurements"]["growth"]["points"]

    @property
    def exponents(self) -> list[float]:
        """The leading exponents of the product of Jacobians, in natural logarithms a step; of layers wider
        than 64 those of a few random directions, which are lower bounds. Empty when there are none."""
        spectrum = self._numbers["measurements"]["spectrum"]
        return [] if spectrum is None else [each["value"] for each in spectrum["exponents"]]

    @property
    def sharpness(self) -> Optional[float]:
        """The Hessian's largest eigenvalue on the first rows of the batch; None when it could not be
        measured, and with Adam, whose learning rate it does not bound."""
        sharpness = self._numbers["measurements"]["sharpness"]
        return None if sharpness is None else sharpness["lambda_max"]

    def __repr__(self) -> str:
        found = ", ".join(finding["code"] for finding in self.findings) or "healthy"
        return f"<Probe: {found}>"


def probe(
    model: nn.Module,
    batch: Any,
    loss_fn: Callable[..., Tensor],
    *,
    optimizer: Optional[Optimizer] = None,
    seed: int = 0,
) -> Probe:
    """Says before training whether gradients will explode: where, how fast, and what to try.

    One batch forward and backward gives the size of activations and gradients, layer by layer; a few
    vectors carried back through the layers' Jacobians give the exponents of their product; a few more
    gradients the sharpness. Of a recurrent module (`nn.RNN`, `nn.LSTM`, `nn.GRU`, in one direction)
    the layers are its time steps. All of it is done on a copy of the model, in training mode.

    The layers are found in the model as it runs: the blocks of one kind that come one after the other,
    or else the modules that hold its weight matrices. Of what runs side by side one row is followed.
    Samples come first in the tensors of the batch; of a recurrent module's, time may.

    Args:
        model: any module.
        batch: a pair of inputs and targets, where `loss_fn(model(inputs), targets)` is the loss; inputs that
            are a tuple are the model's arguments. Or a mapping, where it is `loss_fn(model(**batch))`.
        loss_fn: gives one number.
        optimizer: SGD, to compare its learning rate with the largest stable one; with SGD or Adam the report
            says how likely it is that training diverges.
        seed: of dropout and of the vectors' directions.

    Raises:
        TypeError: `batch` is neither, `optimizer` is none, the loss is not one number, or the model cannot be
            copied.
        ValueError: the batch is empty, or the loss does not depend on a parameter that is trained.
    """
    return Probe(_native.ProbeReport(measure(model, batch, loss_fn, optimizer, seed)[0]))


def measure(
    model: nn.Module,
    batch: Any,
    loss_fn: Callable[..., Tensor],
    optimizer: Optional[Optimizer],
    seed: int,
) -> tuple[dict[str, Any], Chain]:
    """All numbers, as the native part takes them, and the layers, of a copy of the model."""
    begin = time.perf_counter()
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"`optimizer` is {optimizer!r}; give the optimizer itself, or None")
    try:
        model = copy.deepcopy(model).train()
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"the model cannot be copied, and only a copy is looked at: {error}") from error
    # A criterion may have parameters, or statistics, of its own; a model may write to its inputs.
    loss_fn = copy.deepcopy(loss_fn) if isinstance(loss_fn, nn.Module) else loss_fn
    forward, rows = forward_of(batch, loss_fn), rows_of(batch)
    if rows == 0:
        raise ValueError("`batch` holds no samples; give at least one")
    batch = tree_map_only(Tensor, _copied, batch)
    counted = Counted()
    # A few rows show as well which modules run, and in what order.
    shown = batch if rows is None else first_rows(batch, _SAMPLES)

    def run() -> Tensor:
        with counted:
            return forward(model, shown)

    with seeded(seed):
        chain = chain_of(model, run)
    trained = [p for p in model.parameters() if p.requires_grad]
    recurrent = recurrent_of(model)
    with seeded(seed), unrolled(recurrent) as states, chain.recorded() as points:
        loss = forward(model, batch)
        if loss.numel() != 1:
            raise TypeError(f"the loss has shape {tuple(loss.shape)}; give one number")
        if not trained or not loss.requires_grad:
            raise ValueError(
                "the loss depends on no parameter that is trained (`requires_grad`): there is no gradient to look at"
            )
        through_time = recurrent is not None and len(states) > 1
        # Of a recurrent module whose steps cannot be looked into nothing is known: whole, it is one layer.
        hidden = not through_time and any(isinstance(module, nn.RNNBase) for module in model.modules())
        stages = [] if hidden else list(states if through_time else points)
        batch_size = rows or 1
        if through_time and not _starts_with_rows(recurrent, states, rows):
            rows, shown, batch_size = None, batch, states[0].tensors[0].shape[0]
        # Into these alone: a loss function may hold on to other modules, whose gradients are the caller's.
        seen = [tensor for stage in stages for tensor in stage.tensors]
        for tensor in seen:
            tensor.retain_grad()
        loss.backward(retain_graph=True, inputs=[*trained, *seen])
        # A module that ran twice, say, may have given something that nobody uses.
        used = [any(tensor.grad is not None for tensor in stage.tensors) for stage in stages]
        stages = list(compress(stages, used))
        measured = _growth(stages)
        if rows is not None and rows > _SAMPLES and not _mixes_rows(model):
            # Rows do not see each other: a few are the same alone, and cost less.
            points.clear()
            forward(model, shown)
            stages = list(compress(states if through_time else points, used))
        normalized = any(_is_norm(module) for module in model.modules())
        measured |= _spectrum(stages, seed, skips=not through_time and not normalized)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    activation, bias_std = (
        _recurrent_activation(recurrent) if through_time else plain_activation(model, chain)
    )
    measured |= _weights(model, chain, grads, plain=activation is not None)
    row_work = max(counted.operations, 1) / 2 / _SAMPLES
    few = None if rows is None else min(rows, _ROWS, max(2, int(_WORK / row_work)))
    update_rule, learning_rate, momentum = _update_rule(optimizer)
    # It bounds SGD's learning rate, and no other's.
    bounds = update_rule != "adam"
    measured["sharpness"] = sharpness_of(model, batch, few, forward, seed) if bounds else None
    parameters = sum(p.numel() for p in model.parameters())
    kind = type(recurrent).__name__ if through_time else chain.kind
    unit = ("time step" if through_time else "layer") + "s" * (len(stages) != 1)
    layers = f"{len(stages)} {unit} of {kind}"
    if hidden:
        layers = "time steps that cannot be looked into (packed, in two directions, or of several modules)"
    measured |= {
        "name": type(model).__name__,
        "description": f"{parameters:,} parameters, {layers}",
        "parameters": parameters,
        "seed": seed,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "update_rule": update_rule,
        "loss": float(loss.detach()),
        "input_rms": _input_rms(batch),
        "through_time": through_time,
        "normalized": normalized,
        "activation": activation,
        "bias_std": bias_std,
        "seconds": time.perf_counter() - begin,
    }
    return measured, chain


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _input_rms(batch: Any) -> float:
    inputs = batch if isinstance(batch, Mapping) else batch[0]
    numbers = [tensor.float() for tensor in tensors_of(inputs) if tensor.is_floating_point()]
    # Tokens have no size: as good as scaled.
    return _rms(numbers) if numbers else 1.0


def _rms(tensors: list[Tensor]) -> float:
    values = sum(tensor.numel() for tensor in tensors)
    return math.hypot(*(norm_of(tensor) for tensor in tensors)) / math.sqrt(max(values, 1))


def _growth(stages: list[Any]) -> dict[str, Any]:
    points, signals, subnormal, lost = [], 0, 0, 0
    for stage in stages:
        grads = [t.grad.float() for t in stage.tensors if t.grad is not None]
        count = sum(grad.numel() for grad in grads)
        rms = _rms(grads)
        largest = [float(grad.abs().max()) for grad in grads if grad.numel()]
        worst = math.nan if any(map(math.isnan, largest)) else max(largest, default=0.0)
        norm = rms * math.sqrt(count)
        points.append((stage.name, _rms([stage.tensors[0]]), norm, rms, worst))
        magnitudes = [grad.abs() for grad in grads]
        signals += count
        subnormal += sum(int(((m > 0) & (m < _TINY)).sum()) for m in magnitudes)
        lost += sum(int((m == 0).sum()) for m in magnitudes) if 0 < worst < _TINY else 0
    return {
        "points": points,
        "signal_share": subnormal / max(signals, 1),
        "signal_lost": lost / max(signals, 1),
    }


def _spectrum(stages: list[Any], seed: int, skips: bool) -> dict[str, Any]:
    """Factors of the product of Jacobians, from the last stage back to the first: the Jacobians, or the
    triangles that a few directions leave of them. Where asked, the mean diagonal of the Jacobians as well."""
    widths = [sum(t[0].numel() for t in stage.tensors) for stage in stages if stage.tensors[0].ndim > 1]
    nothing = {"factors": [], "failed_samples": 0, "vectors": 1, "width": max(widths, default=1)}
    nothing |= {"skip_share": None, "leading": 1}
    rows = {stage.tensors[0].shape[0] for stage in stages if stage.tensors[0].ndim > 1}
    if len(stages) < 2 or len(widths) < len(stages) or len(rows) != 1:
        return nothing
    rows, width = rows.pop(), min(widths)
    whole = width == max(widths) <= _WIDTH and width * len(stages) <= _GRADIENTS
    leading, samples = min(_EXPONENTS, width), min(_SAMPLES, rows)
    vectors = width if whole else leading
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(samples, widths[-1], vectors, generator=generator, dtype=torch.float64)
    basis = torch.eye(width, dtype=torch.float64).expand(samples, -1, -1)
    block = basis if whole else torch.linalg.qr(start).Q
    factors: list[list[list[float]]] = [[] for _ in range(samples)]
    handed_on: list[float] = []
    failed: set[int] = set()
    for before, after in zip(reversed(stages[:-1]), reversed(stages[1:])):
        columns = [_pulled(before, after, block[:, :, column], samples) for column in range(vectors)]
        if skips and before.tensors[0].shape == after.tensors[0].shape:
            signs = torch.randint(2, (samples, block.shape[1]), generator=generator) * 2.0 - 1.0
            handed = _pulled(before, after, signs.double(), samples)
            if handed is not None:
                # Hutchinson: with signs for v, `v J v` is the diagonal's sum in the mean.
                handed_on += (signs * handed).mean(1).tolist()
        if any(column is None for column in columns):
            # The later state does not come from the earlier one.
            return nothing
        moved = torch.stack(columns, dim=-1)  # type: ignore[arg-type]
        for sample in range(samples):
            if not moved[sample].isfinite().all() or not moved[sample].any():
                failed.add(sample)
                moved[sample] = torch.eye(moved.shape[1], vectors, dtype=torch.float64)
        block, factor = (basis, moved) if whole else torch.linalg.qr(moved)
        for sample in range(samples):
            factors[sample].append(factor[sample].T.flatten().tolist())
    return {
        "factors": [each for sample, each in enumerate(factors) if sample not in failed],
        "failed_samples": len(failed),
        "vectors": vectors,
        "leading": leading,
        "width": width,
        "skip_share": _mean(filter(math.isfinite, handed_on)),
    }


def _mean(values: Iterable[float]) -> Optional[float]:
    given = list(values)
    return sum(given) / len(given) if given else None


def _pulled(before: Any, after: Any, column: Tensor, samples: int) -> Optional[Tensor]:
    """`J^T v`, sample by sample: a batch's rows do not mix, but in batch normalisation."""
    gradients, at = [], 0
    for tensor in after.tensors:
        width = tensor[0].numel()
        full = torch.zeros_like(tensor)
        part = column[:, at : at + width].reshape(samples, *tensor.shape[1:])
        full[:samples] = part.to(tensor)
        gradients.append(full)
        at += width
    pulled = torch.autograd.grad(
        after.tensors, before.tensors, gradients, retain_graph=True, allow_unused=True
    )
    if all(part is None for part in pulled):
        return None
    parts = [
        torch.zeros_like(tensor) if part is None else part
        for part, tensor in zip(pulled, before.tensors)
    ]
    return torch.cat([part[:samples].reshape(samples, -1).cpu().double() for part in parts], dim=1)


@torch.no_grad()
def _weights(
    model: nn.Module, chain: Chain, grads: dict[str, Tensor], plain: bool
) -> dict[str, Any]:
    weights = []
    for name, role, parameter in matrices_of(model, chain):
        # The core takes repeated matrices for those of mean-field theory, which knows plain layers alone.
        role = role if plain or role == "input" else "output"
        matrix = parameter.detach().float().flatten(1)
        largest = _spectral_norm(matrix)
        weights.append((name, role, matrix.shape[1], matrix.shape[0], norm_of(matrix), largest))
    dense = [as_real(grad.to_dense()) for grad in grads.values()]
    values = sum(grad.numel() for grad in dense)
    # Quantised ones hold codes, whose size says nothing.
    numbers = [p for p in model.parameters() if p.is_floating_point() or p.is_complex()]
    tiny = sum(int(((g.abs() > 0) & (g.abs() < torch.finfo(g.dtype).tiny)).sum()) for g in dense)
    return {
        "weights": weights,
        "weight_norm": math.hypot(*map(norm_of, numbers)),
        "global_norm": _rms(dense) * math.sqrt(values),
        "subnormal_share": tiny / max(values, 1),
    }


def _spectral_norm(matrix: Tensor) -> float:
    """By power iteration, as on the command line."""
    if not matrix.isfinite().all():
        return math.nan
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(matrix.shape[1], generator=generator, dtype=matrix.dtype).to(matrix.device)
    norm = 0.0
    for _ in range(50):
        vector = matrix.T @ (matrix @ vector)
        length = float(vector.norm())
        if length == 0.0 or not math.isfinite(length):
            return math.sqrt(length) if length == 0.0 else float(torch.linalg.matrix_norm(matrix, 2))
        vector, norm = vector / length, math.sqrt(length)
    return norm


def _update_rule(optimizer: Optional[Optimizer]) -> tuple[Optional[str], float, float]:
    """Its name in the core, learning rate and momentum."""
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


def recurrent_of(model: nn.Module) -> Optional[nn.RNNBase]:
    found = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    usable = [module for module in found if not module.bidirectional and not module.proj_size]
    return usable[0] if len(usable) == 1 and len(found) == 1 else None


def _starts_with_rows(recurrent: nn.RNNBase, states: list[Any], size: Optional[int]) -> bool:
    """Whether what the batch's tensors have first, so many, is its rows and not, say, time. Where there
    are as many of both the module's own convention tells."""
    rows = states[0].tensors[0].shape[0]
    return size == rows and (recurrent.batch_first or len(states) != rows)


def _recurrent_activation(recurrent: Any) -> tuple[Optional[str], float]:
    """Mean-field theory describes the plain network alone."""
    if not isinstance(recurrent, nn.RNN):
        return None, 0.0
    biases = [p.detach() for name, p in recurrent.named_parameters() if "bias" in name]
    variance = sum(float(bias.cpu().double().pow(2).mean()) for bias in biases) / recurrent.num_layers
    return recurrent.nonlinearity, math.sqrt(variance)
