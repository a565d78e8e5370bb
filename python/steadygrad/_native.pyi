"""The compiled part of the package; `tests/test_native_stub.py` compares this file with it."""

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any, TypeAlias, final, overload

import torch
from torch import Tensor

VERSION: str
"""The package's version."""

BASELINE: str
"""The name of the trial without a remedy."""

_Path: TypeAlias = str | PathLike[str]
_Row: TypeAlias = tuple[float, float, int, int, int, int]
_NumberedRow: TypeAlias = tuple[int, float, float, int, int, int, int]
_ListedTrial: TypeAlias = tuple[str, str, str | None]

@final
class TensorStats:
    """Statistics of one parameter's gradient."""

    @property
    def tensor_norm(self) -> float:
        """L2 norm, summed in float64: NaN if any value is NaN, else infinite if any is infinite."""
    @property
    def share(self) -> float:
        """Share of the squared global norm, `tensor_norm**2 / global_norm**2`.

        It is 0 if all gradients are zero. If the global norm is infinite, it is NaN for gradients
        of infinite norm and 0 for all others. If the global norm is NaN, it is NaN for all.
        """
    @property
    def max_abs(self) -> float:
        """Largest absolute finite value; 0 when there is none."""
    @property
    def numel(self) -> int:
        """Number of values."""
    @property
    def non_finite(self) -> int:
        """Values that are NaN or infinite."""
    @property
    def subnormal(self) -> int:
        """Values that are not zero, but below the smallest normal value of the gradient's type."""
    @property
    def zero(self) -> int:
        """Values that are zero."""

@final
class GradientStats:
    """Statistics of all parameters with a gradient, by name, as measured before any clipping.

    It behaves like a read-only mapping from names to `TensorStats`, in the parameters' order.
    """

    @property
    def global_norm(self) -> float:
        """L2 norm over all gradients: NaN if any value is NaN, else infinite if any is infinite."""
    @property
    def max_abs(self) -> float:
        """Largest absolute finite value; 0 when there is none."""
    @property
    def non_finite(self) -> int:
        """Number of values that are NaN or infinite."""
    @property
    def subnormal(self) -> int:
        """Number of subnormal values."""
    @property
    def coefficient(self) -> float:
        """The factor on all gradients: 1.0 if none changed, NaN if there is no single factor.

        See `actions` for what was done.
        """
    @property
    def actions(self) -> tuple[str, ...]:
        """The action of each policy; empty if the policy had nothing to clip.

        An action is "keep", "scale_global", "scale_per_tensor", "scale_per_unit", "clamp" or
        "clamp_to_second_moment".
        """
    @staticmethod
    def of_rows(names: tuple[str, ...], rows: Sequence[_NumberedRow]) -> GradientStats: ...
    @staticmethod
    def of_reading(
        names: tuple[str, ...], places: Sequence[int], reading: DeviceReading
    ) -> GradientStats:
        """Returns the statistics of the first tensors of a reading; `places` index their names."""

    def rows(self) -> list[_NumberedRow]:
        """Returns the position of each name, then the fields of `TensorStats` except `share`."""
    def top(self, k: int) -> list[tuple[str, TensorStats]]:
        """Returns the `k` parameters with the largest norms, NaN first, then infinite ones."""
    def keys(self) -> list[str]: ...
    def values(self) -> list[TensorStats]: ...
    def items(self) -> list[tuple[str, TensorStats]]: ...
    @overload
    def get(self, name: str, default: None = None) -> TensorStats | None: ...
    @overload
    def get(self, name: str, default: TensorStats) -> TensorStats: ...
    def __getitem__(self, key: str, /) -> TensorStats: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

@final
class Reader:
    """Reads dense CPU tensors; all others go to the functions given here."""

    def __new__(
        cls,
        tensor: type[Tensor],
        parameter: type[Tensor],
        exchange: object | None,
        dtypes: tuple[torch.dtype, torch.dtype, torch.dtype, torch.dtype],
        increment_version: Callable[[list[Tensor]], None],
        measure: Callable[[list[Tensor]], DeviceReading],
        scale: Callable[[list[Tensor], float], None],
        clamp: Callable[[list[Tensor], float], None],
    ) -> Reader: ...

