//! Whether a block of tangent vectors must be factorised again now.

use crate::Block;
use crate::orthonormalize::dot;

/// Up to this number of columns the check is exact. It costs half of a factorisation. That is
/// negligible beside a step of a network, and a tenth of a map's step.
pub(super) const FEW_COLUMNS: usize = 16;

/// The squared loss at which a column is factorised again: three digits. The next step may take
/// three more.
const SQUARED_LOSS: f64 = 1e6;

/// Squared lengths within which nothing overflows or underflows, not even after one large step.
const SQUARES: std::ops::Range<f64> = 1e-80..1e80;

/// Squared lengths of columns that have not grown or shrunk a hundredfold. Where half of the
/// directions suddenly grow tenfold a step and the others shrink as fast, the check reacts after
/// three steps, or six digits.
const STEADY: std::ops::Range<f64> = 1e-4..1e4;

/// Whether a column is a thousand times longer than the part that no column before it has, or its
/// size is far from 1. The block has at most [`FEW_COLUMNS`] columns. True where a value is not
/// finite.
#[inline]
pub(super) fn has_lost_digits(block: &Block) -> bool {
    match (block.rows(), block.cols()) {
        // The compiler unrolls loops of a known length.
        (1, 1) => square_has_lost_digits::<1>(block),
        (2, 2) => square_has_lost_digits::<2>(block),
        (3, 3) => square_has_lost_digits::<3>(block),
        _ => any_has_lost_digits(block),
    }
}

#[inline(always)]
fn square_has_lost_digits<const N: usize>(block: &Block) -> bool {
    let values = &block.values()[..N * N];
    pivots::<N>(N, |i, j| {
        (0..N)
            .map(|row| values[i * N + row] * values[j * N + row])
            .sum()
    })
}

fn any_has_lost_digits(block: &Block) -> bool {
    let (rows, values) = (block.rows(), block.values());
    let column = |j: usize| &values[j * rows..(j + 1) * rows];
    pivots::<FEW_COLUMNS>(block.cols(), |i, j| dot(column(i), column(j)))
}

/// Factorises the Gram matrix into `L D L^T`. `D_jj / G_jj` is the squared share of a column that
/// no column before it has. Rounding matters from a loss of eight digits on, far beyond the bound.
#[allow(clippy::needless_range_loop)] // the rows of a triangle refer to each other by number
#[inline(always)]
fn pivots<const MOST: usize>(columns: usize, gram: impl Fn(usize, usize) -> f64) -> bool {
    let mut lower = [[0.0; MOST]; MOST];
    let mut inverse = [0.0; MOST];
    for j in 0..columns {
        let square = gram(j, j);
        let mut pivot = square;
        let mut scaled = [0.0; MOST];
        for i in 0..j {
            let mut shared = gram(i, j);
            for m in 0..i {
                shared -= scaled[m] * lower[i][m];
            }
            scaled[i] = shared;
            lower[j][i] = shared * inverse[i];
            pivot -= shared * lower[j][i];
        }
        let sound =
            SQUARES.contains(&square) && SQUARES.contains(&pivot) && pivot * SQUARED_LOSS > square;
        if !sound {
            return true;
        }
        inverse[j] = 1.0 / pivot;
    }
    false
}

/// Whether a column has grown or shrunk a hundredfold, or is not finite.
#[inline]
pub(super) fn has_changed_size(block: &Block) -> bool {
    !block
        .columns()
        .all(|column| STEADY.contains(&dot(column, column)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns `e_j`, the last one `e_0 + own e_last`.
    fn leaning(cols: usize, rows: usize, own: f64, size: f64) -> Block {
        let mut block = Block::zeros(rows, cols);
        for (j, column) in block.columns_mut().enumerate() {
            column[j] = size;
        }
        let values = block.values_mut();
        values[(cols - 1) * rows] = size;
        values[(cols - 1) * rows + cols - 1] = own * size;
        block
    }

    #[test]
    fn a_column_has_lost_digits_when_a_thousandth_is_its_own() {
        for (cols, rows) in [(2, 2), (3, 3), (2, 5), (7, 7), (16, 40)] {
            for size in [1e-30, 1.0, 1e30] {
                assert!(
                    !has_lost_digits(&leaning(cols, rows, 1.1e-3, size)),
                    "{cols}x{rows}"
                );
                assert!(
                    has_lost_digits(&leaning(cols, rows, 0.9e-3, size)),
                    "{cols}x{rows}"
                );
                assert!(
                    has_lost_digits(&leaning(cols, rows, 1e-12, size)),
                    "{cols}x{rows}"
                );
                assert!(
                    has_lost_digits(&leaning(cols, rows, 0.0, size)),
                    "{cols}x{rows}"
                );
            }
        }
    }

    #[test]
    fn sizes_far_from_one_and_values_that_are_not_finite_are_due() {
        for (cols, rows) in [(1, 1), (2, 2), (3, 3), (2, 5), (16, 40)] {
            for size in [1e41, 1e-41, 1e300, 1e-300, 0.0, f64::NAN, f64::INFINITY] {
                assert!(
                    has_lost_digits(&leaning(cols, rows, 1.0, size)),
                    "{cols}x{rows} {size}"
                );
            }
            let mut broken = leaning(cols, rows, 1.0, 1.0);
            assert!(!has_lost_digits(&broken));
            if let Some(last) = broken.values_mut().last_mut() {
                *last = f64::NAN;
            }
            assert!(has_lost_digits(&broken));
        }
    }

    #[test]
    fn a_hundredfold_has_changed_size() {
        for (size, changed) in [
            (1.0, false),
            (70.0, false),
            (101.0, true),
            (0.0101, false),
            (0.0099, true),
            (f64::NAN, true),
            (f64::INFINITY, true),
        ] {
            assert_eq!(
                has_changed_size(&leaning(20, 20, 1.0, size)),
                changed,
                "{size}"
            );
        }
    }
}
