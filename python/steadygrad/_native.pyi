from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, final

import torch
from torch import Tensor

VERSION: str

@final
class TensorStats:
    """What one pass over one parameter's gradient tells."""

    @property
    def tensor_norm(self) -> float:
        """L2 norm, summed in float64: NaN if any value is NaN, else infinite if any is infinite."""
    @property
    def share(self) -> float:
        """Of the squared global norm, `tensor_norm**2 / global_norm**2`. 0 when all gradients are
        zero; NaN when this gradient is not finite, and 0 for the others then if the norm is
        infinite, NaN if it is NaN."""
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
class GradientStats(Mapping[str, TensorStats]):
    """Statistics of all parameters that had a gradient, by name, as measured before any clipping."""

    @property
    def global_norm(self) -> float:
        """L2 norm over all gradients: NaN if any value is NaN, else infinite if any is infinite."""
    @property
    def max_abs(self) -> float:
        """Largest absolute finite value; 0 when there is none."""
    @property
    def non_finite(self) -> int:
        """How many values are NaN or infinite."""
    @property
    def subnormal(self) -> int:
        """How many values are subnormal."""
    @property
    def coefficient(self) -> float:
        """What every gradient was multiplied by: 1.0 when nothing was done; NaN when that is not one
        number (see `actions`)."""
    @property
    def actions(self) -> tuple[str, ...]:
        """What each policy did: "keep", "scale_global", "scale_per_tensor", "scale_per_unit",
        "clamp" or "clamp_to_second_moment"; empty when nothing was to be clipped."""
    @staticmethod
    def of_rows(
        names: tuple[str, ...], rows: Sequence[tuple[int, float, float, int, int, int, int]]
    ) -> GradientStats: ...
    @staticmethod
    def of_reading(
        names: tuple[str, ...], places: Sequence[int], reading: DeviceReading
    ) -> GradientStats:
        """Of the first tensors of a reading, whose names are at these places."""

    def rows(self) -> list[tuple[int, float, float, int, int, int, int]]:
        """The place of each parameter's name, then the fields of `TensorStats` but `share`."""
    def top(self, k: int) -> list[tuple[str, TensorStats]]:
        """The `k` parameters with the largest norms, NaN first, then infinite ones."""
    def __getitem__(self, name: str, /) -> TensorStats: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

@final
class Reader:
    def __init__(
        self,
        tensor: type[Tensor],
        parameter: type[Tensor],
        exchange: Optional[object],
        dtypes: tuple[torch.dtype, torch.dtype, torch.dtype, torch.dtype],
        increment_version: Callable[[list[Tensor]], None],
        measure: Callable[[list[Tensor]], list[tuple[float, float, int, int, int, int]]],
        scale: Callable[[list[Tensor], float], None],
        clamp: Callable[[list[Tensor], float], None],
    ) -> None: ...

@final
class Gradients:
    """The gradients that the parameters had, with statistics of those that are read natively."""

    def __init__(self, reader: Reader, parameters: list[Tensor], threads: int) -> None: ...
    @property
    def rest(self) -> list[Tensor]:
        """The gradients that are left to PyTorch's own operators."""
    @property
    def kinds(self) -> int:
        """One bit for each type among those read natively: float32, float64, float16, bfloat16."""
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

    def __init__(self, policy: str) -> None: ...
    @property
    def acts_on_update(self) -> bool:
        """Whether the policy acts on the optimizer's update and not on the gradients."""
    @property
    def needs(self) -> list[str]:
        """Which of `extras` the policy looks at."""
    def save(self) -> str: ...
    def load(self, saved: str) -> None: ...
    def clip(
        self,
        reader: Reader,
        parameters: list[Tensor],
        names: tuple[str, ...],
        threads: int,
        extras: Optional[dict[str, Any]],
    ) -> GradientStats: ...

@final
class Judgement:
    """What the guard says of one step."""

    @property
    def decision(self) -> str: ...
    @property
    def applies(self) -> bool: ...
    @property
    def coefficient(self) -> float: ...
    @property
    def reason(self) -> Optional[str]: ...
    @property
    def to_step(self) -> Optional[int]: ...
    @property
    def learning_rate_scale(self) -> float: ...
    @property
    def detections(self) -> list[str]: ...

@final
class FolderLock:
    """A folder that one process writes to, as long as this lives."""

    def __init__(self, folder: str, name: str) -> None: ...