@final
class Gradients:
    """The gradients of parameters, with statistics of those that are read natively."""

    def __new__(cls, reader: Reader, parameters: list[Tensor], threads: int) -> Gradients: ...
    @property
    def rest(self) -> list[Tensor]:
        """The gradients that PyTorch's own operators must handle."""
    @property
    def kinds(self) -> int:
        """One bit for each type that is read natively: float32, float64, float16, bfloat16."""
    @property
    def global_norm(self) -> float:
        """L2 norm over those read natively."""
    @property
    def max_norm(self) -> float:
        """Largest absolute value over those read natively: NaN if any value is NaN."""
    def scale(self, coefficient: float) -> None:
        """Multiplies those read natively."""

@final
class Clipper:
    """A policy with its running state."""

    def __new__(cls, policy: str) -> Clipper: ...
    @property
    def acts_on_update(self) -> bool:
        """Whether the policy acts on the optimizer's update instead of the gradients."""
    @property
    def needs(self) -> list[str]:
        """The entries of `extras` that the policy reads."""
    def save(self) -> str:
        """Returns the policy and its state as JSON."""
    def load(self, saved: str) -> None:
        """Continues from what `save` returned."""
    def clip(
        self,
        reader: Reader,
        parameters: list[Tensor],
        names: tuple[str, ...],
        threads: int,
        extras: dict[str, Any] | None,
    ) -> GradientStats:
        """Clips the gradients, and returns their statistics from before."""

@final
class Judgement:
    """The guard's decision about one step."""

    @property
    def decision(self) -> str: ...
    @property
    def applies(self) -> bool:
        """Whether the optimizer is to step."""
    @property
    def coefficient(self) -> float:
        """The factor on every gradient before that."""
    @property
    def reason(self) -> str | None:
        """Why the step is not applied."""
    @property
    def to_step(self) -> int | None:
        """The step whose snapshot is to be restored."""
    @property
    def learning_rate_scale(self) -> float:
        """The factor on the learning rate."""
    @property
    def detections(self) -> list[str]:
        """What the detectors saw, in words."""

@final
class FolderLock:
    """Locks a folder for this process, for as long as the object lives."""

    def __new__(cls, folder: _Path, name: str) -> FolderLock: ...

@final
class Guard:
    """Judges steps by a preset's settings, and keeps a run directory."""

    def __new__(cls, preset: str, clip: str | None, sensitivity: float | None) -> Guard: ...
    def record(self, folder: _Path, name: str, parameters: list[str]) -> None: ...
    def step(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        stats: GradientStats,
        weight_norms: list[float],
        whole: bool,
    ) -> Judgement: ...
    def quiet(self, learning_rate: float) -> Quiet | None: ...
    def wants_snapshot(self, step: int) -> bool: ...
    def snapshot_taken(self, step: int) -> None: ...
    def snapshots(self) -> list[int]: ...
    def wants_abandoned(self) -> bool: ...
    def rolled_back(self, step: int) -> None: ...
    def rolled_back_from(self, left: int, step: int) -> None: ...
    def rollback_failed(self, step: int, why: str) -> Judgement: ...
    def last_good(self) -> int | None: ...
    def sync(self) -> None: ...
    def save(self) -> str: ...
    def load(self, saved: str, step: int) -> list[str]: ...
    def counts(self) -> list[tuple[str, int]]: ...
    def finish(self) -> None: ...

def clamp(reader: Reader, parameters: list[Tensor], threads: int, max_abs: float) -> list[Tensor]:
    """Clamps the gradients that are read natively, and returns the others."""

