"""What a model is trained on, and how well it does: rows of data, batches and a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ._batch import like, outputs_of, rows_of


class Rows:
    """Data that batches are taken from: tensors with the samples first, or a map-style dataset."""

    def __init__(self, data: Any, indices: Optional[Tensor] = None) -> None:
        self._data = data
        if isinstance(data, DataLoader):
            raise TypeError("`data` is a DataLoader; give its `dataset`: batches are drawn here, at each run's seed")
        if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
            count = len(data)  # type: ignore[arg-type]
        else:
            count = rows_of(data) or 0
        if count == 0:
            raise TypeError(
                f"`data` is a {type(data).__name__}; give (inputs, targets) or a mapping, of tensors with as "
                "many rows each, or a dataset with a length"
            )
        self._indices = torch.arange(count) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    def take(self, places: Tensor) -> Any:
        """These samples as a batch."""
        indices = self._indices[places]
        if isinstance(self._data, Dataset):
            samples = [self._data[int(index)] for index in indices]
            return _as_sampled(default_collate(samples), samples[0])
        return _taken(self._data, indices)

    def split(self, share: float, generator: torch.Generator) -> tuple[Rows, Rows]:
        """Most of them, and this share, drawn once."""
        order = self._indices[torch.randperm(len(self), generator=generator)]
        held = max(1, int(share * len(self)))
        return Rows(self._data, order[:-held]), Rows(self._data, order[-held:])

    def batches(self, size: int, seed: int) -> Iterator[Any]:
        """Without end, each pass in another order."""
        generator = torch.Generator().manual_seed(seed)
        size = min(size, len(self))
        while True:
            for places in torch.randperm(len(self), generator=generator).split(size):
                if len(places) == size:
                    yield self.take(places)

    def once(self, size: int) -> Iterator[tuple[Any, int]]:
        """Every row once, and how many are in the batch."""
        for places in torch.arange(len(self)).split(size):
            yield self.take(places), len(places)


def _taken(data: Any, indices: Tensor) -> Any:
    if isinstance(data, Tensor):
        return data[indices.to(data.device)]
    if isinstance(data, Mapping):
        return {name: _taken(part, indices) for name, part in data.items()}
    return like(data, [_taken(part, indices) for part in data])


def _as_sampled(batch: Any, sample: Any) -> Any:
    """PyTorch makes lists of tuples, which are a model's arguments."""
    if not isinstance(sample, tuple) or not isinstance(batch, (tuple, list)):
        return batch
    return like(sample, [_as_sampled(*each) for each in zip(batch, sample)])


def targets_of(batch: Any) -> Any:
    """A mapping has them under `labels`, as Hugging Face's models do."""
    return batch.get("labels") if isinstance(batch, Mapping) else batch[1]


def evaluate(model: nn.Module, rows: Rows, size: int, metric: Callable[[Any, Any], Any]) -> float:
    """The mean over the rows, in evaluation mode. Gradients are followed where the model asks for them: it may
    differentiate by its inputs."""
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
    """The share of targets that have the largest logit: of the last dimension, or of the one after the
    rows, as `cross_entropy` has it. Logits may be a part of the outputs, as with Hugging Face's models. Targets
    below 0 do not count (`ignore_index`)."""
    outputs = outputs["logits"] if isinstance(outputs, Mapping) and "logits" in outputs else outputs
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(f"the model gives a {type(outputs).__name__}, which has no `logits`; give a `metric`")
    if outputs.shape[:-1] == targets.shape:
        classes = outputs.argmax(-1)
    elif outputs.ndim == targets.ndim + 1 and outputs.shape[:1] + outputs.shape[2:] == targets.shape:
        classes = outputs.argmax(1)
    else:
        raise TypeError(
            f"logits of shape {tuple(outputs.shape)} do not belong to targets of shape {tuple(targets.shape)}; "
            "give a `metric`"
        )
    if outputs.numel() == classes.numel():
        raise TypeError("there is one logit alone, so there are no classes to choose from; give a `metric`")
    counted = targets >= 0
    return float((classes == targets)[counted].float().mean()) if counted.any() else 0.0


def most_frequent(rows: Rows, size: int) -> float:
    """The accuracy of saying always the same.

    Raises:
        ValueError: the targets are no classes.
    """
    values = torch.cat([_classes(batch) for batch, _ in rows.once(size)])
    values = values[values >= 0]
    if not len(values):
        raise ValueError("no target is a class from 0 on, so there is no accuracy to go by: give a `metric` and its `goal`")
    return float(values.unique(return_counts=True)[1].max()) / len(values)


def _classes(batch: Any) -> Tensor:
    if not isinstance(batch, (Mapping, tuple, list)) or len(batch) < 2:
        found = f"`data` gives a {type(batch).__name__} without targets"
    elif not isinstance(targets := targets_of(batch), Tensor):
        found = "`data` has no tensor `labels`" if targets is None else f"the targets are a {type(targets).__name__}"
    elif targets.is_floating_point() or targets.is_complex():
        found = f"the targets are numbers of {targets.dtype}, not classes"
    elif isinstance(batch, Mapping) and targets.ndim != 1:
        # Each token's, shifted by one or not, with some that do not count: the model alone knows.
        found = f"`labels` has shape {tuple(targets.shape)}, not one class for each sample"
    else:
        return targets.flatten()
    raise ValueError(f"{found}, so there is no accuracy to go by: give a `metric` and its `goal`")