@final
class Guard:
    """Judges steps by a preset's settings, and keeps a run directory."""

    def __init__(
        self, preset: str, clip: Optional[str], sensitivity: Optional[float]
    ) -> None: ...
    def record(self, folder: str, name: str, parameters: list[str]) -> None: ...
    def step(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        stats: GradientStats,
        weight_norms: list[float],
        whole: bool,
    ) -> Judgement: ...
    def quiet(self, learning_rate: float) -> Optional[Quiet]: ...
    def wants_snapshot(self, step: int) -> bool: ...
    def snapshot_taken(self, step: int) -> None: ...
    def snapshots(self) -> list[int]: ...
    def wants_abandoned(self) -> bool: ...
    def rolled_back(self, step: int) -> None: ...
    def rolled_back_from(self, left: int, step: int) -> None: ...
    def rollback_failed(self, step: int, why: str) -> Judgement: ...
    def last_good(self) -> Optional[int]: ...
    def sync(self) -> None: ...
    def save(self) -> str: ...
    def load(self, saved: str, step: int) -> list[str]: ...
    def counts(self) -> list[tuple[str, int]]: ...
    def finish(self) -> None: ...

def clamp(
    reader: Reader, parameters: list[Tensor], threads: int, max_abs: float
) -> list[Tensor]:
    """Clamps the gradients that are read natively, and returns the others."""

@final
class Quiet:
    """Readings that the guard will keep as they are: at most this loss and this global norm before clipping,
    weights of at least and at most this norm, and no parameter's larger than before by more than this."""

    @property
    def global_norm(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def least_weight_norm(self) -> float: ...
    @property
    def weight_norm(self) -> float: ...
    @property
    def weight_rise(self) -> float: ...

@final
class DeviceReading:
    """Statistics of a list of tensors, to be filled in: by kernels for those on a CUDA device, by PyTorch's
    own operators for the rest."""

    def __new__(cls, reader: Reader, tensors: list[Tensor]) -> DeviceReading: ...
    @property
    def groups(self) -> list[tuple[int, bytes, bytes]]:
        """Of each device: its number, its tensors' addresses, and their types and sizes."""

    @property
    def rest(self) -> list[int]:
        """The places of those that belong to no group."""

    def leave(self, device: int) -> None:
        """Gives a group to PyTorch's operators after all."""

    def fill(self, reader: Reader, device: int, rows: Tensor) -> None:
        """Takes what was measured of a device's tensors."""

    def put(self, place: int, row: tuple[float, float, int, int, int, int]) -> None:
        """Takes what was measured of one tensor."""

    def norms(self, first: int) -> list[float]:
        """The norms of the tensors from this place on."""

def norms(
    reader: Reader, tensors: Sequence[Tensor], threads: int
) -> list[Optional[float]]:
    """L2 norms of tensors, which may be parameters; `None` for those that are not read natively."""

def command(arguments: list[str]) -> int:
    """Runs the command `steadygrad`, its own name first, and gives its exit code."""

@final
class ProbeReport:
    """What `steadygrad probe` would say of what was measured."""

    def __init__(self, measured: dict[str, Any]) -> None: ...
    def json(self) -> str: ...
    def text(self, styled: bool) -> str: ...
    def html(self) -> str: ...

@final
class Outcome:
    """What became of one trial."""

    @property
    def survived(self) -> bool: ...
    @property
    def verdict(self) -> str: ...
    @property
    def validation_metric(self) -> float: ...
    def with_margin(self, margin: float) -> Outcome:
        """The same, with the largest multiple of its own learning rate that it bears."""

@final
class Trial:
    """One run, judged step by step: watched when `observe`, and else stopped at the first value that is
    not finite."""

    def __init__(
        self, observe: bool, max_norm: Optional[float], folder: Optional[str], name: str, parameters: list[str]
    ) -> None: ...
    def step(
        self, step: int, loss: float, learning_rate: float, stats: GradientStats, weight_norms: list[float]
    ) -> tuple[bool, float, bool]:
        """Whether the step is to be applied, what the gradients are multiplied by before, and whether the
        trial ends here."""
    @property
    def completed(self) -> bool: ...
    def finish(
        self, validation_metric: float, goal: float, trivial: float, work: float, seconds: float
    ) -> Outcome: ...

@final
class Cure:
    """From the measurements to the prescription. A trial is listed by its name, its folder's, and its
    remedy as JSON."""

    def __init__(self, measured: dict[str, Any], task: dict[str, Any]) -> None: ...
    def race(
        self, baseline: Outcome, draws: list[tuple[float, float]], can: list[str]
    ) -> list[tuple[str, str, Optional[str]]]: ...
    def refuse(self, name: str, why: str) -> None: ...
    def ran(self, name: str, outcome: Outcome) -> None: ...
    def contenders(self) -> list[tuple[str, str, Optional[str]]]: ...
    def verified(self, name: str, seeds: list[tuple[int, Outcome]]) -> None: ...
    def report(self, interrupted: bool, seconds: float, changes: dict[str, str]) -> CureReport: ...

@final
class CureReport:
    """What `steadygrad cure` would say."""

    def json(self) -> str: ...
    def text(self, styled: bool) -> str: ...
    def html(self) -> str: ...