@final
class Quiet:
    """Bounds of the readings that the guard is sure to keep."""

    @property
    def global_norm(self) -> float:
        """The largest global norm before clipping."""
    @property
    def loss(self) -> float:
        """The largest loss."""
    @property
    def least_weight_norm(self) -> float:
        """The smallest norm of all weights."""
    @property
    def weight_norm(self) -> float:
        """The largest norm of all weights."""
    @property
    def weight_rise(self) -> float:
        """The largest rise of one parameter's norm since the step before."""

@final
class DeviceReading:
    """Statistics of a list of tensors, which the caller measures and fills in.

    Kernels measure those on a CUDA device, and PyTorch's own operators the rest.
    """

    def __new__(cls, reader: Reader, tensors: list[Tensor]) -> DeviceReading: ...
    @property
    def groups(self) -> list[tuple[int, bytes, bytes]]:
        """For each device: its number, its tensors' addresses, and their types and sizes."""

    @property
    def rest(self) -> list[int]:
        """The positions of the tensors that belong to no group."""

    def leave(self, device: int) -> None:
        """Moves a group to the rest."""

    def fill(self, reader: Reader, device: int, rows: Tensor) -> None:
        """Takes the rows of a device's tensors."""

    def put(self, place: int, row: _Row) -> None:
        """Takes the row of one tensor."""

    def norms(self, first: int) -> list[float]:
        """Returns the norms of the tensors from this position on."""

def norms(reader: Reader, tensors: list[Tensor], threads: int) -> list[float | None]:
    """Returns L2 norms of tensors or parameters; None for those that are not read natively."""

def command(arguments: list[str]) -> int:
    """Runs the command `steadygrad`, with its own name first, and returns its exit code."""

@final
class ProbeReport:
    """The report of `steadygrad probe`."""

    def __new__(cls, measured: dict[str, Any]) -> ProbeReport: ...
    def json(self) -> str: ...
    def text(self, styled: bool) -> str: ...
    def html(self) -> str: ...

@final
class Outcome:
    """The outcome of one trial."""

    @property
    def survived(self) -> bool:
        """Whether it ended finite, with a loss not above its first."""
    @property
    def verdict(self) -> str: ...
    @property
    def validation_metric(self) -> float: ...
    def with_margin(self, margin: float) -> Outcome:
        """Returns the outcome with the largest multiple of its learning rate that it bears."""

@final
class Trial:
    """One run, judged step by step.

    With `observe` it runs to the end, else it ends at the first value that is not finite.
    """

    def __new__(
        cls,
        observe: bool,
        max_norm: float | None,
        folder: _Path | None,
        name: str,
        parameters: list[str],
    ) -> Trial: ...
    def step(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        stats: GradientStats,
        weight_norms: list[float],
    ) -> tuple[bool, float, bool]:
        """Returns whether to apply the step, the factor on its gradients, and whether it ends."""
    @property
    def completed(self) -> bool:
        """Whether the model can be validated."""
    def finish(
        self, validation_metric: float, goal: float, trivial: float, work: float, seconds: float
    ) -> Outcome: ...

@final
class Cure:
    """From the measurements to the prescription.

    A trial is listed by its name, its folder's name, and its remedy as JSON.
    """

    def __new__(cls, measured: dict[str, Any], task: dict[str, Any]) -> Cure: ...
    def race(
        self, baseline: Outcome, draws: list[tuple[float, float]], can: list[str]
    ) -> list[_ListedTrial]: ...
    def refuse(self, name: str, why: str) -> None: ...
    def ran(self, name: str, outcome: Outcome) -> None: ...
    def contenders(self) -> list[_ListedTrial]: ...
    def verified(self, name: str, seeds: list[tuple[int, Outcome]]) -> None: ...
    def report(self, interrupted: bool, seconds: float, changes: dict[str, str]) -> CureReport: ...

@final
class CureReport:
    """The report of `steadygrad cure`."""

    def json(self) -> str: ...
    def text(self, styled: bool) -> str: ...
    def html(self) -> str: ...
