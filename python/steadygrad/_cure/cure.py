"""`cure`: tries the six families of remedies on a user's own model."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from .. import _native
from .._probe.report import Report
from .bench import Bench
from .measure import measure_task
from .models import ModelFactory
from .remedies.applied import RemedyRefused
from .settings import (
    CureSettings,
    MakeOptimizer,
    MakeScheduler,
    check_counts,
    empty_folder,
    split_data,
)


class Cure(Report):
    """The report of `cure`; printed, it is the output of `steadygrad cure`."""

    @property
    def prescription(self) -> dict[str, Any] | None:
        """What to change: the winning `trial`, its `summary`, and the code as `pytorch`.

        None if no family cured the model, or most fresh seeds did not confirm the winner.
        """
        prescription: dict[str, Any] | None = self._numbers["prescription"]
        return prescription

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The baseline, the six families and the controls.

        Each has its `remedy`, the derivation of its parameter, and its outcome; or why it was
        `not_tried`.
        """
        trials: list[dict[str, Any]] = self._numbers["trials"]
        return trials

    @property
    def ranking(self) -> list[dict[str, Any]]:
        """Families and controls, best first."""
        ranking: list[dict[str, Any]] = self._numbers["ranking"]
        return ranking

    @property
    def verification(self) -> list[dict[str, Any]]:
        """The winner, the baseline and the controls on fresh seeds."""
        verification: list[dict[str, Any]] = self._numbers["verification"]
        return verification

    def __repr__(self) -> str:
        given = self.prescription
        return f"<Cure: {given['summary'] if given else 'none found'}>"


def cure(
    build: Callable[[], nn.Module],
    loss_fn: Callable[..., Tensor],
    data: Any,
    *,
    optimizer: MakeOptimizer,
    steps: int,
    batch_size: int = 32,
    validation: Any = None,
    metric: Callable[[Any, Any], Any] | None = None,
    goal: float | None = None,
    scheduler: MakeScheduler | None = None,
    seed: int = 0,
    fresh_seeds: int = 3,
    out: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> Cure:
    """Tries the six families of remedies on a model, and prescribes the one that is proven.

    The model is trained as it is. Then it is trained with each family's remedy, whose parameter is
    computed from what was measured, and with two controls: clipping at 1, and a random remedy.
    Trials that end well are ranked by the metric, up to its standard error; then by how much higher
    a learning rate they bear; then by their cost. The best is run again on fresh seeds, with the
    unchanged model and the controls. It is prescribed if it reaches the goal on most of them.

    It takes one run of the unchanged model, one for each remedy that applies and one for each
    control; by default 12 more on fresh seeds. Give as few steps as show the trouble.

    Args:
        build: returns the untrained model; called before each run, at that run's seed.
        loss_fn: as for `probe`: `loss_fn(model(inputs), targets)`, or `loss_fn(model(**batch))` for
            a mapping.
        data: a pair of tensors, inputs and targets, with the samples first; a mapping of such; or a
            map-style dataset of pairs or mappings.
        optimizer: from parameters to their optimizer, with its learning rate: for example
            `lambda parameters: torch.optim.SGD(parameters, lr=0.1)`.
        steps: of each run.
        batch_size: samples per step.
        validation: as `data`. The default is a fifth of the data, sampled at `seed`, which is then
            not trained on.
        metric: from outputs and targets to one number, larger is better; averaged over the
            validation data. The default is accuracy, if the targets are classes.
        goal: the metric that counts as solved. For accuracy the default is half way between the
            share of the most frequent class and 1. Any other metric needs a goal.
        scheduler: from the optimizer to its schedule, stepped after each step without a metric.
        seed: of the runs; the fresh seeds follow it.
        fresh_seeds: how many.
        out: a folder, new or empty, for the record of every run, `report.json` and `report.html`.
        verbose: whether to print a line on the standard error for each run.

    Warns if `build` returns the same weights at every seed: fresh seeds prove less then.

    Ctrl-C ends it with a report of what is known so far.

    Raises:
        TypeError: `build`, `data` or `optimizer` has another type.
        ValueError: a number is out of range, there are too few data, a metric or a goal is missing,
            `build` returns the same module again, or the optimizer or its schedule needs more than
            a step. The message says which.
        FileExistsError: `out` is not empty.
    """
    begin = time.perf_counter()
    check_counts(steps=steps, batch_size=batch_size, fresh_seeds=fresh_seeds)
    settings = CureSettings(
        build, loss_fn, optimizer, scheduler, steps, batch_size, seed, None, verbose
    )
    split = split_data(settings, data, validation)
    settings = replace(settings, out=empty_folder(out))
    factory = ModelFactory(settings, split)
    measured = measure_task(settings, split, factory, metric, goal)
    bench = Bench(settings, split, factory, measured)
    native = _native.Cure(measured.model.fields, measured.task(settings, split))
    interrupted = False
    try:
        _race(bench, native, seed, fresh_seeds)
    except KeyboardInterrupt:
        interrupted = True
    report = native.report(interrupted, time.perf_counter() - begin, bench.changes)
    if settings.out is not None:
        for name, text in (("report.json", report.json()), ("report.html", report.html())):
            with open(os.path.join(settings.out, name), "w", encoding="utf-8") as file:
                file.write(text)
    return Cure(report)


def _race(bench: Bench, native: _native.Cure, seed: int, fresh_seeds: int) -> None:
    """Runs all trials, and the best of them again on fresh seeds."""
    name = _native.BASELINE
    baseline = bench.run(name, None, seed, name, margin=True)
    generator = random.Random(seed)
    samples = [(generator.random(), generator.random()) for _ in range(100)]
    for name, folder, remedy in native.race(baseline, samples, bench.supported_remedies()):
        if remedy is None:
            continue
        try:
            folder = os.path.join("trials", folder)
            native.ran(name, bench.run(name, json.loads(remedy), seed, folder, margin=True))
        except RemedyRefused as why:
            native.refuse(name, str(why))
    for name, folder, remedy in native.contenders():
        parsed = None if remedy is None else json.loads(remedy)
        runs = []
        for fresh in range(seed + 1, seed + 1 + fresh_seeds):
            path = os.path.join("verify", f"{folder}-seed-{fresh}")
            runs.append((fresh, bench.run(f"{name} (seed {fresh})", parsed, fresh, path)))
        native.verified(name, runs)
