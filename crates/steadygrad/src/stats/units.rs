use fearless_simd::Level;
use serde::{Deserialize, Serialize};

use super::block::Scale;
use super::element::Element;
use super::values::with_slice;
use super::{Shard, TensorStats, Values};

/// The layout of a parameter's output units in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// The whole tensor is one unit: biases, gains, scalars.
    One,
    /// This number of rows, one after the other: `[out, in, ...]`, PyTorch's matrices and every
    /// convolution.
    Rows(usize),
    /// This number of columns of a matrix `[in, out]`: Burn's `Linear`.
    Columns(usize),
}

impl Units {
    /// The number of units in a tensor of `len` values; 1 where they do not divide evenly.
    pub fn count(self, len: usize) -> usize {
        match self {
            Self::Rows(count) | Self::Columns(count) if count > 0 && len.is_multiple_of(count) => {
                count
            }
            _ => 1,
        }
    }
}

/// The L2 norm of each output unit; NaN or infinite when one of its values is.
///
/// A tensor that does not divide evenly into the units is one unit.
pub(crate) fn unit_norms<'a>(values: impl Into<Values<'a>>, units: Units) -> Vec<f64> {
    let values = values.into();
    let count = units.count(values.len());
    match units {
        Units::Columns(_) if count > 1 => {
            with_slice!(Values, values, slice => column_norms(slice, count))
        }
        _ => with_slice!(Values, values, slice => {
            let (level, mut shard) = (Level::new(), Shard::default());
            let rows = slice.chunks((slice.len() / count).max(1)).map(|row| {
                shard.clear();
                shard.read(level, row.into());
                shard.stats().tensor_norm
            });
            let mut norms: Vec<f64> = rows.collect();
            // An empty tensor has all its units, too.
            norms.resize(count, 0.0);
            norms
        }),
    }
}

fn column_norms<'a, E: Element>(values: &'a [E], columns: usize) -> Vec<f64>
where
    Values<'a>: From<&'a [E]>,
{
    let scale = Scale::for_largest(TensorStats::of(values).max_abs).factor();
    let mut sums = vec![0.0f64; columns];
    for row in values.chunks(columns) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += (value.value() * scale).powi(2);
        }
    }
    sums.iter().map(|sum| sum.sqrt() / scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_of_a_matrix() {
        let matrix = [3.0f32, 4.0, 0.0, 0.0, 0.0, 5.0];
        assert_eq!(unit_norms(&matrix, Units::Rows(2)), [5.0, 5.0]);
        assert_eq!(unit_norms(&matrix, Units::Columns(3)), [3.0, 4.0, 5.0]);
        assert_eq!(unit_norms(&matrix, Units::One), [50f64.sqrt()]);
    }

    #[test]
    fn odd_rows() {
        let empty: [f32; 0] = [];
        assert_eq!(unit_norms(&empty, Units::One), [0.0]);
        assert_eq!(unit_norms(&empty, Units::Rows(3)), [0.0; 3]);
        assert_eq!(unit_norms(&empty, Units::Columns(3)), [0.0; 3]);
        assert_eq!(unit_norms(&empty, Units::Rows(0)), [0.0]);
        assert_eq!(unit_norms(&empty, Units::Columns(0)), [0.0]);
        // Four units do not fit into six values, and none into any.
        for units in [
            Units::Rows(4),
            Units::Columns(4),
            Units::Rows(0),
            Units::Columns(0),
        ] {
            assert_eq!(unit_norms(&[1.0f32; 6], units), [6f64.sqrt()], "{units:?}");
        }
        let broken = [1.0f32, f32::NAN, 2.0, f32::INFINITY];
        let columns = unit_norms(&broken, Units::Columns(2));
        assert!(columns[0] == 5f64.sqrt() && columns[1].is_nan());
        let rows = unit_norms(&broken, Units::Rows(2));
        assert!(rows[0].is_nan() && rows[1] == f64::INFINITY);
    }

    #[test]
    fn columns_at_the_ends_of_f64() {
        for scale in [1e-300, 1e-130, 1.0, 1e150, 1e300] {
            let norms = unit_norms(&[3.0 * scale, scale, 4.0 * scale, 0.0], Units::Columns(2));
            assert!((norms[0] / (5.0 * scale) - 1.0).abs() < 1e-15, "{scale}");
            assert!((norms[1] / scale - 1.0).abs() < 1e-15, "{scale}");
        }
    }

    /// A single unit has the tensor's own norm, to the bit.
    #[test]
    fn one_unit_has_the_norm_of_the_tensor() {
        let values: Vec<f32> = (1..1000u16).map(|index| 1.0 / f32::from(index)).collect();
        let whole = [TensorStats::of(&values).tensor_norm];
        let one_by_one = values.iter().map(|&value| f64::from(value).powi(2));
        assert_ne!(whole, [one_by_one.sum::<f64>().sqrt()], "proves nothing");
        for units in [
            Units::One,
            Units::Rows(1),
            Units::Columns(1),
            Units::Columns(7),
        ] {
            assert_eq!(unit_norms(&values, units), whole, "{units:?}");
        }
    }
}
