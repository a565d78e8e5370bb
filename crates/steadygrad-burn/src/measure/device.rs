//! Statistics by tensor operations, for gradients on a device. Every function gives a short list of
//! f32 values, so that the caller can read all lists back at once.

use burn::tensor::{Bool, FloatDType, Int, Tensor};
use steadygrad::stats::{TensorStats, Units};

/// Number of values in a [`summary`].
pub(crate) const SUMMARY: usize = 10;

/// Computes `[max_abs, sum (g / max_abs)^2, NaN, infinite, subnormal, zero]`. The last four are
/// counts, each in two numbers.
///
/// The division by the largest value keeps the squares in f32's range.
pub(crate) fn summary<const D: usize>(gradient: Tensor<D>) -> Tensor<1> {
    let smallest_normal = match gradient.dtype() {
        burn::tensor::DType::F16 => 6.103_515_6e-5,
        burn::tensor::DType::F64 => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    };
    let abs = flat(gradient).abs();
    let (nan, infinite) = (abs.clone().is_nan(), abs.clone().is_inf());
    let zero = abs.clone().equal_scalar(0.0);
    let below_normal = abs.clone().lower_scalar(smallest_normal);
    let subnormal = below_normal.bool_and(zero.clone().bool_not());
    let finite = abs.mask_fill(nan.clone().bool_or(infinite.clone()), 0.0);
    let max_abs = largest(finite.clone());
    let squares = (finite / max_abs.clone().clamp_min(f32::MIN_POSITIVE))
        .powi_scalar(2)
        .sum();
    let counts = [nan, infinite, subnormal, zero].map(count);
    let mut all = vec![max_abs, squares];
    all.extend(counts);
    Tensor::cat(all, 0)
}

/// The statistics in a [`summary`] of `len` values.
pub(crate) fn stats(len: usize, summary: &[f32]) -> TensorStats {
    let count = |index: usize| read_count(&summary[2 + 2 * index..]);
    let (nan, infinite) = (count(0), count(1));
    let max_abs = f64::from(summary[0]);
    TensorStats {
        tensor_norm: if nan > 0 {
            f64::NAN
        } else if infinite > 0 {
            f64::INFINITY
        } else {
            max_abs.max(f64::from(f32::MIN_POSITIVE)) * f64::from(summary[1]).sqrt()
        },
        max_abs,
        len: len as u64,
        non_finite: nan + infinite,
        subnormal: count(2),
        zero: count(3),
    }
}

/// The L2 norm of each output unit.
pub(crate) fn unit_norms<const D: usize>(tensor: Tensor<D>, units: Units) -> Tensor<1> {
    let len = tensor.shape().num_elements();
    if len == 0 {
        return Tensor::zeros([units.count(len)], &tensor.device());
    }
    let (rows, summed) = match units {
        Units::One => (1, 1),
        Units::Rows(rows) => (rows, 1),
        Units::Columns(columns) => (len / columns, 0),
    };
    let matrix = single(tensor).reshape([rows, len / rows]);
    let abs = flat(matrix.clone()).abs();
    let broken = abs.clone().is_finite().bool_not();
    let scale = largest(abs.mask_fill(broken, 0.0)).clamp_min(f32::MIN_POSITIVE);
    let scaled = matrix / scale.clone().reshape([1, 1]);
    flat(scaled.powi_scalar(2).sum_dim(summed)).sqrt() * scale
}

/// The number of values with `g^2 > ratio v`, in two numbers.
pub(crate) fn beyond<const D: usize>(
    gradient: Tensor<D>,
    moment: Tensor<D>,
    ratio: f64,
) -> Tensor<1> {
    count(beyond_mask(flat(gradient), flat(moment), ratio).0)
}

/// The mask of values with `g^2 > ratio v` and v above zero, and the limit `sqrt(ratio v)`.
pub(crate) fn beyond_mask<const D: usize>(
    gradient: Tensor<D>,
    moment: Tensor<D>,
    ratio: f64,
) -> (Tensor<D, Bool>, Tensor<D>) {
    let limit = (single(moment) * ratio).sqrt();
    let history = limit.clone().greater_scalar(0.0);
    (
        single(gradient)
            .abs()
            .greater(limit.clone())
            .bool_and(history),
        limit,
    )
}

/// The root mean square of the normalised update, `sqrt(mean(g^2 / max(v, eps^2)))`.
pub(crate) fn update_rms<const D: usize>(
    gradient: Tensor<D>,
    moment: Tensor<D>,
    eps: f64,
) -> Tensor<1> {
    let root = flat(moment).sqrt().clamp_min(eps);
    (flat(gradient) / root).powi_scalar(2).mean().sqrt()
}

/// The smallest `(relative |w| + by_moment + absolute) / |update|`, and the number of updates that
/// are not finite.
pub(crate) fn headroom<const D: usize>(
    update: Tensor<D>,
    weight: Tensor<D>,
    by_moment: Option<Tensor<D>>,
    relative: f64,
    absolute: f64,
) -> Tensor<1> {
    if update.shape().num_elements() == 0 {
        let device = update.device();
        let none = Tensor::full([1], f32::INFINITY, &device);
        return Tensor::cat(vec![none, Tensor::zeros([2], &device)], 0);
    }
    let update = flat(update).abs();
    let still = update.clone().equal_scalar(0.0);
    let broken = update.clone().is_finite().bool_not();
    let mut allowed = flat(weight).abs() * relative + absolute;
    if let Some(by_moment) = by_moment {
        allowed = allowed + flat(by_moment);
    }
    let room = (allowed / update).mask_fill(still.bool_or(broken.clone()), f32::INFINITY);
    Tensor::cat(vec![room.min(), count(broken)], 0)
}

