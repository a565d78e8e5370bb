"""Measures a model before it is trained; the native part judges the numbers.

- `probe`: `probe` and its report `Probe`; `measure` collects all numbers.
- `layers`: finds a model's layers as it runs, as the `Chain` of `chain`; `activation` finds the
  function between them.
- `growth`, `spectrum`, `weights`, `sharpness`: the measurements.
- `recurrent`: recurrent modules; `unrolled` runs one step by step.
- `batch`, `work`: batches of any shape, and the operations that a model needs.
- `non_finite`: `find_non_finite`; `watch` sees the operations, `leaves` the tensors before them.
- `report`: the base of `Probe` and `Cure`.
"""
