use crate::{Block, DynamicsError};

/// Up to this number of columns Gram-Schmidt is faster than a blocked Householder factorisation,
/// which spends its time on set-up. At 512 rows they are equal near 24 columns, at 100 rows near
/// 12.
const FEW_COLUMNS: usize = 16;

/// A column that keeps less than this share of its length is orthogonalised again. "Twice is
/// enough" for orthogonality near machine precision (Giraud et al., 2005).
const AGAIN_BELOW: f64 = 1e-3;

/// Squared lengths that are safe to compute with. Below, squares or their remainders after a
/// projection underflow; above, they overflow. Other columns are divided by their largest entry.
const SQUARES: std::ops::Range<f64> = 1e-250..1e300;

/// Orthonormalises the columns of `block` from left to right, `block = Q R`, and writes `ln |R_jj|`
/// of each column into `log_diagonal`. Columns may have any size that f64 holds.
///
/// Returns the largest `|b_j| / |R_jj|`, at least 1. It is the length of a column over the length
/// of the part that no column before it has, and so measures the digits that the column lost.
///
/// `step` is for the error's text alone. After an error the block is unspecified.
///
/// # Errors
/// [`DynamicsError::ZeroWidth`] for columns without rows; [`DynamicsError::VectorCount`] for more
/// columns than rows; [`DynamicsError::Setting`] when `log_diagonal` is not as long as there are
/// columns; [`DynamicsError::NonFinite`] when a value is NaN or infinite;
/// [`DynamicsError::RankDeficient`] when a column is, to rounding, a combination of those before
/// it.
pub(crate) fn orthonormalize(
    block: &mut Block,
    log_diagonal: &mut [f64],
    step: usize,
) -> Result<f64, DynamicsError> {
    let (rows, vectors) = (block.rows(), block.cols());
    if log_diagonal.len() != vectors {
        return Err(DynamicsError::Setting {
            field: "log_diagonal.len()",
            value: log_diagonal.len() as f64,
            allowed: "the number of columns",
        });
    }
    if vectors > rows {
        return Err(if rows == 0 {
            DynamicsError::ZeroWidth { step }
        } else {
            DynamicsError::VectorCount {
                vectors,
                width: rows,
            }
        });
    }
    match (rows, vectors) {
        // The compiler unrolls loops of a known length: three times as fast for a small map.
        (1, 1) => gram_schmidt::<1>(block, log_diagonal, step),
        (2, 2) => gram_schmidt::<2>(block, log_diagonal, step),
        (3, 3) => gram_schmidt::<3>(block, log_diagonal, step),
        _ if vectors <= FEW_COLUMNS => gram_schmidt::<0>(block, log_diagonal, step),
        _ => householder(block, log_diagonal, step),
    }
}

/// Modified Gram-Schmidt, for a square block of `N` rows, or for any block with `N = 0`.
#[inline]
fn gram_schmidt<const N: usize>(
    block: &mut Block,
    log_diagonal: &mut [f64],
    step: usize,
) -> Result<f64, DynamicsError> {
    let (rows, vectors) = if N == 0 {
        (block.rows(), block.cols())
    } else {
        (N, N)
    };
    let mut lost: f64 = 1.0;
    for (j, log) in log_diagonal.iter_mut().enumerate().take(vectors) {
        let (done, rest) = block.values_mut().split_at_mut(j * rows);
        let column = &mut rest[..rows];
        let mut before = dot(column, column);
        let mut log_scale = 0.0;
        if !SQUARES.contains(&before) {
            log_scale = rescale(column, step)?;
            before = dot(column, column);
        }
        subtract_projections(column, done, rows);
        let mut after = dot(column, column);
        if after < AGAIN_BELOW * AGAIN_BELOW * before {
            subtract_projections(column, done, rows);
            after = dot(column, column);
        }
        let rounding = f64::EPSILON * rows as f64;
        if after <= rounding * rounding * before {
            return Err(DynamicsError::RankDeficient {
                step,
                rank: j,
                vectors,
            });
        }
        lost = lost.max(before / after);
        let length = after.sqrt();
        *log = length.ln() + log_scale;
        let inverse = 1.0 / length;
        column.iter_mut().for_each(|value| *value *= inverse);
    }
    Ok(lost.sqrt())
}

/// Divides a column by its largest entry and returns the logarithm of that entry. A column of zeros
/// stays as it is.
#[cold]
fn rescale(column: &mut [f64], step: usize) -> Result<f64, DynamicsError> {
    if !column.iter().all(|value| value.is_finite()) {
        return Err(DynamicsError::NonFinite {
            what: "tangent",
            step,
        });
    }
    let largest = column
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    if largest == 0.0 {
        return Ok(0.0);
    }
    // The inverse of a subnormal is infinite, so this divides.
    column.iter_mut().for_each(|value| *value /= largest);
    Ok(largest.ln())
}

