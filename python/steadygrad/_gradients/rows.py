"""What is measured of one tensor."""

from __future__ import annotations

Row = tuple[float, float, int, int, int, int]
"""The fields of `TensorStats` except `share`, in its order."""

COLUMNS = 5
"""Columns of a row on a device, in float64, which holds all of them exactly.

The norm, the largest finite value, and the counts of non-finite, subnormal and non-zero values.
"""
