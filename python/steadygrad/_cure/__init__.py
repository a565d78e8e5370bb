"""Finds a remedy for a model: the trials run here, and the native part judges them.

- `cure`: `cure` and its report `Cure`.
- `settings`: the settings of all runs; `measure` makes their measurements.
- `bench`: runs trials; `trial` is the training loop of one, `rates` its learning rates.
- `remedies`: one file per remedy, with how it is applied to a model; `surgery` applies one by name.
- `task`: the data, batches and metrics.
"""
