"""`probe`: predicts before training whether gradients will explode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .. import _native
from .measure import measure_model
from .report import Report


class Probe(Report):
    """The report of `probe`; printed, it is the output of `steadygrad probe`."""

    @property
    def healthy(self) -> bool:
        """Whether there are no findings, and the run is not likely to diverge."""
        return not self.findings and not self._diverges

    @property
    def _diverges(self) -> bool:
        """Whether the run is more likely to diverge than not; False if the risk is not known."""
        risk = self._numbers.get("risk")
        return risk is not None and float(risk["probability"]) > 0.5

    @property
    def first_remedy(self) -> dict[str, Any] | None:
        """The first remedy to try, with its parameter computed."""
        remedy: dict[str, Any] | None = self._numbers["first_remedy"]
        return remedy

    @property
    def growth(self) -> list[dict[str, Any]]:
        """Size and growth of the activation and the gradient, for each layer or time step."""
        points: list[dict[str, Any]] = self._numbers["measurements"]["growth"]["points"]
        return points

    @property
    def exponents(self) -> list[float]:
        """The leading exponents of the product of Jacobians, in natural logarithms per step.

        For layers wider than 64 they come from a few random directions, and are lower bounds. Empty
        if they could not be measured.
        """
        spectrum = self._numbers["measurements"]["spectrum"]
        return [] if spectrum is None else [each["value"] for each in spectrum["exponents"]]

    @property
    def sharpness(self) -> float | None:
        """The Hessian's largest eigenvalue on the batch.

        For a large batch it is the largest of three draws of its rows, by the seed. None if it
        could not be measured, and with Adam, whose learning rate it does not bound.
        """
        sharpness = self._numbers["measurements"]["sharpness"]
        return None if sharpness is None else sharpness["lambda_max"]

    def __repr__(self) -> str:
        found = ", ".join(finding["code"] for finding in self.findings)
        found = found or ("likely to diverge" if self._diverges else "healthy")
        return f"<Probe: {found}>"


def probe(
    model: nn.Module,
    batch: Any,
    loss_fn: Callable[..., Tensor],
    *,
    optimizer: Optimizer | None = None,
    seed: int = 0,
) -> Probe:
    """Predicts before training whether gradients will explode: where, how fast, and what to try.

    One batch forward and backward gives the size of activations and gradients, layer by layer. A
    few vectors propagated back through the layers' Jacobians give the exponents of their product,
    and a few more gradients the sharpness. The layers of a recurrent module (`nn.RNN`, `nn.LSTM`,
    `nn.GRU`, in one direction) are its time steps, and so are the runs of a layer or a cell that
    the model calls in a loop over a sequence. Everything runs on a copy of the model, in training
    mode.

    The layers are found while the model runs. They are the blocks of one class that follow one
    another, or else the modules that hold its weight matrices. Of parallel branches the longest is
    followed. Samples must be the first dimension of the batch's tensors; for a recurrent module it
    may be time.

    Args:
        model: any module.
        batch: a pair of inputs and targets, if the loss is `loss_fn(model(inputs), targets)`;
            inputs that are a tuple are the model's arguments. Or a mapping, if the loss is
            `loss_fn(model(**batch))`.
        loss_fn: returns one number.
        optimizer: with SGD, its learning rate is compared with the largest stable one. With SGD or
            Adam the report gives the probability that training diverges.
        seed: of dropout and of the vectors' directions.

    Raises:
        TypeError: `batch` or `optimizer` has another type, the loss is not one number, or the model
            cannot be copied.
        ValueError: the batch is empty, or the loss does not depend on a trained parameter.
    """
    return Probe(_native.ProbeReport(measure_model(model, batch, loss_fn, optimizer, seed).fields))