/// Reads the result of [`headroom`]: NaN when an update is not finite.
pub(crate) fn read_headroom(values: &[f32]) -> f64 {
    if read_count(&values[1..]) > 0 {
        f64::NAN
    } else {
        f64::from(values[0])
    }
}

/// Reads a count from its two numbers.
pub(crate) fn read_count(halves: &[f32]) -> u64 {
    halves[0] as u64 * HALF as u64 + halves[1] as u64
}

/// A count travels as quotient and remainder of this divisor: an f32 holds whole numbers to 2^24.
const HALF: i32 = 1 << 20;

fn count(mask: Tensor<1, Bool>) -> Tensor<1> {
    let count: Tensor<1, Int> = mask.int().sum();
    let high = count.clone().div_scalar(HALF);
    let low = count - high.clone() * HALF;
    Tensor::cat(vec![high.float(), low.float()], 0).cast(FloatDType::F32)
}

/// The largest value; 0 for an empty tensor.
fn largest(values: Tensor<1>) -> Tensor<1> {
    if values.shape().num_elements() == 0 {
        Tensor::zeros([1], &values.device())
    } else {
        values.max()
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if tensor.shape().num_elements() == 0 {
        // In a reshape, 0 means "keep this dimension", so an empty tensor needs its own way.
        return Tensor::empty([0], &tensor.device());
    }
    single(tensor).flatten(0, D - 1)
}

/// Casts to f32, so that squares and sums have its range whatever the type.
fn single<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.cast(FloatDType::F32)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor(values: &[f32], dims: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), &Device::flex())
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec_as().unwrap()
    }

    /// The CPU kernel is the oracle.
    #[test]
    fn a_summary_agrees_with_the_cpu_kernel() {
        let rows: [&[f32]; 7] = [
            &[3.0, -4.0, 0.0, 1e-3],
            &[0.0, -0.0],
            &[1e38, -3e38, 1e-38, 1e-40],
            &[1e-30, 2e-30, 0.0, 1e-44],
            &[1.0, f32::NAN, f32::INFINITY, 2.0],
            &[1.0, f32::NEG_INFINITY],
            &[],
        ];
        for row in rows {
            let ours = stats(row.len(), &values(summary(tensor(row, [1, row.len()]))));
            let oracle = TensorStats::of(row);
            assert_eq!(
                TensorStats {
                    tensor_norm: 0.0,
                    ..ours
                },
                TensorStats {
                    tensor_norm: 0.0,
                    ..oracle
                },
                "{row:?}"
            );
            let (norm, exact) = (ours.tensor_norm, oracle.tensor_norm);
            let same = norm == exact || (norm.is_nan() && exact.is_nan());
            assert!(
                same || (norm / exact - 1.0).abs() < 1e-6,
                "{row:?}: {norm} for {exact}"
            );
        }
    }

    #[test]
    fn a_count_beyond_the_whole_numbers_of_f32_is_exact() {
        assert_eq!(read_count(&[16.0, 1.0]), 16 * 1_048_576 + 1);
        let many = Tensor::<1>::zeros([1_200_000], &Device::flex());
        assert_eq!(stats(1_200_000, &values(summary(many))).zero, 1_200_000);
    }

    #[test]
    fn unit_norms_of_rows_and_columns() {
        let matrix = [3.0, 4.0, 0.0, 0.0, 0.0, 5.0];
        let norms = |units| values(unit_norms(tensor(&matrix, [2, 3]), units));
        assert_eq!(norms(Units::Rows(2)), [5.0, 5.0]);
        assert_eq!(norms(Units::Columns(3)), [3.0, 4.0, 5.0]);
        let large = tensor(&[3e30, 4e30], [1, 2]);
        assert!((values(unit_norms(large, Units::One))[0] / 5e30 - 1.0).abs() < 1e-6);
        assert_eq!(
            values(unit_norms(tensor(&[], [2, 0]), Units::Rows(2))),
            [0.0, 0.0]
        );
        let broken = values(unit_norms(
            tensor(&[1.0, f32::NAN], [1, 2]),
            Units::Columns(2),
        ));
        assert!(broken[0] == 1.0 && broken[1].is_nan());
    }

    #[test]
    fn headroom_is_as_the_core_defines_it() {
        let room = |update: &[f32], weight: &[f32]| {
            let dims = [1, update.len()];
            let by_moment = Some(tensor(&vec![0.5; update.len()], dims));
            let room = headroom(
                tensor(update, dims),
                tensor(weight, dims),
                by_moment,
                0.5,
                0.25,
            );
            read_headroom(&values(room))
        };
        assert_eq!(room(&[1.0, -1.0], &[-1.0, 4.0]), 1.25);
        assert_eq!(room(&[0.0, 2.0], &[0.0, 0.0]), 0.375);
        assert_eq!(room(&[0.0], &[1.0]), f64::INFINITY);
        assert_eq!(room(&[], &[]), f64::INFINITY);
        assert!(room(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
    }
}
