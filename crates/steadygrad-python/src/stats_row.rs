//! One tensor's statistics as the plain numbers that cross the border to Python.

use steadygrad::TensorStats;

/// The fields of [`TensorStats`] in their order.
pub(crate) type StatsRow = (f64, f64, u64, u64, u64, u64);

/// The statistics that a row holds.
pub(crate) fn stats_of(
    (tensor_norm, max_abs, len, non_finite, subnormal, zero): StatsRow,
) -> TensorStats {
    TensorStats {
        tensor_norm,
        max_abs,
        len,
        non_finite,
        subnormal,
        zero,
    }
}
