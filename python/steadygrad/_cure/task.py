"""The data of a task, its batches, and its metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from .._probe.batch import outputs_of, rebuild, rows_of


class Rows:
    """The samples of a task: tensors with the samples first, or a map-style dataset."""

    def __init__(self, data: Any, indices: Tensor | None = None) -> None:
        self._data = data
        if isinstance(data, DataLoader):
            raise TypeError(
                "`data` is a DataLoader; give its `dataset`: `cure` samples the batches at each "
                "run's seed"
            )
        if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
            count = len(data)  # type: ignore[arg-type]
        else:
            count = rows_of(data) or 0
        if count == 0:
            raise TypeError(
                f"`data` is a {type(data).__name__}; give (inputs, targets) or a mapping, of "
                "tensors with equally many rows, or a dataset with a length"
            )
        self._indices = torch.arange(count) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    def take(self, places: Tensor) -> Any:
        """Returns these samples as a batch."""
        indices = self._indices[places]
        if isinstance(self._data, Dataset):
            samples = [self._data[int(index)] for index in indices]
            return _as_sampled(default_collate(samples), samples[0])
        return _select(self._data, indices)

    def split(self, share: float, generator: torch.Generator) -> tuple[Rows, Rows]:
        """Splits off a random share of the samples; returns the others, and the share."""
        order = self._indices[torch.randperm(len(self), generator=generator)]
        held = max(1, int(share * len(self)))
        return Rows(self._data, order[:-held]), Rows(self._data, order[-held:])

    def batches(self, size: int, seed: int) -> Iterator[Any]:
        """Yields batches without end, in a new order at each epoch; drops a smaller last one."""
        generator = torch.Generator().manual_seed(seed)
        size = min(size, len(self))
        while True:
            for places in torch.randperm(len(self), generator=generator).split(size):
                if len(places) == size:
                    yield self.take(places)

    def once(self, size: int) -> Iterator[tuple[Any, int]]:
        """Yields every row once, in batches with their sizes."""
        for places in torch.arange(len(self)).split(size):
            yield self.take(places), len(places)


def _select(data: Any, indices: Tensor) -> Any:
    if isinstance(data, Tensor):
        return data[indices.to(data.device)]
    if isinstance(data, Mapping):
        return {name: _select(part, indices) for name, part in data.items()}
    return rebuild(data, [_select(part, indices) for part in data])


def _as_sampled(batch: Any, sample: Any) -> Any:
    """Restores the tuples of a sample: PyTorch collates them into lists."""
    if not isinstance(sample, tuple) or not isinstance(batch, (tuple, list)):
        return batch
    return rebuild(sample, [_as_sampled(*each) for each in zip(batch, sample)])


def targets_of(batch: Any) -> Any:
    """Returns a batch's targets: the `labels` of a mapping, as Hugging Face's models name them."""
    return batch.get("labels") if isinstance(batch, Mapping) else batch[1]


def evaluate(model: nn.Module, rows: Rows, size: int, metric: Callable[[Any, Any], Any]) -> float:
    """Returns the metric's mean over the rows, in evaluation mode.

    Gradients are computed if the model needs them: it may differentiate by its inputs.
    """
    model.eval()
    total = 0.0
    for batch, count in rows.once(size):
        try:
            with torch.no_grad():
                outputs = outputs_of(model, batch)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            outputs = outputs_of(model, batch)
        with torch.no_grad():
            total += count * float(metric(outputs, targets_of(batch)))
    model.train()
    return total / len(rows)


def accuracy(outputs: Any, targets: Tensor) -> float:
    """Returns the share of targets with the largest logit.

    Classes are the last dimension of the logits, or the second as in `cross_entropy`. The logits
    may be a field of the outputs, as in Hugging Face's models. Targets below 0 do not count
    (`ignore_index`).

    Raises:
        TypeError: the outputs have no logits that fit the targets.
    """
    outputs = outputs["logits"] if isinstance(outputs, Mapping) and "logits" in outputs else outputs
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the model returns a {type(outputs).__name__}, which has no `logits`; give a `metric`"
        )
    if outputs.shape[:-1] == targets.shape:
        classes = outputs.argmax(-1)
    elif (
        outputs.ndim == targets.ndim + 1 and outputs.shape[:1] + outputs.shape[2:] == targets.shape
    ):
        classes = outputs.argmax(1)
    else:
        raise TypeError(
            f"logits of shape {tuple(outputs.shape)} do not fit targets of shape "
            f"{tuple(targets.shape)}; give a `metric`"
        )
    if outputs.numel() == classes.numel():
        raise TypeError("there is only one logit, so there are no classes; give a `metric`")
    counted = targets >= 0
    return float((classes == targets)[counted].float().mean()) if counted.any() else 0.0


def most_frequent(rows: Rows, size: int) -> float:
    """Returns the share of the most frequent class.

    Raises:
        ValueError: the targets are not classes.
    """
    values = torch.cat([_classes(batch) for batch, _ in rows.once(size)])
    values = values[values >= 0]
    if not len(values):
        raise ValueError(
            "no target is a class from 0 on, so accuracy is not defined: give a `metric` and its "
            "`goal`"
        )
    return float(values.unique(return_counts=True)[1].max()) / len(values)


def _classes(batch: Any) -> Tensor:
    if not isinstance(batch, (Mapping, tuple, list)) or len(batch) < 2:
        found = f"`data` gives a {type(batch).__name__} without targets"
    elif not isinstance(targets := targets_of(batch), Tensor):
        found = f"the targets are a {type(targets).__name__}"
        if targets is None:
            found = "`data` has no tensor `labels`"
    elif targets.is_floating_point() or targets.is_complex():
        found = f"the targets are numbers of {targets.dtype}, not classes"
    elif isinstance(batch, Mapping) and targets.ndim != 1:
        # These are a token's, possibly shifted, and some do not count: only the model knows.
        found = f"`labels` has shape {tuple(targets.shape)}, not one class for each sample"
    else:
        return targets.flatten()
    raise ValueError(f"{found}, so accuracy is not defined: give a `metric` and its `goal`")
