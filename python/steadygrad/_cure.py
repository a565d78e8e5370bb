"""The six families of remedies, tried on a user's own model: run here, judged in Rust."""

from __future__ import annotations

import json
import math
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Optional, Union

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from . import _native
from ._batch import forward_of, outputs_of, seeded
from ._probe import RESIDUAL, measure, recurrent_of
from ._report import Report
from ._surgery import Put, Refused, put
from ._task import Rows, accuracy, evaluate, most_frequent
from ._work import Counted
from .torch import _norms, gradient_stats

__all__ = ["Cure", "cure"]

# Of the samples, where no validation data are given.
_HELD_OUT = 0.2
# With fewer, one sample or none is held out, and the metric is chance.
_LEAST_SAMPLES = 10
# How far a trial is from the edge: learning rates tried, over a share of the steps.
_MARGINS, _MARGIN_SHARE, _MARGIN_LEAST = (2.0, 4.0, 8.0, 16.0), 20, 20


class Cure(Report):
    """What `cure` found. Printed, it is what `steadygrad cure` prints."""

    @property
    def prescription(self) -> Optional[dict[str, Any]]:
        """What to change: the winning `trial`, its `summary`, and as `pytorch` the code. None when no family
        cured, or most fresh seeds did not confirm the one that did."""
        return self._numbers["prescription"]

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The baseline, the six families and the controls, each with its `remedy`, how its parameter was
        computed, and what became of it: or why it was `not_tried`."""
        return self._numbers["trials"]

    @property
    def ranking(self) -> list[dict[str, Any]]:
        """Families and controls, best first."""
        return self._numbers["ranking"]

    @property
    def verification(self) -> list[dict[str, Any]]:
        """The winner, the baseline and the controls on fresh seeds."""
        return self._numbers["verification"]

    def __repr__(self) -> str:
        given = self.prescription
        return f"<Cure: {given['summary'] if given else 'none found'}>"


def cure(
    build: Callable[[], nn.Module],
    loss_fn: Callable[..., Tensor],
    data: Any,
    *,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    steps: int,
    batch_size: int = 32,
    validation: Any = None,
    metric: Optional[Callable[[Any, Any], Any]] = None,
    goal: Optional[float] = None,
    scheduler: Optional[Callable[[Optimizer], LRScheduler]] = None,
    seed: int = 0,
    fresh_seeds: int = 3,
    out: Union[None, str, os.PathLike[str]] = None,
    verbose: bool = True,
) -> Cure:
    """Tries the six families of remedies on a model and prescribes the one that is proven to cure it.

    The run is done as it is, then with each family's remedy, its parameter computed from what was measured,
    and with two controls: clipping at 1, and a remedy drawn blindly. Those that end well are ranked by the
    metric, up to its standard error, then by how much higher a learning rate they bear, then by their cost. The
    best is run again on fresh seeds, beside the run as it is and the controls, and is prescribed when it
    reaches the goal on most of them.

    It takes 9 runs and 12 more on fresh seeds with the default; give as few steps as show the trouble.

    Args:
        build: gives the untrained model; called before each run, at that run's seed.
        loss_fn: as for `probe`: `loss_fn(model(inputs), targets)`, or `loss_fn(model(**batch))` for a mapping.
        data: a pair of tensors, inputs and targets, with the samples first; or a mapping of such; or a map-style
            dataset of pairs or mappings.
        optimizer: from parameters to their optimizer, with its learning rate: for example
            `lambda parameters: torch.optim.SGD(parameters, lr=0.1)`.
        steps: of each run.
        batch_size: samples a step.
        validation: as `data`; the default is a fifth of the data, drawn at `seed`, which is then not trained on.
        metric: from outputs and targets to one number, larger is better; averaged over the validation data. The
            default is accuracy, where the targets are classes.
        goal: the metric that counts as solved. The default, for accuracy, is half way from always saying the
            most frequent class to 1; any other metric needs one.
        scheduler: from the optimizer to its schedule, stepped after each step; none that needs a metric.
        seed: of the runs; the fresh ones follow it.
        fresh_seeds: how many.
        out: a folder, new or empty, for the record of every run, `report.json` and `report.html`.
        verbose: whether a line is written to the standard error for each run.

    Warns where `build` gives the same weights at every seed: fresh ones prove less then.

    Ctrl-C ends it with what is known so far.

    Raises:
        TypeError: `build`, `data` or `optimizer` is none of these.
        ValueError: a number cannot be used, there are too few data, a metric or a goal is missing, `build`
            gives a module that was already trained, or the optimizer or its schedule asks for more than a
            step; the message says which.
        FileExistsError: there is something in `out`.
    """
    begin = time.perf_counter()
    _check(steps=steps, batch_size=batch_size, fresh_seeds=fresh_seeds)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` is {seed!r}; give a whole number from 0 on")
    _check_functions(build, optimizer)
    bench = _Bench(build, loss_fn, data, validation, optimizer, scheduler, steps, batch_size, seed)
    bench.out, bench.verbose = _folder(out), verbose
    task = bench.measure(metric, goal)
    native = _native.Cure(bench.measured, task)
    interrupted = False
    try:
        _race(bench, native, fresh_seeds)
    except KeyboardInterrupt:
        interrupted = True
    report = native.report(interrupted, time.perf_counter() - begin, bench.changes)
    if bench.out is not None:
        for name, text in (("report.json", report.json()), ("report.html", report.html())):
            with open(os.path.join(bench.out, name), "w", encoding="utf-8") as file:
                file.write(text)
    return Cure(report)


# As the core says it.
_NOT_PLAIN = "its layers are not plain ones, for which alone the critical weight scale is known"


def _race(bench: _Bench, native: _native.Cure, fresh_seeds: int) -> None:
    baseline = bench.run("baseline", None, bench.seed, "baseline", margin=True)
    draw = random.Random(bench.seed)
    draws = [(draw.random(), draw.random()) for _ in range(100)]
    for name, folder, remedy in native.race(baseline, draws, bench.can()):
        if remedy is None:
            if name in bench.not_plain():
                native.refuse(name, _NOT_PLAIN)
            continue
        try:
            folder = os.path.join("trials", folder)
            native.ran(name, bench.run(name, json.loads(remedy), bench.seed, folder, margin=True))
        except Refused as why:
            native.refuse(name, str(why))
    for name, folder, remedy in native.contenders():
        parsed = None if remedy is None else json.loads(remedy)
        runs = []
        for fresh in range(bench.seed + 1, bench.seed + 1 + fresh_seeds):
            path = os.path.join("verify", f"{folder}-seed-{fresh}")
            runs.append((fresh, bench.run(f"{name} (seed {fresh})", parsed, fresh, path)))
        native.verified(name, runs)


class _Bench:
    """Runs trials of one model on its data."""

    out: Optional[str] = None
    verbose = True

    def __init__(
        self,
        build: Callable[[], nn.Module],
        loss_fn: Callable[..., Tensor],
        data: Any,
        validation: Any,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Optional[Callable[[Optimizer], LRScheduler]],
        steps: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._build, self._loss_fn, self._optimizer = build, loss_fn, optimizer
        self._scheduler = scheduler
        self._steps, self._batch_size, self.seed = steps, batch_size, seed
        self._training = Rows(data)
        if validation is not None:
            self._validation = Rows(validation)
        elif (samples := len(self._training)) < _LEAST_SAMPLES:
            raise ValueError(
                f"`data` holds {samples} sample{'s' * (samples != 1)}, of which a fifth would be held out to "
                f"validate on; give {_LEAST_SAMPLES} or more, or `validation`"
            )
        else:
            generator = torch.Generator().manual_seed(seed)
            self._training, self._validation = self._training.split(_HELD_OUT, generator)
        first = next(self._training.batches(batch_size, seed))
        self._forward = forward_of(first, loss_fn)
        self._first = first
        self._work = math.nan
        self._built: Optional[nn.Module] = None
        # Of each trial, what its remedy did to the model.
        self.changes: dict[str, str] = {}

    def measure(
        self, metric: Optional[Callable[[Any, Any], Any]], goal: Optional[float]
    ) -> dict[str, Any]:
        """Of the untrained model; and what it is to do."""
        self._say("measure")
        model = self._model(self.seed)
        name = "accuracy" if metric is None else "metric"
        if metric is None:
            trivial = most_frequent(self._validation, self._batch_size)
            metric = accuracy
            goal = trivial + 0.5 * (1.0 - trivial) if goal is None else goal
            if not trivial < goal <= 1.0:
                raise ValueError(
                    f"`goal` is {goal}; give an accuracy above {trivial:.4g}, which saying always the most frequent "
                    "class has, and up to 1"
                )
        elif goal is None:
            raise ValueError("`goal` is missing: the value of `metric` that counts as solved")
        else:
            trivial = evaluate(model, self._validation, self._batch_size, metric)
            if not math.isfinite(trivial):
                raise ValueError(f"`metric` of the untrained model is {trivial}; give one that is a number there")
        self._metric, self._goal, self._trivial = metric, float(goal), trivial
        self._warn_of_fixed_seeds(model)
        optimizer = self._optimizer(model.parameters())
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"`optimizer` gave a {type(optimizer).__name__}; give {_AN_OPTIMIZER}")
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("LBFGS runs the model by itself, many times a step; give an optimizer that does not")
        if self._scheduler is not None and isinstance(self._scheduler(optimizer), ReduceLROnPlateau):
            raise ValueError("ReduceLROnPlateau needs a metric; give a `scheduler` that steps by itself")
        optimizer = self._optimizer(model.parameters())
        self.measured, self._chain = measure(model, self._first, self._loss_fn, optimizer, self.seed)
        self._recurrent = recurrent_of(model) is not None
        group = max(optimizer.param_groups, key=lambda group: float(group["lr"]))
        self._learning_rate = float(group["lr"])
        if not self._learning_rate > 0.0:
            raise ValueError(f"the optimizer's learning rate is {self._learning_rate}; give one above 0")
        return {
            "metric": name,
            "goal": self._goal,
            "trivial": trivial,
            "training_samples": len(self._training),
            "validation_samples": len(self._validation),
            "optimizer": type(optimizer).__name__.lower(),
            "learning_rate": self._learning_rate,
            "momentum": float(group.get("momentum", 0.0)),
            "steps": self._steps,
        }

    def not_plain(self) -> list[str]:
        """The families that mean-field theory has nothing to say of, for this model."""
        if self.measured["activation"] is not None:
            return []
        residual = (self.measured["skip_share"] or 0.0) >= RESIDUAL
        return ["regularize"] if residual else ["initialize", "regularize"]

    def can(self) -> list[str]:
        """The families that change nothing but numbers, and those that this model can take."""
        families = ["clip", "regularize", "initialize", "slow_down"]
        model = self._model(self.seed)
        for family, remedy in (
            ("normalize", {"kind": "rms_norm", "every": 1}),
            ("simplify", {"kind": "truncate_bptt", "time_steps": 1} if self._recurrent else
             {"kind": "reduce_depth", "depth": 1}),
        ):
            try:
                self._put(model, remedy)
                families.append(family)
            except Refused:
                pass
        return families

    def run(
        self,
        name: str,
        remedy: Optional[dict[str, Any]],
        seed: int,
        folder: str,
        margin: bool = False,
    ) -> _native.Outcome:
        """One trial, and how far its learning rate is from the edge.

        Raises:
            Refused: the remedy does not go with the model.
        """
        begin = time.perf_counter()
        path = None if self.out is None else os.path.join(self.out, folder)
        outcome = self._train(name, remedy, seed, self._steps, 1.0, remedy is None, path)
        if margin and outcome.survived:
            reached = 1.0
            for factor in _MARGINS:
                few = max(self._steps // _MARGIN_SHARE, _MARGIN_LEAST)
                if not self._train(name, remedy, seed, few, factor, False, None).survived:
                    break
                reached = factor
            outcome = outcome.with_margin(reached)
        seconds = time.perf_counter() - begin
        metric = outcome.validation_metric
        self._say(f"{name}: {outcome.verdict}, {metric:.4g} ({seconds:.1f} s)")
        return outcome

    def _train(
        self,
        name: str,
        remedy: Optional[dict[str, Any]],
        seed: int,
        steps: int,
        faster: float,
        observe: bool,
        folder: Optional[str],
    ) -> _native.Outcome:
        model = self._model(seed)
        done = Put() if remedy is None else self._put(model, remedy)
        self.changes[name] = done.changes
        kind = None if remedy is None else remedy["kind"]
        max_norm = remedy["max_norm"] if remedy is not None and kind == "clip_global_norm" else None
        optimizer = self._optimizer(model.parameters())
        if remedy is not None and kind == "lower_learning_rate":
            lower = remedy["learning_rate"] / self._learning_rate
            faster *= lower
            if self._schedule_sets_rates(model, lower):
                self.changes[name] = (
                    f"Here the schedule sets the rates by itself: multiply its own (`max_lr`, say) by {lower:.12g}, "
                    "and leave the optimizer as it is."
                )
        rates = _Rates(optimizer, self._scheduler, faster)
        names, parameters = zip(*model.named_parameters())
        trial = _native.Trial(observe, max_norm, folder, name, list(names))
        work, seconds = math.nan, 0.0
        batches = self._training.batches(self._batch_size, seed)
        with seeded(seed):
            for step in range(steps):
                begin = time.perf_counter()
                optimizer.zero_grad()
                if step == 0:
                    with Counted() as counted:
                        loss = self._forward(model, next(batches))
                        loss.backward()
                    work = float(counted.operations)
                else:
                    loss = self._forward(model, next(batches))
                    loss.backward()
                stats = gradient_stats(model)
                weights = [p.detach() for p in parameters if p.grad is not None]
                rate = max(float(group["lr"]) for group in optimizer.param_groups)
                applies, coefficient, ends = trial.step(
                    step, float(loss.detach()), rate, stats, _norms(weights)
                )
                if applies:
                    if coefficient != 1.0:
                        grads = [p.grad for p in parameters if p.grad is not None]
                        torch._foreach_mul_(grads, coefficient)
                    optimizer.step()
                    if done.after_step is not None:
                        done.after_step()
                rates.step()
                seconds += time.perf_counter() - begin
                if ends:
                    break
        if remedy is None and math.isnan(self._work):
            self._work = work
        # Where the operations are not ones that are counted, as good as the same.
        relative = work / self._work if work > 0 and self._work > 0 else 1.0
        validated = math.nan
        if trial.completed:
            validated = evaluate(model, self._validation, self._batch_size, self._metric)
        return trial.finish(validated, self._goal, self._trivial, relative, seconds)

    def _model(self, seed: int) -> nn.Module:
        with seeded(seed):
            model = self._build()
        if not isinstance(model, nn.Module):
            raise TypeError(f"`build` gave a {type(model).__name__}; give {_A_BUILD}")
        if model is self._built:
            raise ValueError("`build` gave the same module twice; give a function that makes a new one")
        self._built = model.train()
        if any(map(is_lazy, model.parameters())):
            with torch.no_grad(), seeded(seed):
                outputs_of(model, self._first)
        return model

    def _schedule_sets_rates(self, model: nn.Module, factor: float) -> bool:
        """Whether it takes no notice of the rates that the optimizer has before."""
        if self._scheduler is None:
            return False
        asked = []
        for times in (1.0, factor):
            optimizer = self._optimizer(model.parameters())
            for group in optimizer.param_groups:
                group["lr"] = times * group["lr"]
            self._scheduler(optimizer)
            asked.append([float(group["lr"]) for group in optimizer.param_groups])
        return any(not math.isclose(factor * one, other) for one, other in zip(*asked))

    def _warn_of_fixed_seeds(self, model: nn.Module) -> None:
        other = self._model(self.seed + 1)
        pairs = list(zip(model.parameters(), other.parameters()))
        if pairs and all(torch.equal(one, another) for one, another in pairs):
            warnings.warn(
                f"`build` gives the same weights at seeds {self.seed} and {self.seed + 1}, so runs on fresh seeds "
                "differ in the order of the data alone: a cure that holds on them may hold for these weights "
                "only. Leave `torch.manual_seed` and weights from a file out of `build`",
                stacklevel=4,
            )

    def _put(self, model: nn.Module, remedy: dict[str, Any]) -> Put:
        done = put(model, self._chain, remedy)
        try:
            with torch.no_grad(), seeded(self.seed):
                self._forward(model, self._first)
        except (RuntimeError, TypeError, ValueError) as error:
            raise Refused(f"with it the model does not run: {error}") from error
        return done

    def _say(self, what: str) -> None:
        if self.verbose:
            print(f"steadygrad: {what}", file=sys.stderr, flush=True)


class _Rates:
    """The learning rates that an optimizer and its schedule ask for, times a factor."""

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: Optional[Callable[[Optimizer], LRScheduler]],
        factor: float,
    ) -> None:
        self._groups, self._factor = optimizer.param_groups, factor
        self._schedule = None if scheduler is None else scheduler(optimizer)
        self._put()

    def step(self) -> None:
        """Also of schedules that compute a rate from the last one."""
        for group, rate in zip(self._groups, self._asked):
            group["lr"] = rate
        if self._schedule is not None:
            self._schedule.step()
        self._put()

    def _put(self) -> None:
        self._asked = [group["lr"] for group in self._groups]
        if self._factor != 1.0:
            for group in self._groups:
                group["lr"] = self._factor * group["lr"]


_A_BUILD = "a function that makes a new, untrained module at each call: `lambda: Model(...)`"
_AN_OPTIMIZER = (
    "a function from parameters to one optimizer: `lambda parameters: torch.optim.SGD(parameters, lr=0.1)`"
)


def _check_functions(build: Any, optimizer: Any) -> None:
    for name, given, kind, right in (
        ("build", build, nn.Module, _A_BUILD),
        ("optimizer", optimizer, Optimizer, _AN_OPTIMIZER),
    ):
        if isinstance(given, kind) or not callable(given):
            raise TypeError(f"`{name}` is a {type(given).__name__}; give {right}")


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"`{name}` is {count!r}; give a whole number from 1 on")


def _folder(out: Union[None, str, os.PathLike[str]]) -> Optional[str]:
    """Made sure of before any work."""
    if out is None:
        return None
    folder = os.fspath(out)
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise FileExistsError(f"{folder} is not empty: give a new folder for the results")
    return folder