#[inline(always)]
fn subtract_projections(column: &mut [f64], done: &[f64], rows: usize) {
    for other in done.chunks_exact(rows) {
        let share = dot(column, other);
        for (value, other) in column.iter_mut().zip(other) {
            *value -= share * other;
        }
    }
}

/// Adds in four sums, so that the additions do not wait for each other.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    if a.len() < 8 {
        return a.iter().zip(b).map(|(a, b)| a * b).sum();
    }
    let (a_chunks, b_chunks) = (a.chunks_exact(4), b.chunks_exact(4));
    let tail: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    let mut sums = [0.0; 4];
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

/// Factorises by blocked Householder reflections.
fn householder(
    block: &mut Block,
    log_diagonal: &mut [f64],
    step: usize,
) -> Result<f64, DynamicsError> {
    let (rows, vectors) = (block.rows(), block.cols());
    let mut lengths = Vec::with_capacity(vectors);
    for (column, log) in block.columns_mut().zip(log_diagonal.iter_mut()) {
        let mut square = dot(column, column);
        *log = 0.0;
        if !SQUARES.contains(&square) {
            *log = rescale(column, step)?;
            square = dot(column, column);
        }
        lengths.push(square.sqrt());
    }
    let factors = block.as_mat().qr();
    let rounding = f64::EPSILON * rows as f64;
    let mut lost: f64 = 1.0;
    for (rank, (log, length)) in log_diagonal.iter_mut().zip(&lengths).enumerate() {
        let size = factors.R()[(rank, rank)].abs();
        if size.is_nan() || size <= rounding * length {
            return Err(DynamicsError::RankDeficient {
                step,
                rank,
                vectors,
            });
        }
        lost = lost.max(length / size);
        *log += size.ln();
    }
    block.as_mat_mut().copy_from(factors.compute_thin_Q());
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rows: usize, cols: usize, rng: &mut impl Rng) -> Block {
        let values = (0..rows * cols)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        Block::from_columns(rows, cols, values).unwrap()
    }

    /// Largest entry of `Q^T Q - I`.
    fn defect(block: &Block) -> f64 {
        let mut worst: f64 = 0.0;
        for (i, a) in block.columns().enumerate() {
            for (j, b) in block.columns().enumerate() {
                let expected = f64::from(u8::from(i == j));
                worst = worst.max((dot(a, b) - expected).abs());
            }
        }
        worst
    }

    #[test]
    fn both_ways_agree_and_give_orthonormal_columns() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (rows, cols) in [(1, 1), (3, 3), (7, 2), (16, 16), (40, 17), (60, 60)] {
            let block = random(rows, cols, &mut rng);
            let (mut by_gs, mut by_hh) = (block.clone(), block);
            let (mut gs, mut hh) = (vec![0.0; cols], vec![0.0; cols]);
            gram_schmidt::<0>(&mut by_gs, &mut gs, 0).unwrap();
            householder(&mut by_hh, &mut hh, 0).unwrap();
            assert!(defect(&by_gs) < 1e-13 && defect(&by_hh) < 1e-13);
            for (a, b) in gs.iter().zip(&hh) {
                assert!((a - b).abs() < 1e-11, "{rows}x{cols}: {a} {b}");
            }
        }
    }

    #[test]
    fn nearly_parallel_columns_stay_orthogonal() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for (cols, tilt) in [(3, 1e-9), (20, 1e-9), (3, 1e-12)] {
            let mut block = random(30, cols, &mut rng);
            let first: Vec<f64> = block.columns().next().unwrap().to_vec();
            for column in block.columns_mut().skip(1) {
                for (value, first) in column.iter_mut().zip(&first) {
                    *value = first + tilt * *value;
                }
            }
            let mut logs = vec![0.0; cols];
            orthonormalize(&mut block, &mut logs, 0).unwrap();
            assert!(defect(&block) < 1e-13, "{}", defect(&block));
            assert!(logs[1] < tilt.ln() + 3.0);
        }
    }

    #[test]
    fn lengths_far_from_one_are_kept_in_logarithms() {
        for exponent in [-140, 0, 140] {
            let scale = 10f64.powi(exponent);
            let mut block =
                Block::from_columns(2, 2, vec![3.0 * scale, 4.0 * scale, 0.0, scale]).unwrap();
            let mut logs = [0.0; 2];
            orthonormalize(&mut block, &mut logs, 0).unwrap();
            assert!((logs[0] - (5.0 * scale).ln()).abs() < 1e-12);
            assert!((logs[1] - (0.6 * scale).ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn odd_blocks() {
        for cols in [2, 20] {
            let mut logs = vec![0.0; cols];
            let mut same = Block::from_columns(30, cols, vec![1.0; 30 * cols]).unwrap();
            let found = orthonormalize(&mut same, &mut logs, 7);
            let deficient = DynamicsError::RankDeficient {
                step: 7,
                rank: 1,
                vectors: cols,
            };
            assert_eq!(found, Err(deficient));
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut block = random(30, cols, &mut ChaCha8Rng::seed_from_u64(3));
                block.values_mut()[31] = bad;
                let found = orthonormalize(&mut block, &mut logs, 7);
                let what = "tangent";
                assert_eq!(found, Err(DynamicsError::NonFinite { what, step: 7 }));
            }
            let found = orthonormalize(&mut Block::zeros(30, cols), &mut logs, 0);
            assert!(matches!(
                found,
                Err(DynamicsError::RankDeficient { rank: 0, .. })
            ));
        }
        let nothing = orthonormalize(&mut Block::zeros(3, 0), &mut [], 0);
        assert_eq!(nothing, Ok(1.0));
    }

    #[test]
    fn every_size_that_f64_holds_is_factorised() {
        for cols in [1, 2, 3, 16, 17, 20] {
            let mut rng = ChaCha8Rng::seed_from_u64(4);
            // Square for the unrolled ones.
            let rows = if cols <= 3 { cols } else { 30 };
            let plain = random(rows, cols, &mut rng);
            let mut expected = vec![0.0; cols];
            let mut q = plain.clone();
            orthonormalize(&mut q, &mut expected, 0).unwrap();
            for exponent in [-300, -170, -150, 150, 160, 307] {
                let scale = 10f64.powi(exponent);
                let mut block = plain.clone();
                block.values_mut().iter_mut().for_each(|v| *v *= scale);
                let mut logs = vec![0.0; cols];
                orthonormalize(&mut block, &mut logs, 0).unwrap();
                assert!(defect(&block) < 1e-13);
                for (log, expected) in logs.iter().zip(&expected) {
                    // Near 1e-300 entries are subnormal or close to it.
                    let off = (log - expected - scale.ln()).abs();
                    assert!(off < 1e-6, "{rows}x{cols} at 1e{exponent}: {off}");
                }
            }
            // The smallest positive number.
            let mut least = Block::zeros(rows, cols);
            for (j, column) in least.columns_mut().enumerate() {
                column[j] = 5e-324;
            }
            let mut logs = vec![0.0; cols];
            assert_eq!(orthonormalize(&mut least, &mut logs, 0), Ok(1.0));
            assert!(logs.iter().all(|log| (log + 744.44).abs() < 0.01));
            // Sizes far apart are no rank deficiency, and a size of their own hides none.
            let mut apart = plain.clone();
            for (j, column) in apart.columns_mut().enumerate() {
                let scale = if j % 2 == 0 { 1e-200 } else { 1e200 };
                column.iter_mut().for_each(|value| *value *= scale);
            }
            orthonormalize(&mut apart, &mut logs, 0).unwrap();
            assert!(defect(&apart) < 1e-13);
            if cols > 1 {
                let mut same = Block::from_columns(rows, cols, vec![1e-170; rows * cols]).unwrap();
                let found = orthonormalize(&mut same, &mut logs, 0);
                assert!(matches!(
                    found,
                    Err(DynamicsError::RankDeficient { rank: 1, .. })
                ));
            }
        }
    }

    #[test]
    fn dimensions_that_do_not_fit_are_errors() {
        for cols in [2, 20] {
            let mut logs = vec![0.0; cols];
            let found = orthonormalize(&mut Block::zeros(0, cols), &mut logs, 5);
            assert_eq!(found, Err(DynamicsError::ZeroWidth { step: 5 }));
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let rows = cols / 2;
            let found = orthonormalize(&mut random(rows, cols, &mut rng), &mut logs, 5);
            let expected = DynamicsError::VectorCount {
                vectors: cols,
                width: rows,
            };
            assert_eq!(found, Err(expected));
            for length in [0, cols - 1, cols + 1] {
                let before = random(30, cols, &mut rng);
                let mut block = before.clone();
                let found = orthonormalize(&mut block, &mut vec![0.0; length], 5);
                assert!(matches!(
                    found,
                    Err(DynamicsError::Setting { value, .. }) if value == length as f64
                ));
                assert_eq!(block, before);
            }
        }
    }

    #[test]
    fn the_loss_of_a_column_is_its_length_over_its_own_part() {
        // The second column's own part is a thousandth of it.
        let two = |cols: usize| {
            let mut block = Block::zeros(cols, cols);
            for (j, column) in block.columns_mut().enumerate() {
                column[j] = 1.0;
            }
            block.values_mut()[cols] = 1e3;
            block
        };
        for cols in [2, 3, 5, 20] {
            let lost = orthonormalize(&mut two(cols), &mut vec![0.0; cols], 0).unwrap();
            assert!((lost / 1e3 - 1.0).abs() < 1e-6, "{cols}: {lost}");
        }
    }
}
